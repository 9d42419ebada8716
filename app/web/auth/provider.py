"""The client of the OpenID provider: its metadata, keys and claims. Knows nothing of requests."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlsplit

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from app.config.settings import Settings
from app.errors import PortalError
from app.security.tls import trusted

if TYPE_CHECKING:
    from joserfc.jwk import Key

log = structlog.get_logger()

_DESCRIPTION: Final = "/.well-known/openid-configuration"
# How long a description and keys are kept before they are read again.
_KEPT_SECONDS: Final = 3600
_PAUSE_SECONDS: Final = 2.0
_MOST_BYTES: Final = 512 * 1024
# How far the provider's clock may be from ours.
_LEEWAY_SECONDS: Final = 60
_RETRY_SECONDS: Final = 10
# What is logged of a text of the provider's.
_MOST_LOGGED: Final = 200
# Those with a public key: one with a shared secret could be made by whoever has the public one, and `none` by anybody.
_SIGNATURES: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)


class Description(BaseModel):
    """What the provider says of itself (OpenID Connect Discovery), as far as it is used."""

    model_config = ConfigDict(frozen=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether its addresses are plain ones of the web, and https where the issuer is."""
        given = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)
        addresses = filter(None, (*given, self.userinfo_endpoint, self.end_session_endpoint))
        allowed = {"https", urlsplit(self.issuer).scheme}
        return all(urlsplit(each).scheme in allowed and each.isprintable() for each in addresses)


@dataclass(frozen=True)
class Tokens:
    """What a code was redeemed for."""

    id_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)


def failed(why: str, **more: str | int) -> PortalError:
    """Make the error for a signing in that cannot go on; `why` is for the log alone."""
    log.warning("sign_in_failed", why=why, **more)
    return PortalError("sign_in_failed", log=why)


