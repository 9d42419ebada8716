"""What the pages of an account are given: who the viewer is here, their sessions and tokens, and a new token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.audit import Means
from app.errors import N_
from app.i18n import Language
from app.identity import OWN_SCOPES, SCOPE_LABELS, USUAL_DAYS, Principal, Scope, Token
from app.portal import Portal
from app.store.paging import PageRequest
from app.web.problems import ShownProblem
from app.web.token_requests import tokens_of
from app.web.ui.shared.actors import MEANS, kind_in_words, owners_in_words
from app.web.ui.shared.addresses import ACCOUNT, trail_of
from app.web.ui.shared.paging import ONE_PAGE, PageLinks, links_of
from app.web.ui.shared.timeline import moment
from app.web.ui.shared.view import Fact, Moment, Page

PAGE: Final = 50
LIVES: Final = (7, 30, USUAL_DAYS, 365)
# A name that is too long is shown as it was typed, up to here.
_LONGEST_SHOWN: Final = 200

_MAY: Final = (
    (True, N_("Manage every stack, as an operator")),
    (False, N_("Manage your own stacks")),
)
# No route needs it yet: it would do nothing today, and something one day.
_NOT_OFFERED: Final = frozenset({Scope.DEPLOY_ROLLBACK})
# A call that a token may make whichever stacks there are, the first that fits.
_CALLS: Final = (
    (Scope.ADMIN, "/api/stacks"),
    (Scope.STACK_READ, "/api/stacks"),
    (Scope.DEPLOY_START, "/api/check/ada"),
)


@dataclass(frozen=True)
class TokenForm:
    """The form for a token, as the viewer has filled it in."""

    name: str = ""
    scopes: Sequence[Scope] = ()
    days: int = USUAL_DAYS

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> "TokenForm":
        """Read what a browser sends: a field of its own for each box that is ticked."""
        days = fields.get("days", "")
        return cls(
            name=fields.get("name", ""),
            scopes=[scope for scope in Scope if scope.value in fields],
            # What is no number is no number of days that a token may have.
            days=int(days) if days.isascii() and days.isdecimal() and len(days) <= 4 else 0,
        )


@dataclass(frozen=True)
class AccountPage(Page):
    """Who the viewer is here, where they are signed in, and their tokens.

    facts: who, and how that is known; cookie_only: whether only this browser's cookie tells; sessions: empty where
    there are none; everybody: whether these are all users' tokens; links: to more of them; choices, lives: what a new
    token can be allowed and for how many days; name: what was typed; problem: why no token was created.
    """

    template = "account/account.html"
    section = "account"

    @dataclass(frozen=True)
    class Session:
        """A browser with a session of the viewer's. browser: what it calls itself; here: whether it is this one."""

        began: Moment
        address: str
        browser: str
        here: bool

    @dataclass(frozen=True)
    class Token:
        """A token. may: in words; state: empty while it is valid; who: its owner; trail: address of their trail."""

        id: str
        name: str
        may: Sequence[str]
        made: Moment
        ends: Moment
        used: Moment | None
        state: str
        who: str
        trail: str

    @dataclass(frozen=True)
    class Choice:
        """An option of the form. value: as the form sends it."""

        value: str
        words: str
        chosen: bool

    facts: Sequence[Fact]
    tokens: Sequence[Token]
    choices: Sequence[Choice]
    lives: Sequence[Choice]
    sessions: Sequence[Session] = ()
    cookie_only: bool = False
    is_operator: bool = False
    everybody: bool = False
    links: PageLinks = ONE_PAGE
    name: str = ""
    problem: ShownProblem | None = None


@dataclass(frozen=True)
class NewTokenPage(Page):
    """A new token, shown only once. secret: the token itself; call: an API call that it may make, or empty."""

    template = "account/token.html"
    section = "account"
    name: str
    secret: str
    may: Sequence[str]
    ends: Moment
    call: str = ""


async def account_page(
    portal: Portal,
    principal: Principal,
    language: Language,
    *,
    everybody: bool = False,
    cursor: str | None = None,
    typed: TokenForm | None = None,
    problem: ShownProblem | None = None,
) -> AccountPage:
    """Read what belongs to an account, and show it. everybody, problem: as in AccountPage; typed: the form as sent.

    cursor: of a page of tokens. Raises PortalError `cursor_invalid`.
    """
    typed = typed or TokenForm()
    tokens = await tokens_of(portal, principal, PageRequest(PAGE, cursor), everybody=everybody)
    names = await owners_in_words(portal, [each.owner for each in tokens.items], language)
    offered = [scope for scope in Scope if scope in OWN_SCOPES | principal.scopes and scope not in _NOT_OFFERED]
    return AccountPage(
        facts=_facts(principal, language),
        tokens=[_token(each, names, language) for each in tokens.items],
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
        links=links_of(tokens, ACCOUNT, cursor, anchor="tokens", everybody="1" if everybody else ""),
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
        who = Fact(language.text(N_("You are")), kind_in_words(actor.kind, language))
    return [
        who,
        Fact(language.text(N_("Known by")), language.text(MEANS[actor.means])),
        Fact(language.text(N_("You may")), language.text(dict(_MAY)[principal.is_operator])),
    ]


async def _sessions(portal: Portal, principal: Principal, language: Language) -> list[AccountPage.Session]:
    """List where the viewer is signed in; sessions that began with an earlier operator's token have ended."""
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


def new_token_page(token: Token, secret: str, language: Language, *, origin: str) -> NewTokenPage:
    """Show a token that was created. origin: of the portal, for a call that the token may make."""
    call = next((path for scope, path in _CALLS if scope in token.scopes), "")
    return NewTokenPage(
        name=token.name,
        secret=secret,
        may=_may(token.scopes, language),
        ends=moment(token.expires_at, language),
        call=f"{origin}{call}" if call else "",
    )


def _may(scopes: frozenset[Scope], language: Language) -> list[str]:
    """Say what a token may do, in the order of the form."""
    return [language.text(SCOPE_LABELS[scope]) for scope in Scope if scope in scopes]
