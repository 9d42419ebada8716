"""The API for programs: JSON in and out, every failure a problem document."""

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.convertors import PathConvertor, register_url_convertor

from app.audit import Actor
from app.deployments.model import DeploymentRecord
from app.deployments.states import ResourceState
from app.errors import N_, PortalError
from app.i18n import LANGUAGES, Language
from app.identity import Principal
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.portal import Portal
from app.stacks.availability import NAME_REFUSED
from app.stacks.model import StackRecord, StackView
from app.stacks.names import MAX_KEY, MIN_KEY, DeploymentRequest, normalize_name, parse_idempotency_key, parse_name
from app.stacks.plan import make_plan
from app.stacks.quotas import Quotas
from app.stacks.requester import Requester
from app.stacks.volumes import KeptFiles
from app.web import stream
from app.web.api import schemas
from app.web.api.openapi import LOCATION, body, parameter, problems
from app.web.auth.authorization import (
    deployment_of,
    files_of,
    find_deployment,
    kept_of,
    stack_of,
    stack_or_kept_of,
    whose_stacks,
)
from app.web.deps import language_of, portal_of, principal_of, read_json, wait_preference
from app.web.problems import problem_response, show
from app.web.ui.shared.passwords import password_of


class _AnyText(PathConvertor):
    """Whatever somebody types, slashes and line ends too; Starlette's own `path` knows no line ends."""

    regex = "(?s:.*)"


register_url_convertor("text", _AnyText())
router = APIRouter()

LONGEST_WAIT: Final = 300
USUAL_WAIT: Final = 30
# How many of the newest deployments the operator is told of.
LATEST: Final = 10

PLAN_SENTENCES = (
    N_("Create: a project {name} in Dokploy, with one application."),
    N_("Start: the image {image} with {memory} MB of memory, {cpus} CPU and the volume {volume}."),
    N_("Route: {url} to port {port} of the container."),
    N_("Check: the address asks a stranger for the password."),
)

PortalDep = Annotated[Portal, Depends(portal_of)]
LanguageDep = Annotated[Language, Depends(language_of)]
PrincipalDep = Annotated[Principal, Depends(principal_of)]
StackDep = Annotated[StackRecord, Depends(stack_of)]
KeptDep = Annotated[KeptFiles, Depends(kept_of)]
StackOrKeptDep = Annotated[StackRecord | KeptFiles, Depends(stack_or_kept_of)]
DeploymentDep = Annotated[DeploymentRecord, Depends(deployment_of)]


_LANG: Final = parameter("query", "lang", f"Language of messages: {', '.join(LANGUAGES)}.")
_EXAMPLE: Final = {"name": "ada-lovelace"}


@router.get("/health", tags=["health"])
async def health(portal: PortalDep) -> schemas.HealthAnswer:
    """Return whether the process serves, and what it knows of Dokploy. Always 200 while it serves."""
    known = portal.health.now
    return schemas.HealthAnswer(
        version=portal.version,
        dokploy=schemas.HealthAnswer.Dokploy(
            reachable=known.reachable,
            version=known.version,
            trouble=known.trouble,
            last_answer=known.last_answer,
            circuit=known.circuit,
            incompatible=None if known.incompatible is None else [str(misfit) for misfit in known.incompatible],
        ),
        runner=schemas.HealthAnswer.Runner(
            enabled=portal.runner.is_started,
            active=portal.runner.is_active,
            running=portal.runner.running,
            watchers=portal.broker.watchers,
        ),
    )


@router.get("/ready", tags=["health"], responses={503: {"model": schemas.ReadyAnswer}})
async def ready(portal: PortalDep, response: Response) -> schemas.ReadyAnswer:
    """Return whether the portal can accept requests: it can write to its database, and knows the schema."""
    state = await portal.readiness.look()
    response.status_code = 200 if state.trouble is None else 503
    response.headers["Cache-Control"] = "no-store"
    return schemas.ReadyAnswer(
        ready=state.trouble is None,
        store=state.trouble in {None, "schema"},
        schema_version=state.revision,
        trouble=state.trouble,
    )