def loggable(text: object) -> str:
    """Return a foreign text for the log: short, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:_MOST_LOGGED])


class Provider:
    """The provider at OIDC_ISSUER."""

    def __init__(
        self,
        settings: Settings,
        *,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        """`pause`: seconds after a failure in which nobody asks again, since anybody may make the portal ask."""
        self._issuer = cast("str", settings.oidc_issuer)  # the settings see to it
        self._client_id = cast("str", settings.oidc_client_id)
        secret = settings.oidc_client_secret
        self._client_secret = secret.get_secret_value() if secret else None
        # From the connection to the last byte.
        self._deadline = settings.oidc_timeout_seconds
        self._pause = pause
        self._description: tuple[float, Description] | None = None
        self._failure: tuple[float, PortalError] | None = None
        self._asking = asyncio.Lock()
        self._keys: tuple[float, dict[str, Any]] | None = None

    async def description(self) -> Description:
        """Return the provider's metadata. Raises PortalError `provider_away` or `sign_in_failed`.

        Anybody may make the portal ask, without signing in. Of those who come together one asks and the others wait for
        what he learns; where that is a failure, nobody asks again for a moment.
        """
        async with self._asking:
            if self._description and self._is_fresh(self._description[0]):
                return self._description[1]
            if self._failure and time.monotonic() - self._failure[0] < self._pause:
                # Not that error itself: one that is raised again and again grows.
                raise PortalError(self._failure[1].code, log=self._failure[1].log, seconds=_RETRY_SECONDS)
            try:
                description = await self._read_description()
            except PortalError as error:
                self._failure = (time.monotonic(), error)
                raise
            self._description, self._failure = (time.monotonic(), description), None
            return description

    async def _read_description(self) -> Description:
        address = self._issuer.rstrip("/") + _DESCRIPTION
        status, answer = await self._call("GET", address)
        if status != httpx.codes.OK:
            raise failed("the provider has no description of itself", address=address, status=status)
        try:
            description = Description.model_validate(answer)
        except ValidationError as error:
            raise failed("the provider's description cannot be read", fields=loggable(_fields(error))) from None
        if description.issuer != self._issuer:
            raise failed("OIDC_ISSUER is not what the provider calls itself", it_says=loggable(description.issuer))
        if not description.is_safe:
            raise failed("the provider's description has an address that is not https")
        return description

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Redeem a code for tokens, once: a code counts only once. Raises as `description`."""
        description = await self.description()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._authenticate(description, form)
        status, answer = await self._call("POST", description.token_endpoint, data=form, headers=headers)
        if status != httpx.codes.OK:
            raise failed(
                "the provider refuses the code or the client",
                status=status,
                error=loggable(answer.get("error")),
                description=loggable(answer.get("error_description")),
            )
        id_token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(id_token, str):
            raise failed("the provider's answer has no ID token")
        return Tokens(id_token, access_token if isinstance(access_token, str) else None)

    def _authenticate(self, description: Description, form: dict[str, str]) -> dict[str, str]:
        """Say who the portal is: headers for it, or fields of the form."""
        methods = description.token_endpoint_auth_methods_supported
        if self._client_secret is None:
            form["client_id"] = self._client_id
            return {}
        if "client_secret_basic" in methods or "client_secret_post" not in methods:
            pair = ":".join(quote(part, safe="") for part in (self._client_id, self._client_secret))
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return {}

    async def verify(self, tokens: Tokens, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token, proven to be the provider's, for us, fresh, and for this sign-in."""
        # Loaded where used: they take a while, and a portal without OpenID never needs them.
        from joserfc.errors import InvalidKeyIdError, JoseError

        description = await self.description()
        try:
            try:
                return self._verified(tokens, nonce, description, await self._read_keys(description))
            except InvalidKeyIdError:
                keys = await self._read_keys(description, anew=True)
                return self._verified(tokens, nonce, description, keys)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise failed("the ID token does not hold", error=loggable(f"{type(error).__name__} {error}")) from None

    def _verified(
        self, tokens: Tokens, nonce: str, description: Description, keys: dict[str, Any]
    ) -> Mapping[str, Any]:
        from authlib.oidc.core.claims import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        signatures = _SIGNATURES.intersection(description.id_token_signing_alg_values_supported)
        if not signatures:
            raise failed("the provider signs in no way that is known here")
        registry = JWSRegistry(algorithms=sorted(signatures), strict_check_header=False)
        token = jwt.decode(tokens.id_token, KeySet(_signing_keys(keys)), registry=registry)
        claims = CodeIDToken(
            token.claims,
            token.header,
            {"iss": {"essential": True, "value": self._issuer}, "aud": {"essential": True, "value": self._client_id}},
            {"nonce": nonce, "client_id": self._client_id, "access_token": tokens.access_token},
        )
        claims.validate(now=int(time.time()), leeway=_LEEWAY_SECONDS)
        return dict(claims)

    async def _read_keys(self, description: Description, *, anew: bool = False) -> dict[str, Any]:
        """Return the provider's keys; read them again where a token names an unknown one."""
        if not anew and self._keys and self._is_fresh(self._keys[0]):
            return self._keys[1]
        status, answer = await self._call("GET", description.jwks_uri)
        if status != httpx.codes.OK:
            raise failed("the provider does not show its keys", status=status)
        self._keys = (time.monotonic(), answer)
        return answer

    async def userinfo(self, tokens: Tokens, subject: str) -> Mapping[str, Any]:
        """Return the provider's userinfo claims; empty where it has no such endpoint. Raises as `redeem`."""
        address = (await self.description()).userinfo_endpoint
        if address is None or tokens.access_token is None:
            return {}
        headers = {"Authorization": f"Bearer {tokens.access_token}"}
        try:
            status, answer = await self._call("GET", address, headers=headers)
        except UnicodeEncodeError:
            raise failed("the access token is no text for a header") from None
        if status != httpx.codes.OK:
            raise failed("the provider refuses its own access token", status=status)
        if answer.get("sub") != subject:
            raise failed("the provider tells of somebody else than in the ID token")
        return answer

    async def _call(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Make one call: its status, and what JSON it answers. Raises as `description`."""
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._deadline),
                httpx.AsyncClient(verify=trusted(), timeout=self._deadline) as client,
                client.stream(
                    method, address, headers={"Accept": "application/json", **(headers or {})}, data=data
                ) as answer,
            ):
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise failed("the provider's answer is too large", address=loggable(address))
        except (httpx.TransportError, TimeoutError) as error:
            raise _away(address, type(error).__name__) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failed(f"the provider cannot be asked: {type(error).__name__}", address=loggable(address)) from None
        if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _away(address, str(answer.status_code))
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            # What refuses may do so without JSON.
            if answer.is_success:
                raise failed("the provider's answer is no JSON object", address=loggable(address))
            content = {}
        return answer.status_code, content

    @staticmethod
    def _is_fresh(read_at: float) -> bool:
        return time.monotonic() - read_at < _KEPT_SECONDS


def _signing_keys(keys: Mapping[str, Any]) -> "list[Key]":
    """Return the public keys for signatures, without unknown kinds and those for other uses."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    found = []
    for key in keys["keys"]:
        if key.get("kty") in {"RSA", "EC", "OKP"} and key.get("use", "sig") == "sig":
            with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
                found.append(JWKRegistry.import_key(key))
    return found


def _away(address: str, why: str) -> PortalError:
    log.error("provider_away", address=loggable(address), why=why)
    return PortalError("provider_away", log=why, seconds=_RETRY_SECONDS)


def _fields(error: ValidationError) -> str:
    return ", ".join(str(each["loc"][0]) if each["loc"] else "all of it" for each in error.errors(include_input=False))
