"""Dependencies of routes: the portal, the language, the principal, and a body of bounded size."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ValidationError

from app.audit import Actor, Means, Role
from app.config.settings import Settings
from app.errors import PortalError
from app.i18n import Language, choose_language
from app.identity import NOBODY, Principal, Shown, is_token, new_browser_owner
from app.portal import Portal
from app.stacks.requester import Requester
from app.web.auth.proxy import claims_of

M = TypeVar("M", bound=BaseModel)

BROWSER_COOKIE: Final = "asd_browser"
SESSION_COOKIE: Final = "asd_session"
_SIGNING_IN_COOKIE: Final = "asd_signing_in"
LANGUAGE_COOKIE: Final = "lang"
THEME_COOKIE: Final = "theme"
MAX_BODY: Final = 64 * 1024
# Our own forms have three.
_MOST_FIELDS: Final = 20
# What is kept of what a browser calls itself.
_LONGEST_BROWSER: Final = 200
_DAY: Final = 24 * 3600
_YEAR: Final = 365 * _DAY


def portal_of(request: Request) -> Portal:
    """Return the portal that the lifespan has opened."""
    portal: Portal = request.app.state.portal
    return portal


def language_of(request: Request) -> Language:
    """Return the reader's language: `?lang=`, the cookie, `Accept-Language`, the default (ASD-1)."""
    return choose_language(
        asked=request.query_params.get("lang"),
        cookie=request.cookies.get(LANGUAGE_COOKIE),
        accept=request.headers.get("accept-language"),
        default=request.app.state.settings.default_language,
    )


def theme_of(request: Request) -> str | None:
    """`light` or `dark` where the reader chose one."""
    theme = request.cookies.get(THEME_COOKIE)
    return theme if theme in {"light", "dark"} else None


async def identify(request: Request) -> Principal:
    """Recognise who asks: by the Authorization header, a session, or a browser's cookie.

    Raises PortalError as `Recognition.caller` does.
    """
    portal = portal_of(request)
    browser = request.cookies.get(_own(request, BROWSER_COOKIE))
    session = request.cookies.get(_own(request, SESSION_COOKIE))
    shown = Shown(
        bearer=_bearer_of(request),
        session=portal.vault.unsign(session, SESSION_COOKIE) or "" if session else None,
        browser=portal.vault.unsign(browser, BROWSER_COOKIE) if browser else None,
        claims=claims_of(request) if portal.settings.auth_mode == "proxy" else None,
        address=address_of(request),
    )
    return await portal.authentication.principal(shown)


def may_be_guess(request: Request) -> bool:
    """Whether a request comes with a Bearer that somebody could have guessed: tokens of ours are too long for that."""
    bearer = _bearer_of(request)
    return bearer is not None and not is_token(bearer)


def principal_of(request: Request) -> Principal:
    """Who asks, as `authorize` has recognised him."""
    principal: Principal = getattr(request.state, "principal", NOBODY)
    return principal


def address_of(request: Request) -> str | None:
    """Where a request comes from; behind a proxy that FORWARDED_ALLOW_IPS lists, where that says it comes from."""
    return request.client.host[:64] if request.client else None


