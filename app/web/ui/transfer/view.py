"""What the pages of a transfer are given: the question, the code, where a code is typed, the stack with its new key."""

from dataclasses import dataclass

from app.web.problems import ShownProblem
from app.web.ui.shared.view import Moment, Page


@dataclass(frozen=True)
class OfferPage(Page):
    """Asks before a stack is handed over, and says what that does. is_own: whether it is the viewer's."""

    template = "transfer/offer.html"
    section = "stacks"
    name: str
    is_own: bool = True


@dataclass(frozen=True)
class OfferedPage(Page):
    """The code with which somebody may take a stack over, this once. address: of the page where he does that."""

    template = "transfer/offered.html"
    section = "stacks"
    name: str
    code: str
    ends: Moment
    address: str


@dataclass(frozen=True)
class TakeOverPage(Page):
    """Asks for the code, or the manage key, of a stack to take over. problem: why the one that was sent does not do."""

    template = "transfer/take_over.html"
    section = "stacks"
    problem: ShownProblem | None = None


@dataclass(frozen=True)
class TakenOverPage(Page):
    """A stack that was taken over, with its new manage key, this once."""

    template = "transfer/taken_over.html"
    section = "stacks"
    name: str
    manage_key: str | None
