"""What the pages of who somebody is are given: signing in, an account, a token that was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.web.ui.shared.view import Fact, Moment, Section, ShownProblem


@dataclass(frozen=True)
class SignInPage:
    """Where somebody signs in. next: where he goes on to; possible: whether there is an operator's token to do it with.

    problem: why he was refused; ended: whether he was signed in before; provider: whether there is a provider to sign
    in at; proxy: whether a proxy in front of the portal does it. Where there is neither, only the operator signs in.
    lasts: for how long, in words; left: whether he has just signed out; there_too: where he signs out of the provider.
    """

    template: ClassVar[str] = "sign_in/sign_in.html"
    section: ClassVar[Section] = "account"
    next: str
    possible: bool = True
    problem: ShownProblem | None = None
    ended: bool = False
    provider: bool = False
    proxy: bool = False
    lasts: str = ""
    left: bool = False
    there_too: str = ""


@dataclass(frozen=True)
class AccountPage:
    """Who somebody is here, where he is signed in, and his tokens.

    facts: who, and how that is known; cookie_only: whether nothing but this browser's cookie tells; sessions: none
    where there are no sessions; everybody: whether the tokens are everybody's; choices, lives: what a new token may be
    allowed and for how many days; name: what was typed; problem: why no token was made.
    """

    template: ClassVar[str] = "account/account.html"
    section: ClassVar[Section] = "account"

    @dataclass(frozen=True)
    class Session:
        """A browser in which he is signed in. browser: what it calls itself; here: whether it is this one."""

        began: Moment
        address: str
        browser: str
        here: bool

    @dataclass(frozen=True)
    class Token:
        """A token. may: in words; state: empty while it is good; who: its owner; trail: where it stands what he did."""

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
        """Something to choose. value: as the form sends it."""

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
    name: str = ""
    problem: ShownProblem | None = None


@dataclass(frozen=True)
class NewTokenPage:
    """A token that was made, this once. secret: the token itself; call: of the API that it may make, or empty."""

    template: ClassVar[str] = "account/token.html"
    section: ClassVar[Section] = "account"
    name: str
    secret: str
    may: Sequence[str]
    ends: Moment
    call: str = ""
