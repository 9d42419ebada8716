"""What several pages are given: who looks, a moment, a deployment in a list, an error; and what a page is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from app.i18n import Language
from app.web.problems import ShownProblem

Section = Literal["deploy", "stacks", "account", "operator", ""]
LineEnd = Literal["", "undone", "failed", "canceled"]


class Page:
    """What one template is given: each page is a frozen dataclass, and its template reaches for nothing else.

    template: its path below `templates/`, in the folder of the page's feature; section: the part of the portal that
    the header marks.
    """

    template: ClassVar[str]
    section: ClassVar[Section]


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page.

    path: where a `GET` shows it; theme: `light`, `dark`, or None for the system's; query: the rest of the address, as
    links to other languages keep it; has_account: whether they have an account's page, or else may sign in;
    may_be_operator: whether they are an operator, or not signed in; done: what they have just done, in words.
    """

    language: Language
    path: str
    theme: str | None = None
    is_operator: bool = False
    has_account: bool = True
    may_be_operator: bool = True
    done: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """One thing and its value. code: whether the value is a name or an address, and so stands apart."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class Moment:
    """A moment for people, in the viewer's language, and as ISO 8601 for programs."""

    words: str
    iso: str


@dataclass(frozen=True)
class SmallLine:
    """A deployment as a small line: how far it came, and how it ended. label: the same in words."""

    reached: int
    of: int
    end: LineEnd
    label: str


@dataclass(frozen=True)
class ShownState:
    """How a stack is: in words, and the dot before them."""

    words: str
    dot: Literal["run", "half", "look", "undone", "failed", "off"]


@dataclass(frozen=True)
class PastDeployment:
    """One deployment in a list. title: what it did, or to which stack; duration: empty while it is not over."""

    id: str
    title: str
    line: SmallLine
    began: Moment
    outcome: str
    duration: str


@dataclass(frozen=True)
class ErrorPage(Page):
    """Anything that could not be shown.

    status: the HTTP status; sign_in: where signing in leads on, empty where that changes nothing; of_stack: whether
    it was about a stack, so that the page leads on to the viewer's stacks.
    """

    template = "shared/error.html"
    section = ""
    status: int
    problem: ShownProblem
    sign_in: str = ""
    of_stack: bool = False
