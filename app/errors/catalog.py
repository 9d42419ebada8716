"""The catalog of error codes: a message for each, and a hint for those who can fix it."""

from dataclasses import dataclass
from typing import Literal, LiteralString


def N_(text: LiteralString) -> LiteralString:  # noqa: N802 - the name every extractor of sentences knows
    """Mark a sentence for the catalogs and return it unchanged; `app.i18n` translates it when it is shown."""
    return text


@dataclass(frozen=True)
class Problem:
    """How one code reads.

    title: at most five words.
    detail: one sentence; `{placeholders}` are filled with the error's parameters.
    hint: what the reader, or whoever can fix it, does next.
    who: who can fix it: the person at the page, the operator of the portal, or the provider behind it.
    """

    title: str
    detail: str
    hint: str
    who: Literal["user", "operator", "provider"] = "user"


PROBLEMS: dict[str, Problem] = {
    # The name, in the order in which stacks.names looks.
    "name_missing": Problem(
        N_("No name given"),
        N_("A stack needs a name."),
        N_("Type a name of {minimum} to {maximum} letters, digits or hyphens."),
    ),
    "name_not_text": Problem(
        N_("The name is not text"),
        N_("A name is text, and this was something else."),
        N_("Send the name as a JSON string."),
    ),
    "name_not_ascii": Problem(
        N_("Only Latin letters work"),
        N_("An internet address can hold only the letters a to z, digits and hyphens."),
        N_("Write the name with the letters a to z, for example {example}."),
    ),
    "name_blank_inside": Problem(
        N_("No blanks inside"),
        N_("A name cannot have a blank inside."),
        N_("Put a hyphen where the blank is, for example {example}."),
    ),
    "name_underscore": Problem(
        N_("No underscore"),
        N_("An internet address cannot have an underscore."),
        N_("Put a hyphen where the underscore is, for example {example}."),
    ),
    "name_characters": Problem(
        N_("Characters that cannot be used"),
        N_("A name can hold only the letters a to z, digits and hyphens."),
        N_("Leave the other characters out."),
    ),
    "name_too_short": Problem(
        N_("The name is too short"),
        N_("A name has at least {minimum} characters; this one has {length}."),
        N_("Make the name longer."),
    ),
    "name_too_long": Problem(
        N_("The name is too long"),
        N_("A name has at most {maximum} characters; this one has {length}."),
        N_("Make the name shorter."),
    ),
    "name_hyphen_start": Problem(
        N_("A hyphen at the start"),
        N_("A name cannot begin with a hyphen."),
        N_("Begin with a letter or a digit."),
    ),
    "name_hyphen_end": Problem(
        N_("A hyphen at the end"),
        N_("A name cannot end with a hyphen."),
        N_("End with a letter or a digit."),
    ),
    "name_punycode": Problem(
        N_("This beginning is reserved"),
        N_("Names that begin with xn-- stand for other alphabets and are not given out."),
        N_("Choose another beginning."),
    ),
    "name_reserved": Problem(
        N_("The name is reserved"),
        N_("{name} is kept for this server itself."),
        N_("Choose another name."),
    ),
    "name_taken": Problem(
        N_("The name is taken"),
        N_("{name} already belongs to a stack."),
        N_("Choose another name, or one of those offered."),
    ),
    "name_cleaning_up": Problem(
        N_("The name is being freed"),
        N_("An earlier {name} is still being removed."),
        N_("Try again in a minute, or choose another name."),
    ),
    "name_kept": Problem(
        N_("The name is kept"),
        N_("The files of an earlier stack {name} are still there, for whoever had it."),
        N_("Choose another name."),
    ),
    # What a template asks.
    "template_unknown": Problem(
        N_("Unknown kind of stack"),
        N_("There is no template called {template}."),
        N_("Leave the template out to get the usual stack."),
    ),
    "input_unknown": Problem(
        N_("Unknown input"),
        N_("The template does not ask for {input}."),
        N_("Leave this input out."),
    ),
    "variable_unsayable": Problem(
        N_("A value cannot be passed"),
        N_("The value of {variable} holds characters that Dokploy cannot pass to a container."),
        N_("Ask the operator to change this variable."),
        "operator",
    ),
    # The request itself.
    "body_not_json": Problem(
        N_("The body is not JSON"),
        N_("The body of the request could not be read as JSON."),
        N_("Send a JSON object with the content type application/json."),
    ),
    "body_too_large": Problem(
        N_("The body is too large"),
        N_("The body of a request has at most {limit} bytes."),
        N_("Send less."),
    ),
    "media_type_unsupported": Problem(
        N_("Wrong content type"),
        N_("This address reads JSON."),
        N_("Send the content type application/json."),
    ),
    "request_invalid": Problem(
        N_("The request is not valid"),
        N_("One or more fields are not as they should be."),
        N_("Mend the fields that are named."),
    ),
    "not_found": Problem(
        N_("Nothing here"),
        N_("There is no page at this address."),
        N_("Check the address, or start from the first page."),
    ),
    "method_not_allowed": Problem(
        N_("This cannot be done here"),
        N_("This address does not answer to that method."),
        N_("Look at the allowed methods in the Allow header."),
    ),
    "http_error": Problem(
        N_("The request was refused"),
        N_("The server refused the request with status {status}."),
        N_("Check the request and try again."),
    ),
    "internal_error": Problem(
        N_("Something broke here"),
        N_("The portal met an error of its own."),
        N_("Try again. If it stays, tell the operator the reference {reference}."),
        "operator",
    ),
    "store_unavailable": Problem(
        N_("The portal cannot remember"),
        N_("The portal's own database does not answer."),
        N_("Try again in a minute. If it stays, tell the operator."),
        "operator",
    ),
    "store_full": Problem(
        N_("The portal's disk is full"),
        N_("The portal's own database has no room to write."),
        N_("Tell the operator, who makes room on its disk. Then try again; what was under way goes on by itself."),
        "operator",
    ),
    "store_failing": Problem(
        N_("The portal's disk fails"),
        N_("The disk under the portal's own database does not read or write."),
        N_("Tell the operator, who looks at its room, its quota and its health. Then try again."),
        "operator",
    ),
    "store_read_only": Problem(
        N_("The portal cannot write"),
        N_("The portal's own database can be read but not written."),
        N_("Tell the operator, who gives the portal the right to write again. Then try again."),
        "operator",
    ),
    "store_corrupt": Problem(
        N_("The portal's record is damaged"),
        N_("The portal's own database is damaged and cannot be read."),
        N_("Tell the operator, who restores it from a backup."),
        "operator",
    ),
    "portal_stopping": Problem(
        N_("The portal is restarting"),
        N_("The portal stopped before it could answer. What you asked for may have been done."),
        N_("Wait a few seconds and check the result before you try again."),
    ),
    "idempotency_key_invalid": Problem(
        N_("The Idempotency-Key is not usable"),
        N_("An Idempotency-Key has {minimum} to {maximum} printable characters."),
        N_("Send a random key, such as a UUID."),
    ),
    "idempotency_key_reused": Problem(
        N_("The Idempotency-Key was used"),
        N_("This Idempotency-Key already belongs to another request."),
        N_("Send a new key with a new request."),
    ),
    "after_invalid": Problem(
        N_("Not an event number"),
        N_("The number after which to read is zero or a whole positive number."),
        N_("Leave it out to read from the start."),
    ),
    "prefer_invalid": Problem(
        N_("Not a number of seconds"),
        N_("Prefer: wait takes a whole number of seconds from 0 to {maximum}."),
        N_("Leave it out to wait {usual} seconds."),
    ),
    "cursor_invalid": Problem(
        N_("Not a page of this list"),
        N_("The cursor belongs to another list, or it was changed."),
        N_("Start at the first page: leave the cursor out."),
    ),
    "cross_site": Problem(
        N_("Sent from another site"),
        N_("Another site sent this request, or the browser does not say which."),
        N_("Open this portal and do it here. A program sends a token."),
    ),
    # Who may.
    "credential_missing": Problem(
        N_("A key is needed"),
        N_("Only whoever deployed this stack can do that."),
        N_("Sign in as its owner, use the browser that deployed it, or send its manage key as a Bearer token."),
    ),
    "credential_unknown": Problem(
        N_("The key is not known"),
        N_("What was sent as a Bearer token is neither a token nor the key of a stack."),
        N_("Look whether it is whole, or send none."),
    ),
    "credential_wrong": Problem(
        N_("The key does not fit"),
        N_("This key does not belong to that stack."),
        N_("Use the manage key that was shown when the stack was deployed."),
    ),
    "sign_in_needed": Problem(
        N_("Sign in first"),
        N_("This portal is for people it knows."),
        N_("Sign in at /sign-in, or send a token as a Bearer token."),
    ),
    "not_operator": Problem(
        N_("For operators only"),
        N_("You are signed in, but not as an operator of this portal."),
        N_("Ask an operator."),
    ),
    "person_only": Problem(
        N_("Not for programs"),
        N_("This is for people, and a token or a manage key was sent."),
        N_("Do it on the page of your account."),
    ),
    "scope_missing": Problem(
        N_("The token does not allow this"),
        N_("This token was not made for {scope}."),
        N_("Make a token with this permission."),
    ),
    "token_expired": Problem(
        N_("The token has expired"),
        N_("The time of this token has passed."),
        N_("Make a new one on the page of your account."),
    ),
    "token_revoked": Problem(
        N_("The token was revoked"),
        N_("This token opens nothing any more."),
        N_("Make a new one on the page of your account."),
    ),
    "token_not_found": Problem(
        N_("No such token"),
        N_("There is no token with this id that is yours."),
        N_("Look at the list of your tokens."),
    ),
    "token_name_invalid": Problem(
        N_("The token needs a name"),
        N_("A token's name has 1 to {maximum} characters."),
        N_("Say in it what the token is for."),
    ),
    "token_days_invalid": Problem(
        N_("Not that many days"),
        N_("A token is good for 1 to {maximum} days."),
        N_("Choose a number in between."),
    ),
    "scopes_invalid": Problem(
        N_("Nothing was chosen"),
        N_("A token is made for one thing or more, out of those that there are."),
        N_("Choose what the token may do."),
    ),
    "nothing_yours": Problem(
        N_("Nothing is yours yet"),
        N_("A token reaches what is yours, and nothing is yet."),
        N_("Deploy a stack first."),
    ),
    "tokens_full": Problem(
        N_("Too many tokens"),
        N_("One owner has at most {maximum} tokens."),
        N_("Revoke one that is not needed any more."),
    ),
    "offer_invalid": Problem(
        N_("The code does not fit"),
        N_("This code hands nothing over: it is wrong, was used, or its time has passed."),
        N_("Ask whoever gave it to you for a new one."),
    ),
    "operator_only": Problem(
        N_("For the operator"),
        N_("Only the operator of this portal can do that."),
        N_("Sign in at /sign-in, or send ADMIN_TOKEN as a Bearer token."),
    ),
    "token_wrong": Problem(
        N_("The token is wrong"),
        N_("This is not the operator's token."),
        N_("Type the value of ADMIN_TOKEN as it is set for this portal."),
    ),
    "sign_in_failed": Problem(
        N_("Signing in did not work"),
        N_("What the login service said about you could not be used."),
        N_("Sign in again. If it stays, tell the operator, who finds the reason in the portal's log."),
        "operator",
    ),
    "provider_away": Problem(
        N_("The provider does not answer"),
        N_("The service at which you sign in does not answer."),
        N_("Try again in a minute. If it stays, tell the operator."),
        "operator",
    ),
    "not_admitted": Problem(
        N_("Not on the list"),
        N_("You are signed in, but this portal is not open to you."),
        N_("Ask the operator of this portal to let you in."),
        "operator",
    ),
    "too_many_requests": Problem(
        N_("Too many tries"),
        N_("There were too many requests in a short time."),
        N_("Wait {seconds} s, then try again."),
    ),
    "too_many_streams": Problem(
        N_("Too many open streams"),
        N_("One address may follow {limit} deployments at once."),
        N_("Wait {seconds} s, then try again."),
    ),
    "stacks_full": Problem(
        N_("No room for more stacks"),
        N_("The number of stacks on this portal is limited to {limit}."),
        N_("Ask the operator, who removes stacks that nobody needs, or raises MAX_STACKS."),
        "operator",
    ),
    "stacks_of_owner": Problem(
        N_("You have enough stacks"),
        N_("The number of your stacks is limited to {limit}."),
        N_("Delete a stack that you do not need, then try again."),
    ),
    "in_flight_full": Problem(
        N_("Too much under way"),
        N_("The number of deployments at the same time is limited to {limit}."),
        N_("Wait until one has ended, then try again."),
    ),
    "in_flight_of_owner": Problem(
        N_("Too many at once"),
        N_("The number of your deployments at the same time is limited to {limit}."),
        N_("Wait until one has ended, then try again."),
    ),
    "request_timeout": Problem(
        N_("The request was too slow"),
        N_("The request did not arrive within {seconds} s."),
        N_("Try again over a faster connection."),
    ),
    "stack_not_found": Problem(
        N_("No such stack"),
        N_("There is no stack called {name} that you can see."),
        N_("Check the name."),
    ),
    "deployment_not_found": Problem(
        N_("No such deployment"),
        N_("There is no deployment with this id."),
        N_("Check the address."),
    ),
    "deployment_over": Problem(
        N_("Already over"),
        N_("This deployment has ended and cannot be cancelled."),
        N_("To remove the stack, delete it."),
    ),
    "removal_goes_on": Problem(
        N_("The removal goes on"),
        N_("This is a removal, and a removal that has begun cannot be cancelled."),
        N_("Wait until it has ended. After that the name can be deployed again."),
    ),
    "stack_busy": Problem(
        N_("The stack is busy"),
        N_("Another change of {name} is running."),
        N_("Wait until it has ended, then try again."),
    ),
    # Dokploy as such.
    "dokploy_away": Problem(
        N_("Dokploy does not answer"),
        N_("The server that runs the stacks has not answered for a while, so nothing new is begun."),
        N_("Try again in a minute. The operator can check DOKPLOY_URL and that Dokploy is running."),
        "operator",
    ),
    "dokploy_unreachable": Problem(
        N_("Dokploy cannot be reached"),
        N_("The server that runs the stacks does not answer."),
        N_("Try again in a few minutes. The operator can check DOKPLOY_URL and that Dokploy is running."),
        "operator",
    ),
    "dokploy_timeout": Problem(
        N_("Dokploy answers too slowly"),
        N_("The server that runs the stacks did not answer in time."),
        N_("Try again in a few minutes. The operator can look at the load of the Dokploy server."),
        "operator",
    ),
    "dokploy_key_refused": Problem(
        N_("Dokploy refuses the portal"),
        N_("Dokploy does not accept the portal's key: it is wrong, or used up for now."),
        N_("The operator makes a new key without a rate limit and sets DOKPLOY_API_TOKEN."),
        "operator",
    ),
    "dokploy_database_down": Problem(
        N_("Dokploy's database is down"),
        N_("Dokploy runs, but its own database does not answer."),
        N_("Try again in a few minutes. The operator can look at Dokploy's PostgreSQL."),
        "operator",
    ),
    "dokploy_forbidden": Problem(
        N_("The portal may not do that"),
        N_("Dokploy accepts the portal's key but not for this."),
        N_("The operator gives the key's user the rights to make projects and services."),
        "operator",
    ),
    "dokploy_not_found": Problem(
        N_("Gone in Dokploy"),
        N_("Something that the portal made is no longer there in Dokploy."),
        N_("Somebody may have removed it by hand. Try again."),
        "operator",
    ),
    "dokploy_refused": Problem(
        N_("Dokploy refused the request"),
        N_("Dokploy did not accept what the portal asked of it."),
        N_("The operator finds Dokploy's answer in the portal's log. A newer Dokploy may need a newer portal."),
        "operator",
    ),
    "dokploy_failed": Problem(
        N_("Dokploy met an error"),
        N_("Dokploy answered with an error of its own."),
        N_("Try again in a few minutes. The operator finds Dokploy's answer in the portal's log."),
        "operator",
    ),
    "dokploy_unreadable": Problem(
        N_("Dokploy's answer is unreadable"),
        N_("Something answered in Dokploy's place, or Dokploy answered in a way the portal does not know."),
        N_("The operator checks that DOKPLOY_URL leads to Dokploy itself."),
        "operator",
    ),
    # What validate finds.
    "project_conflict": Problem(
        N_("The name is taken in Dokploy"),
        N_("Dokploy already has a project called {name} that this portal did not make."),
        N_("Choose another name, or ask the operator to rename that project."),
    ),
    "address_in_use": Problem(
        N_("The address is in use"),
        N_("Something else already answers at {host}."),
        N_("Choose another name."),
    ),
    "volume_exists": Problem(
        N_("An old volume is there"),
        N_("A volume called {volume} exists that belongs to no stack of this portal."),
        N_("Choose another name, or ask the operator to look at the volume."),
        "operator",
    ),
    # What deploy finds.
    "deploy_failed": Problem(
        N_("The container could not be made"),
        N_("Dokploy could not deploy the image {image}."),
        N_("Look at the log: the image may not exist, or its registry may ask for other credentials."),
        "operator",
    ),
    "deploy_cancelled": Problem(
        N_("Dokploy stopped the deployment"),
        N_("The deployment was cancelled inside Dokploy, and so was the one that was asked for after it."),
        N_("Dokploy may have restarted twice, or somebody cancelled it there. Try again."),
    ),
    "deploy_not_found": Problem(
        N_("The deployment never appeared"),
        N_("Dokploy accepted the deployment, but it did not appear within {seconds} seconds."),
        N_("Dokploy may have restarted twice, or somebody emptied its queue. Try again."),
        "operator",
    ),
    "deploy_timeout": Problem(
        N_("The deployment takes too long"),
        N_("Dokploy did not finish the deployment within {seconds} seconds."),
        N_("The image may be large, its registry slow, or a disk full. The operator finds more in Dokploy's log."),
        "operator",
    ),
    "queue_timeout": Problem(
        N_("Waited too long in line"),
        N_("Dokploy was busy with other deployments for more than {seconds} seconds."),
        N_(
            "Many may deploy at the same time, or a deployment there may be stuck. Try again when Dokploy is less busy."
        ),
    ),
    # What verify finds, in the order of looking.
    "container_crashes": Problem(
        N_("The container stops again"),
        N_("The container stops each time it is started (seen: {count})."),
        N_("The operator looks at the container's log in Dokploy: the image may not suit this server."),
        "operator",
    ),
    "container_missing": Problem(
        N_("No container was started"),
        N_("Dokploy reports no container for this stack, or cannot reach Docker."),
        N_("The operator checks Docker on the Dokploy server."),
        "operator",
    ),
    "container_not_ready": Problem(
        N_("The container did not start"),
        N_("The container was still not running after {seconds} seconds."),
        N_("The operator looks at the server's memory and networks: there may be no room for one more stack."),
        "operator",
    ),
    "route_missing": Problem(
        N_("The proxy has no route"),
        N_("The container runs, but the proxy answers 404 at {host}."),
        N_("The operator looks at Traefik's routes for this address."),
        "operator",
    ),
    "bad_gateway": Problem(
        N_("The proxy finds no server"),
        N_("The container runs, but the proxy answers {status} at {host}."),
        N_("The stack may listen on another port than {port}, or is still starting."),
        "operator",
    ),
    "address_refused": Problem(
        N_("Nothing listens there"),
        N_("The connection to {host} was refused."),
        N_("The operator checks that the proxy runs and that its ports are open."),
        "operator",
    ),
    "address_unresolved": Problem(
        N_("The address is unknown"),
        N_("The name {host} does not resolve."),
        N_("The operator adds a wildcard DNS record for the stacks' suffix."),
        "operator",
    ),
    "address_timeout": Problem(
        N_("The address does not answer"),
        N_("There was no answer from {host} in time."),
        N_("The operator checks the firewall, or sets STACK_PROBE_ADDRESS where the portal cannot reach it."),
        "operator",
    ),
    "unexpected_answer": Problem(
        N_("An unexpected answer"),
        N_("{host} answered with status {status}, which is not how this stack answers."),
        N_("The operator looks at the container's log in Dokploy."),
        "operator",
    ),
    "open_to_strangers": Problem(
        N_("Open to strangers"),
        N_("{host} answered a stranger without asking for a password, so it was not left running."),
        N_("The operator checks that the image reads its password from {variable}."),
        "operator",
    ),
    # Undoing.
    "project_not_empty": Problem(
        N_("Something else is in there"),
        N_("The project {name} in Dokploy holds services that this portal did not make, so it was left."),
        N_("The operator moves those services in Dokploy, then deletes the stack again."),
        "operator",
    ),
    "route_stays": Problem(
        N_("The address still answers"),
        N_("The route is removed in Dokploy, and yet the proxy still answers {status} at {host}."),
        N_("The portal looks again by itself. The operator removes the address's file from the proxy's folder."),
        "operator",
    ),
    "volume_stays": Problem(
        N_("The volume stays"),
        N_("Dokploy says that the volume {volume} is removed, and yet lists it."),
        N_("The portal tries again by itself. The operator looks at the volume on the Dokploy server."),
        "operator",
    ),
    "still_in_use": Problem(
        N_("Still in use"),
        N_("Docker still holds the volume {volume}."),
        N_("Delete the stack again in a minute."),
    ),
    "still_running": Problem(
        N_("Still running"),
        N_("A container of this stack is still running."),
        N_("Delete the stack again in a minute. The operator can stop it on the Dokploy server."),
        "operator",
    ),
    "still_deploying": Problem(
        N_("Dokploy is still working"),
        N_("Dokploy did not let go of this stack within {seconds} seconds."),
        N_("The portal removes it once Dokploy has finished. A restart of Dokploy ends a deployment that is stuck."),
    ),
    "removal_incomplete": Problem(
        N_("Not removed completely"),
        N_("Some of {name} could not be removed."),
        N_("Delete the stack again in a minute; what is left is listed in the deployment's record."),
    ),
    "canceled": Problem(
        N_("Cancelled"),
        N_("This deployment was cancelled."),
        N_("Deploy again whenever you like."),
    ),
}
