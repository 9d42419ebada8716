"""Sign-in with OpenID Connect: to the provider with a secret in a cookie, and back with an identity.

The authorization code flow with PKCE. What belongs to one signing in is kept by the browser itself, sealed, so that any
replica can take the answer.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from fastapi import Request
from fastapi.responses import RedirectResponse

from app.config.settings import Settings
from app.errors import PortalError
from app.identity import Allowlist, Claims
from app.security.vault import Vault
from app.web.auth.provider import Provider, failed, loggable
from app.web.deps import path_here, remember_signing_in, signing_in_of

CALLBACK: Final = "/sign-in/callback"
SECONDS: Final = 600
_PURPOSE: Final = "signing in"
# A cookie has room for little more than this.
_LONGEST_PATH: Final = 1000
_LONGEST_CODE: Final = 4096
_LONGEST: Final = 300
_MOST_GROUPS: Final = 1000


@dataclass(frozen=True)
class _UnderWay:
    """One signing in: what the answer must bring back, what only this browser knows, and where to go on to."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    go_on: str = "/"


class Oidc:
    """The way in at the provider."""

    def __init__(self, settings: Settings, vault: Vault, *, provider: Provider | None = None) -> None:
        """Use `provider`, by default the one of the settings."""
        self._issuer = cast("str", settings.oidc_issuer)  # the settings see to it
        self._client_id = cast("str", settings.oidc_client_id)
        self._scopes = settings.oidc_scopes
        self._groups_claim = settings.oidc_groups_claim
        self._asks_for_groups = Allowlist(settings).asks_for_groups
        self._portal_url = settings.portal_url or ""
        self._vault = vault
        self._provider = provider or Provider(settings)

    async def begin(self, request: Request, go_on: str) -> RedirectResponse:
        """Send a browser to the provider; afterwards it goes on to a path of this site.

        Answer a GET with it: after a form our own policy lets no browser go to another site. Raises PortalError
        `provider_away` or `sign_in_failed`.
        """
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        description = await self._provider.description()
        go_on = path_here(go_on)
        under_way = _UnderWay(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            go_on=go_on if len(go_on) <= _LONGEST_PATH else "/",
        )
        address = prepare_grant_uri(
            description.authorization_endpoint,
            client_id=self._client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=self._scopes,
            state=under_way.state,
            nonce=under_way.nonce,
            code_challenge=create_s256_code_challenge(under_way.verifier),
            code_challenge_method="S256",
        )
        response = RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})
        sealed = self._vault.seal(json.dumps(asdict(under_way)), _PURPOSE)
        remember_signing_in(request, response, sealed, seconds=SECONDS)
        return response

    async def finish(self, request: Request) -> tuple[Claims, str]:
        """Take the provider's answer: who it is, and the path to go on to.

        Whatever is answered then must `forget_signing_in`. Raises PortalError `sign_in_failed` or `provider_away`.
        """
        under_way = self._under_way(request)
        parameters = request.query_params.multi_items()
        given = dict(parameters)
        if len(given) != len(parameters):
            raise failed("the answer has a parameter twice")
        if not hmac.compare_digest(given.get("state", "").encode(), under_way.state.encode()):
            raise failed("the state is another")
        await self._check_issuer(given)
        if "error" in given:
            description = loggable(given.get("error_description", ""))
            raise failed("the provider says no", error=loggable(given["error"]), description=description)
        code = given.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise failed("the answer has no code")
        tokens = await self._provider.redeem(code, under_way.verifier, self._redirect_uri)
        says = await self._provider.verify(tokens, under_way.nonce)
        subject = says.get("sub")
        if not isinstance(subject, str) or _plain(subject) != subject:
            raise failed("the subject is no plain text")
        wanted = {"email", "email_verified"} | ({self._groups_claim} if self._asks_for_groups else set())
        more = await self._provider.userinfo(tokens, subject) if wanted - set(says) else {}
        return self._claims(subject, says, more), under_way.go_on

    async def end_address(self) -> str | None:
        """Where the provider signs a browser out and sends it back here; None where it cannot, or is away."""
        from authlib.common.urls import add_params_to_uri

        try:
            address = (await self._provider.description()).end_session_endpoint
        except PortalError:
            return None
        if address is None:
            return None
        back = {"client_id": self._client_id, "post_logout_redirect_uri": f"{self._portal_url}/"}
        return str(add_params_to_uri(address, list(back.items())))

    @property
    def _redirect_uri(self) -> str:
        return self._portal_url + CALLBACK

    def _under_way(self, request: Request) -> _UnderWay:
        """Return the content of this browser's cookie."""
        sealed = signing_in_of(request)
        if not sealed:
            raise failed("there is no cookie of a signing in")
        kept = self._vault.unseal(sealed, _PURPOSE, seconds=SECONDS)
        if kept is None:
            raise failed("the cookie of the signing in is too old, or not ours")
        return _UnderWay(**json.loads(kept))

    async def _check_issuer(self, given: Mapping[str, str]) -> None:
        """See that it is this provider that answers, where it says so (RFC 9207)."""
        says_so = (await self._provider.description()).authorization_response_iss_parameter_supported
        if (says_so or "iss" in given) and given.get("iss") != self._issuer:
            raise failed("the answer is of another provider", issuer=loggable(given.get("iss", "")))

    def _claims(self, subject: str, says: Mapping[str, Any], more: Mapping[str, Any]) -> Claims:
        """Put together what the ID token says, and for what it does not have, the rest."""
        # An address and whether it is verified belong together: both of one source.
        of_email = more if "email" in more else says
        groups = says.get(self._groups_claim, more.get(self._groups_claim))
        return Claims(
            issuer=self._issuer,
            subject=subject,
            name=next((name for key in ("name", "preferred_username") if (name := _text(says, more, key))), None),
            email=_plain(of_email.get("email")),
            email_verified=_truth(of_email.get("email_verified")),
            groups=_groups(groups),
        )


def _text(says: Mapping[str, Any], more: Mapping[str, Any], key: str) -> str | None:
    return _plain(says.get(key)) or _plain(more.get(key))


def _plain(value: Any) -> str | None:
    """Return a short printable text; None for anything else."""
    is_plain = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
    return value if is_plain else None


def _truth(value: Any) -> bool | None:
    """Whether it is so; None where nothing was said. Some providers write it as text."""
    return None if value is None else value is True or value == "true"


def _groups(value: Any) -> tuple[str, ...]:
    """Return the names in a list of groups, or the only one."""
    listed = value if isinstance(value, list) else [value]
    return tuple(name for each in listed[:_MOST_GROUPS] if (name := _plain(each)))
