"""What the pages of a transfer are given: the question, the code, where a code is typed, the stack with its new key."""

from dataclasses import dataclass

from app.web.problems import ShownProblem
from app.web.ui.shared.view import Moment, Page


@dataclass(frozen=True)
class OfferPage(Page):
    """Asks before a stack is transferred, and says what that does. is_own: whether it is the viewer's."""

    template = "transfer/offer.html"
    section = "stacks"
    name: str
    is_own: bool = True


@dataclass(frozen=True)
class OfferedPage(Page):
    """The code to accept a stack with, shown only once. address: of the page where that is done."""

    template = "transfer/offered.html"
    section = "stacks"
    name: str
    code: str
    ends: Moment
    address: str


@dataclass(frozen=True)
class TakeOverPage(Page):
    """Asks for a transfer code or a manage key. problem: why the one that was sent was refused."""

    template = "transfer/take_over.html"
    section = "stacks"
    problem: ShownProblem | None = None


@dataclass(frozen=True)
class TakenOverPage(Page):
    """A stack that was accepted, with its new manage key, shown only once."""

    template = "transfer/taken_over.html"
    section = "stacks"
    name: str
    manage_key: str | None