@router.get("/api/check/{name:text}", tags=["names"], openapi_extra={"parameters": [_LANG]})
async def check(
    name: Annotated[str, Path(description="The name to check.")],
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    response: Response,
) -> schemas.CheckAnswer:
    """Return whether a name is available to you. Always 200; does not ask Dokploy."""
    response.headers["Cache-Control"] = "no-store"  # an owner is told of his own files
    reserved = portal.settings.reserved_names
    try:
        parsed = parse_name(name, reserved)
    except PortalError as error:
        shown = show(error, language)
        return schemas.CheckAnswer(
            name=name[:100],
            normalized=normalize_name(name)[:100],
            valid=False,
            available=False,
            code=error.code,
            message=f"{shown.detail} {shown.hint}",
            suggestions=[],
        )
    found = await portal.names.look(parsed, portal.template, requester_of(principal, "api"))
    if problem := found.problem:
        return schemas.CheckAnswer(
            name=name,
            normalized=parsed,
            valid=True,
            available=False,
            code=problem.code,
            message=show(problem, language).detail,
            suggestions=await portal.names.suggest(parsed, reserved, portal.template),
        )
    free = language.text(N_("{host} is free."), {"host": f"{parsed}.{portal.settings.stack_domain_suffix}"})
    if found.files_kept:
        free = f"{free} {language.text(N_('Your files from before are there, and are used again.'))}"
    return schemas.CheckAnswer(
        name=name,
        normalized=parsed,
        valid=True,
        available=True,
        files_kept=found.files_kept,
        code=None,
        message=free,
        suggestions=[],
    )


def requester_of(
    principal: Principal, trigger: str, *, owner: str | None = None, actor: Actor | None = None
) -> Requester:
    """Who requests an operation on a stack. owner, actor: where that is a browser that nobody knew yet."""
    return Requester(owner or principal.owner or "", actor or principal.actor, trigger, principal.key_hash)


def parse_request(body: schemas.PlanBody, portal: Portal) -> DeploymentRequest:
    """Check a request. Raises PortalError."""
    name = parse_name(body.name, portal.settings.reserved_names)
    return DeploymentRequest(name=name, template=body.template, inputs=body.inputs)


@router.post("/api/plan", tags=["deployments"], openapi_extra={"requestBody": body(schemas.PlanBody, _EXAMPLE)})
async def preview(
    request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep
) -> schemas.PlanAnswer:
    """Preview a deployment: what it would create, and what would block it. Changes nothing."""
    return await preview_plan(await read_json(request, schemas.PlanBody), portal, principal, language)


async def preview_plan(
    body: schemas.PlanBody, portal: Portal, principal: Principal, language: Language
) -> schemas.PlanAnswer:
    """Decide a plan and nothing else, for a program or for the form (APL-4)."""
    requester = requester_of(principal, "api")
    try:
        wanted = parse_request(body, portal)
        found = await portal.names.look(wanted.name, portal.template, requester)
        plan = make_plan(wanted, portal.template, portal.settings, files_kept=found.files_kept)
    except PortalError as error:
        return schemas.PlanAnswer(plan=None, sentences=[], warnings=[], blocked=[_blocked(error, language)])
    params: dict[str, str | int | float] = {
        "name": plan.name,
        "image": plan.image,
        "memory": plan.memory_bytes // 2**20,
        "cpus": plan.cpus,
        "volume": plan.volume,
        "url": plan.url,
        "port": str(plan.port),
    }
    answer = schemas.plan_answer(plan, [language.text(line, params) for line in PLAN_SENTENCES], plan.warnings)
    if found.problem:
        answer.blocked.append(_blocked(found.problem, language))
    answer.blocked += [_blocked(each, language) for each in await portal.operations.refusals(requester)]
    return answer


