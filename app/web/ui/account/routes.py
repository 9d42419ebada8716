"""The page of an account: who somebody is here, where he is signed in, and his tokens for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.audit import Means
from app.errors import N_, PortalError
from app.i18n import Language
from app.identity import OWN_SCOPES, SCOPE_LABELS, USUAL_DAYS, Principal, Scope, Token
from app.portal import Portal
from app.web.api.account import make, revoke, tokens_of
from app.web.api.routes import LanguageDep, PortalDep, PrincipalDep
from app.web.deps import (
    forget_session,
    origin_of,
    portal_of,
    read_form,
)
from app.web.problems import refuse, show
from app.web.ui.audit.routes import MEANS, trail_of
from app.web.ui.record.routes import ACTORS
from app.web.ui.shared.actors import owners_in_words
from app.web.ui.shared.responses import respond
from app.web.ui.shared.timeline import moment
from app.web.ui.sign_in.routes import SIGNED_OUT
from app.web.ui.views import AccountPage, Fact, NewTokenPage, ShownProblem

router = APIRouter()

ADDRESS: Final = "/account"
LIVES: Final = (7, 30, USUAL_DAYS, 365)
# A name that is too long is shown as it was typed, but not a book.
_LONGEST_SHOWN: Final = 200

_MAY: Final = (
    (True, N_("Manage every stack, as an operator")),
    (False, N_("Manage your own stacks")),
)
# No route asks for it yet: somebody would choose what does nothing, and one day does something.
_NOT_OFFERED: Final = frozenset({Scope.DEPLOY_ROLLBACK})
# A call that a token may make whichever stacks there are, the first that fits.
_CALLS: Final = (
    (Scope.ADMIN, "/api/stacks"),
    (Scope.STACK_READ, "/api/stacks"),
    (Scope.DEPLOY_START, "/api/check/ada"),
)


@dataclass(frozen=True)
class _Typed:
    """The form of a token, as somebody has filled it in."""

    name: str = ""
    scopes: Sequence[Scope] = ()
    days: int = USUAL_DAYS

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> "_Typed":
        """Read what a browser sends: a field of its own for each box that is ticked."""
        days = fields.get("days", "")
        return cls(
            name=fields.get("name", ""),
            scopes=[scope for scope in Scope if scope.value in fields],
            # What is no number is no number of days that a token may have.
            days=int(days) if days.isascii() and days.isdecimal() and len(days) <= 4 else 0,
        )


@router.get(ADDRESS)
async def account(request: Request, principal: PrincipalDep, language: LanguageDep, everybody: str = "") -> Response:
    """Who somebody is, with everybody's tokens where an operator asks for those (`?everybody=1`)."""
    return respond(request, await _page(request, principal, language, everybody=bool(everybody)))


async def _page(
    request: Request,
    principal: Principal,
    language: Language,
    *,
    everybody: bool = False,
    typed: _Typed | None = None,
    problem: ShownProblem | None = None,
) -> AccountPage:
    portal, typed = portal_of(request), typed or _Typed()
    tokens = await tokens_of(portal, principal, everybody=everybody)
    names = await owners_in_words(portal, [each.owner for each in tokens], language)
    offered = [scope for scope in Scope if scope in OWN_SCOPES | principal.scopes and scope not in _NOT_OFFERED]
    return AccountPage(
        facts=_facts(principal, language),
        tokens=[_token(each, names, language) for each in tokens],
        choices=[
            AccountPage.Choice(scope.value, language.text(SCOPE_LABELS[scope]), scope in typed.scopes)
            for scope in offered
        ],
        lives=[
            AccountPage.Choice(str(days), language.plural("{count} day", "{count} days", days), days == typed.days)
            for days in LIVES
        ],
        sessions=await _sessions(portal, principal, language),
        cookie_only=principal.actor.means in {Means.NOTHING, Means.BROWSER},
        is_operator=principal.is_operator,
        everybody=everybody,
        name=typed.name[:_LONGEST_SHOWN],
        problem=problem,
    )


