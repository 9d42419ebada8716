"""What the pages of who somebody is are given."""

from dataclasses import dataclass
from typing import ClassVar

from app.web.contexts.parts import Section, ShownProblem


@dataclass(frozen=True)
class SignInPage:
    """Where the operator signs in. next: where he goes on to; possible: whether there is a token to sign in with.

    problem: why he was refused; ended: whether he was signed in before.
    """

    template: ClassVar[str] = "sign_in.html"
    section: ClassVar[Section] = "operator"
    next: str
    possible: bool = True
    problem: ShownProblem | None = None
    ended: bool = False