def _blocked(error: PortalError, language: Language) -> schemas.PlanAnswer.Blocked:
    shown = show(error, language)
    return schemas.PlanAnswer.Blocked(
        phase="plan", code=shown.code, title=shown.title, detail=shown.detail, hint=shown.hint, field=error.field
    )


@router.post(
    "/api/deploy",
    status_code=202,
    tags=["deployments"],
    openapi_extra={
        "requestBody": body(schemas.DeployBody, _EXAMPLE),
        "parameters": [
            parameter(
                "header",
                "Idempotency-Key",
                "A random key for this request, such as a UUID.",
                minLength=MIN_KEY,
                maxLength=MAX_KEY,
                pattern="^[!-~]+$",
            )
        ],
    },
    responses={202: LOCATION, **problems(409)},
)
async def deploy(
    request: Request, response: Response, portal: PortalDep, principal: PrincipalDep
) -> schemas.AcceptedAnswer:
    """Deploy a stack. The deployment runs in the background; follow it at `eventsUrl`.

    With an `Idempotency-Key`, a request repeated within 24 hours gets the first answer again.
    """
    idempotency_key = parse_idempotency_key(request.headers.get("idempotency-key"))
    body = await read_json(request, schemas.DeployBody)
    wanted = parse_request(body, portal)
    try:
        accepted = await portal.operations.create(
            wanted, portal.template, requester_of(principal, "api"), idempotency_key=idempotency_key
        )
    except PortalError as error:
        if error.code in NAME_REFUSED:
            suggestions = await portal.names.suggest(wanted.name, portal.settings.reserved_names, portal.template)
            raise RefusedNameError(error, suggestions) from None
        raise
    response.headers["Location"] = schemas.status_url(accepted.deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return schemas.AcceptedAnswer(
        deployment_id=accepted.deployment_id,
        stack_name=accepted.name,
        url=accepted.url,
        status_url=schemas.status_url(accepted.deployment_id),
        events_url=schemas.events_url(accepted.deployment_id),
        manage_key=accepted.manage_key if principal.gets_keys else None,
    )


class RefusedNameError(PortalError):
    """A name that is taken, with names near it that are not."""

    def __init__(self, error: PortalError, suggestions: list[str]) -> None:
        super().__init__(error.code, field=error.field, **dict[str, Any](error.params))
        self.suggestions = suggestions


@router.get(
    "/api/deployments/{deployment_id}",
    tags=["deployments"],
    openapi_extra={"parameters": [_LANG]},
)
async def deployment(
    record: DeploymentDep,
    language: LanguageDep,
    response: Response,
) -> schemas.DeploymentAnswer:
    """Return the record of a deployment, running or completed. It contains no secrets.

    Its owner and operators can read it; on an open portal, everyone who knows the ID.
    """
    response.headers["Cache-Control"] = "no-store"
    return schemas.deployment_answer(record, language)


@router.get(
    "/api/deployments/{deployment_id}/events",
    tags=["deployments"],
    response_class=Response,
    openapi_extra={
        "parameters": [
            parameter(
                "query",
                "after",
                "Number of the last event that was seen.",
                type="integer",
                minimum=0,
                maximum=999_999_999,
            ),
            parameter("header", "Last-Event-ID", "The same, as browsers send it. Takes precedence over `after`."),
            _LANG,
        ]
    },
    responses={
        200: {
            "description": "The events: as server-sent events, or each as a line of JSON",
            "content": {
                "text/event-stream": {"schema": {"$ref": "#/components/schemas/ServerSentEvent"}},
                "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/EventAnswer"}},
            },
        },
        204: {"description": "The run is over and the reader has seen all of it"},
        **problems(400),
    },
)
async def events(
    request: Request,
    record: DeploymentDep,
    follow: Annotated[bool, Query(description="`false`: JSON lines end at the newest event.")] = True,
    named: Annotated[
        bool, Query(description="`false` leaves out `event:`, so that browsers take all events for a `message`.")
    ] = True,
) -> Response:
    """Stream a deployment's events: replay from any number, then live, until it is completed."""
    return stream.stream_events(request, record, follow=follow, named=named)