def _bearer_of(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def must_be_from_here(request: Request) -> None:
    """Refuse what another site's page makes a browser send with our cookies (CSRF). Raises PortalError `cross_site`.

    A Bearer token cannot be sent by another site, and then no cookie counts, so it needs no such check; what a browser
    adds by itself, as for a proxy that asks for a password, does.
    """
    if _bearer_of(request) is not None:
        return
    site, origin = _from_where(request)
    if site is not None and site not in {"same-origin", "none"}:
        raise PortalError("cross_site")
    if site is None and origin is not None and _host_of(origin) != request.headers.get("host"):
        raise PortalError("cross_site")


def must_say_where_from(request: Request) -> None:
    """Refuse a change by somebody who is known by a cookie, or a proxy, without a word of where it comes from.

    Every browser has one. Raises PortalError `cross_site`.
    """
    if _bearer_of(request) is None and _from_where(request) == (None, None):
        raise PortalError("cross_site")


def _from_where(request: Request) -> tuple[str | None, str | None]:
    return request.headers.get("sec-fetch-site"), request.headers.get("origin")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as half of an IPv6 address
        return None


PortalDep = Annotated[Portal, Depends(portal_of)]
LanguageDep = Annotated[Language, Depends(language_of)]
PrincipalDep = Annotated[Principal, Depends(principal_of)]


def requester_of(
    principal: Principal, trigger: str, *, owner: str | None = None, actor: Actor | None = None
) -> Requester:
    """Who requests an operation on a stack. owner, actor: where that is a browser that nobody knew yet."""
    return Requester(owner or principal.owner or "", actor or principal.actor, trigger, principal.key_hash)


def owner_of(request: Request) -> str:
    """Whose a stack or a token will be that is made on a page; a browser that nobody knows yet gets a name."""
    owner = principal_of(request).owner
    if owner is None:
        owner = request.state.new_browser = new_browser_owner()
    return owner


def browser_of(request: Request) -> str | None:
    """Return the browser's own name, by which its owner tells sessions apart."""
    name = request.headers.get("user-agent", "")[:_LONGEST_BROWSER]
    return "".join(letter for letter in name if letter.isprintable()) or None


def actor_of(request: Request) -> Actor:
    """Who asks, for the record; a browser by the name that `owner_of` has given it."""
    principal, named = principal_of(request), getattr(request.state, "new_browser", None)
    if named is None or principal.is_known:
        return principal.actor
    return replace(principal.actor, id=named, role=Role.USER, means=Means.BROWSER)


def remember_browser(request: Request, response: Response) -> None:
    """Give a browser that `owner_of` has named its signed cookie, and renew that of one that comes back."""
    principal = principal_of(request)
    owner = getattr(request.state, "new_browser", None)
    if owner is None and principal.actor.means is Means.BROWSER:
        owner = principal.owner
    if owner is not None:
        signed = portal_of(request).vault.sign(owner, BROWSER_COOKIE)
        _set_cookie(request, response, _own(request, BROWSER_COOKIE), signed, hidden=True)


def remember_choice(request: Request, response: Response, name: str, value: str) -> None:
    """Keep a reader's choice of language or theme."""
    _set_cookie(request, response, name, value, hidden=False)


def remember_session(request: Request, response: Response, secret: str) -> None:
    """Keep the secret of a session that has begun in this browser."""
    portal = portal_of(request)
    name = _own(request, SESSION_COOKIE)
    # It outlives the session, so that the browser can be told that this has ended.
    seconds = int(portal.sessions.lives.total_seconds()) + _DAY
    _set_cookie(request, response, name, portal.vault.sign(secret, SESSION_COOKIE), hidden=True, seconds=seconds)


def forget_session(request: Request, response: Response) -> None:
    """Take the session's cookie from this browser."""
    _set_cookie(request, response, _own(request, SESSION_COOKIE), "", hidden=True, seconds=0)


def remember_signing_in(request: Request, response: Response, sealed: str, *, seconds: int) -> None:
    """Keep what belongs to one signing in at a provider until its answer comes."""
    _set_cookie(request, response, _own(request, _SIGNING_IN_COOKIE), sealed, hidden=True, seconds=seconds)


def signing_in_of(request: Request) -> str | None:
    """Return what was kept so."""
    return request.cookies.get(_own(request, _SIGNING_IN_COOKIE))


def forget_signing_in(request: Request, response: Response) -> None:
    """Forget it: it counts once."""
    _set_cookie(request, response, _own(request, _SIGNING_IN_COOKIE), "", hidden=True, seconds=0)


def _own(request: Request, name: str) -> str:
    return cookie_name(request.app.state.settings, name)


def cookie_name(settings: Settings, name: str) -> str:
    """Return the name of a cookie that only this host can set.

    Stacks live on sibling names of the portal's, run whatever their owners like, and may set cookies for the whole
    domain; with this prefix, which browsers allow over https only, those are another cookie.
    """
    return f"__Host-{name}" if settings.portal_is_tls else name


def _set_cookie(
    request: Request, response: Response, name: str, value: str, *, hidden: bool, seconds: int = _YEAR
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=request.app.state.settings.portal_is_tls,
        httponly=hidden,
        samesite="lax",
    )


def origin_of(request: Request) -> str:
    """Return the portal's own address: the setting, or else the one that the request used."""
    return (request.app.state.settings.portal_url or str(request.base_url)).rstrip("/")


def path_here(path: str, otherwise: str = "/") -> str:
    """Return a path that was sent to go on to, or the default where it would leave this site."""
    # A second slash, or a backslash that browsers read as one, would.
    is_safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_safe else otherwise


async def read_json(request: Request, model: type[M]) -> M:
    """Read a JSON body into a model.

    Raises PortalError: `media_type_unsupported`, `body_too_large`, `request_timeout`, `body_not_json`; InvalidBodyError
    names fields.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise PortalError("media_type_unsupported")
    body = await _read_body(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        if details[0]["type"] == "json_invalid":
            raise PortalError("body_not_json") from None
        raise InvalidBodyError(details) from None


class InvalidBodyError(PortalError):
    """A JSON body whose fields are not as they should be."""

    def __init__(self, details: Any) -> None:
        super().__init__("request_invalid")
        self.details = details


async def read_form(request: Request) -> Mapping[str, str]:
    """Read a form as a browser without JavaScript sends it.

    Raises PortalError: `body_too_large`, `request_timeout`, `request_invalid`.
    """
    body = await _read_body(request)
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise PortalError("request_invalid") from None


async def _read_body(request: Request) -> bytes:
    # Refused unread where it says so itself, and a client that asks first (`Expect`) is spared the sending.
    said = request.headers.get("content-length", "")
    if said.isdecimal() and (len(said) > len(str(MAX_BODY)) + 10 or int(said) > MAX_BODY):
        raise PortalError("body_too_large", limit=MAX_BODY)
    chunks: list[bytes] = []
    size = 0
    seconds: float = request.app.state.settings.request_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BODY:
                    raise PortalError("body_too_large", limit=MAX_BODY)
                chunks.append(chunk)
    except TimeoutError:
        raise PortalError("request_timeout", seconds=f"{seconds:g}") from None
    return b"".join(chunks)


def wait_preference(request: Request, *, usual: int, maximum: int) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240). Raises PortalError `prefer_invalid`."""
    header = request.headers.get("prefer", "")
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([^,;\"\s]*)", header)
    if found is None:
        return usual
    if not found[1].isdecimal() or not found[1].isascii() or len(found[1]) > 6 or int(found[1]) > maximum:
        raise PortalError("prefer_invalid", field="Prefer", maximum=maximum, usual=usual)
    return int(found[1])