def _facts(principal: Principal, language: Language) -> list[Fact]:
    actor = principal.actor
    if actor.email is not None:
        who = Fact(language.text(N_("You are")), actor.email, code=True)
    elif actor.means in {Means.NOTHING, Means.BROWSER}:
        who = Fact(language.text(N_("You are")), language.text(N_("This browser")))
    else:
        who = Fact(language.text(N_("You are")), language.text(ACTORS.get(actor.kind, actor.kind)))
    return [
        who,
        Fact(language.text(N_("Known by")), language.text(MEANS[actor.means])),
        Fact(language.text(N_("You may")), language.text(dict(_MAY)[principal.is_operator])),
    ]


async def _sessions(portal: Portal, principal: Principal, language: Language) -> list[AccountPage.Session]:
    """Where somebody is signed in; sessions that began with an earlier token of the operator's count no more."""
    if principal.session is None:
        return []
    binding = portal.authentication.admin_binding
    return [
        AccountPage.Session(
            began=moment(each.created_at, language),
            address=each.address or "",
            browser=each.browser or "",
            here=each.id == principal.session.id,
        )
        for each in await portal.sessions.of(principal.session.account)
        if each.account is not None or each.bound_to == binding
    ]


def _token(token: Token, names: Mapping[str, str], language: Language) -> AccountPage.Token:
    state = ""
    if token.revoked_at is not None:
        state = language.text(N_("Revoked"))
    elif token.is_over:
        state = language.text(N_("Expired"))
    return AccountPage.Token(
        id=token.id,
        name=token.name,
        may=_may(token.scopes, language),
        made=moment(token.created_at, language),
        ends=moment(token.expires_at, language),
        used=moment(token.used_at, language) if token.used_at else None,
        state=state,
        who=names[token.owner],
        trail=trail_of(actor=token.owner),
    )


def _may(scopes: frozenset[Scope], language: Language) -> list[str]:
    """What a token may, in the order in which that is offered."""
    return [language.text(SCOPE_LABELS[scope]) for scope in Scope if scope in scopes]


@router.get("/account/tokens")
async def no_tokens_here() -> Response:
    """Lead back to the account whoever asks anew for the address of its form."""
    return RedirectResponse(ADDRESS, status_code=303)


@router.post("/account/tokens")
async def make_token(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Make a token and show it, this once; or show the form again and say why not."""
    typed = _Typed.read(await read_form(request))
    try:
        token, secret = await make(portal, principal, name=typed.name, scopes=typed.scopes, days=typed.days)
    except PortalError as error:
        page = await _page(request, principal, language, typed=typed, problem=show(error, language))
        return await refuse(request, error, page, path=ADDRESS)
    call = next((path for scope, path in _CALLS if scope in token.scopes), "")
    made = NewTokenPage(
        name=token.name,
        secret=secret,
        may=_may(token.scopes, language),
        ends=moment(token.expires_at, language),
        call=f"{origin_of(request)}{call}" if call else "",
    )
    return respond(request, made, path=ADDRESS)


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(token_id: str, request: Request, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Revoke, and back to the list that it was done on."""
    fields = await read_form(request)
    await revoke(portal, principal, token_id)
    back = f"{ADDRESS}?everybody=1&" if fields.get("everybody") else f"{ADDRESS}?"
    return RedirectResponse(f"{back}done=revoked", status_code=303)


@router.post("/account/sign-out-everywhere")
async def sign_out_everywhere(request: Request, portal: PortalDep, principal: PrincipalDep) -> Response:
    """End every session of whoever is signed in."""
    if principal.session is not None:
        await portal.sessions.end_all(principal.actor, principal.session.account)
    there = "/" if portal.settings.auth_mode == "open" else SIGNED_OUT
    response = RedirectResponse(f"{there}?done=signed-out-everywhere", status_code=303)
    forget_session(request, response)
    return response