@router.post(
    "/api/deployments/{deployment_id}/cancel",
    status_code=202,
    tags=["deployments"],
    responses=problems(409),
)
async def cancel(record: DeploymentDep, portal: PortalDep, principal: PrincipalDep) -> schemas.FollowAnswer:
    """Cancel a deployment and roll back its changes. Calling it twice changes nothing."""
    await cancel_deployment(portal, principal, record)
    return follow_answer(record.id)


async def cancel_deployment(portal: Portal, principal: Principal, record: DeploymentRecord) -> None:
    """Cancel for a form or a program. Raises PortalError."""
    if not record.operation.can_be_canceled and record.conclusion is None:
        raise PortalError("removal_goes_on")
    if not await portal.operations.cancel(record, principal.actor):
        raise PortalError("deployment_over")


@router.get("/api/stacks", tags=["stacks"])
async def stacks(portal: PortalDep, principal: PrincipalDep, response: Response) -> schemas.StacksAnswer:
    """List your stacks, or all stacks for an operator, and volumes kept from deleted stacks."""
    response.headers["Cache-Control"] = "no-store"
    views = await stacks_of(portal, principal)
    return schemas.StacksAnswer(
        stacks=[schemas.stack_answer(view) for view in views],
        kept=[
            schemas.KeptAnswer(name=each.name, volume=each.volume, since=each.since)
            for each in await files_of(portal, principal)
        ],
    )


@router.get("/api/stack/{name}", tags=["stacks"])
async def stack(
    found: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
    response: Response,
) -> schemas.StackAnswer:
    """Return one of your stacks. A token sees the password only with the scope `stack:manage`."""
    newest = await portal.records.newest_deployment(found.id)
    if newest is None:
        raise PortalError("stack_not_found", name=found.name)
    response.headers["Cache-Control"] = "no-store"
    return schemas.stack_answer(StackView(found, newest), password=password_of(portal, principal, found))


@router.post(
    "/api/stack/{name}/redeploy",
    status_code=202,
    tags=["stacks"],
    responses={202: LOCATION, **problems(409)},
)
async def redeploy(
    response: Response,
    found: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
) -> schemas.FollowAnswer:
    """Redeploy a stack: create what is missing and deploy the image again. Its files stay.

    If it fails, nothing is rolled back.
    """
    return _begun(
        response, await portal.operations.change(REDEPLOY, found, Requester(found.owner, principal.actor, "api"))
    )


@router.post(
    "/api/stack/{name}/password",
    status_code=202,
    tags=["stacks"],
    responses={202: LOCATION, **problems(409)},
)
async def change_password(
    response: Response, found: StackDep, portal: PortalDep, principal: PrincipalDep
) -> schemas.FollowAnswer:
    """Give a stack a new password and redeploy it.

    The old password is shown until the container has started with the new one. If that fails, `passwordPending` stays
    true, and the next redeployment finishes the change.
    """
    requester = Requester(found.owner, principal.actor, "api")
    return _begun(response, await portal.operations.change(PASSWORD, found, requester))


def _begun(response: Response, deployment_id: str) -> schemas.FollowAnswer:
    response.headers["Location"] = schemas.status_url(deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return follow_answer(deployment_id)


def follow_answer(deployment_id: str) -> schemas.FollowAnswer:
    """Say where a deployment can be followed."""
    return schemas.FollowAnswer(
        deployment_id=deployment_id,
        status_url=schemas.status_url(deployment_id),
        events_url=schemas.events_url(deployment_id),
    )


@router.delete(
    "/api/stack/{name}",
    tags=["stacks"],
    openapi_extra={
        "parameters": [parameter("header", "Prefer", f"`wait=N`: seconds to wait for the end, at most {LONGEST_WAIT}.")]
    },
    responses={202: {"model": schemas.RemovalAnswer, **LOCATION}, **problems(400, 409, 502)},
)
async def delete_stack(
    request: Request,
    response: Response,
    found: StackOrKeptDep,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    volume: Annotated[Literal["erase", "keep"], Query(description="Whether to erase or keep its volume.")] = "erase",
) -> Any:
    """Delete a stack and everything created for it. Waits up to `Prefer: wait=N` seconds (30), then answers 202.

    For a deleted stack whose volume was kept, an explicit `volume=erase` erases the volume.
    """
    seconds = wait_preference(request, usual=USUAL_WAIT, maximum=LONGEST_WAIT)
    end = time.monotonic() + seconds
    if isinstance(found, KeptFiles):
        # Files that somebody chose to keep are not lost to what a request leaves out.
        if volume != "erase" or "volume" not in request.query_params:
            raise PortalError("stack_not_found", name=found.name)
        deployment_id = await portal.operations.erase(found, Requester(found.owner, principal.actor, "api"))
    else:
        deployment_id = await portal.operations.remove(found, volume, Requester(found.owner, principal.actor, "api"))
    record = await _wait_until_over(request, portal, deployment_id, end)
    response.headers["Cache-Control"] = "no-store"
    answer = schemas.RemovalAnswer(
        removed=record.conclusion is not None and not record.stack_exists,
        deployment_id=record.id,
        status_url=schemas.status_url(record.id),
        events_url=schemas.events_url(record.id),
        resources=[kind for kind, each in record.resources.items() if each.state is ResourceState.REMOVED],
    )
    if record.conclusion is None:
        response.status_code = 202
        response.headers["Location"] = answer.status_url
        return answer
    if not answer.removed:
        error = PortalError("removal_incomplete", name=record.name)
        left = [{"kind": each.kind, "name": each.name} for each in record.leftovers]
        return problem_response(error, language, leftovers=left, statusUrl=answer.status_url)
    return answer


@router.get("/api/leftovers", tags=["operators"])
async def leftovers(
    portal: PortalDep,
    response: Response,
    removed: Annotated[bool, Query(description="Include resources that were removed since.")] = False,
) -> schemas.LeftoversAnswer:
    """List resources that could not be removed from Dokploy, and when the portal retries."""
    response.headers["Cache-Control"] = "no-store"
    return schemas.leftovers_answer(await portal.leftovers.all(removed=removed))


@router.get("/api/overview", tags=["operators"])
async def overview(portal: PortalDep, response: Response) -> schemas.OverviewAnswer:
    """Return the numbers of the operator's page: the last 14 days, the newest deployments, leftover resources."""
    response.headers["Cache-Control"] = "no-store"
    latest = await portal.records.latest(limit=LATEST)
    overview, left = await portal.statistics.overview(), await portal.leftovers.all()
    return schemas.overview_answer(overview, latest, left, Quotas.of(portal.settings))


async def stacks_of(
    portal: Portal, principal: Principal, *, after: str | None = None, limit: int | None = None
) -> list[StackView]:
    """The stacks that a caller manages, newest first. after: those that follow the stack with this id."""
    whose = whose_stacks(principal)
    return [] if whose is None else await portal.records.stack_views(whose, after=after, limit=limit)


async def _wait_until_over(request: Request, portal: Portal, deployment_id: str, end: float) -> DeploymentRecord:
    """Wait for a deployment's last event, until a moment of the monotonic clock, or until the portal stops."""
    record = await find_deployment(portal, deployment_id)
    if record.conclusion is None:
        async for batch in portal.broker.follow(deployment_id, record.last_event, quiet=0.2):
            if any(event.conclusion for event in batch) or time.monotonic() > end or stream.is_stopping(request):
                break
        record = await find_deployment(portal, deployment_id)
    return record
