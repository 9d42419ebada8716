"""What the pages for developers are given: the API's documentation, and the style page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from app.i18n import Language
from app.web.effects import LogRow, QueuePlace, Station
from app.web.ui.shared.qr import QrCode
from app.web.ui.views.parts import Fact, Section, ShownProblem
from app.web.ui.views.stacks import StacksPage


@dataclass(frozen=True)
class DocsPage:
    """The API's documentation, in English: every call, and every code of a problem."""

    template: ClassVar[str] = "docs.html"
    section: ClassVar[Section] = ""

    @dataclass(frozen=True)
    class Row:
        """A name and what it means. kind: what it can be; shape: what the JSON is like that it comes with."""

        name: str
        text: str
        kind: str = ""
        shape: str = ""

    @dataclass(frozen=True)
    class Shape:
        """What some JSON is like."""

        name: str
        text: str
        fields: Sequence["DocsPage.Row"]

    @dataclass(frozen=True)
    class Call:
        """One call. credentials: any of them will do; body: what it reads, if anything; example: of such a body."""

        method: str
        path: str
        summary: Sequence[str]
        credentials: Sequence[str]
        parameters: Sequence["DocsPage.Row"]
        body: "DocsPage.Shape | None"
        example: str
        answers: Sequence["DocsPage.Row"]

    calls: Sequence[Call]
    credentials: Sequence[Row]
    shapes: Sequence[Shape]
    codes: Sequence[Row]


@dataclass(frozen=True)
class Specimens:
    """Every part of a page in every state, in one language: a part of the style page.

    at: what the ids in it begin with; lines: each with a caption; states: those a dot can have; icons: by name;
    taken: why a name cannot be had.
    """

    template: ClassVar[str] = "_specimens.html"
    section: ClassVar[Section] = ""

    @dataclass(frozen=True)
    class Line:
        """A line in one state."""

        caption: str
        stations: Sequence[Station]
        undoing: bool
        queue: QueuePlace | None

    at: str
    lines: Sequence[Line]
    states: Sequence[str]
    icons: Sequence[str]
    board: Sequence[StacksPage.Row]
    facts: Sequence[Fact]
    qr: QrCode
    log: Sequence[LogRow]
    problem: ShownProblem
    taken: ShownProblem


@dataclass(frozen=True)
class StylePage:
    """The tokens with their values, and the specimens, for developers and in English.

    texts, shapes: what stands on what, and how well it must be told apart; others: tokens that are none of these;
    directions: the specimens in a language of either direction.
    """

    template: ClassVar[str] = "styleguide.html"
    section: ClassVar[Section] = ""

    @dataclass(frozen=True)
    class Token:
        """A token that is the same in both themes. note: what it is for."""

        name: str
        value: str
        note: str

    @dataclass(frozen=True)
    class Shade:
        """A colour in one theme, and its contrast there."""

        theme: str
        value: str
        on_paper: str
        on_sheet: str

    @dataclass(frozen=True)
    class Colour:
        """A colour in both themes."""

        name: str
        note: str
        shades: Sequence["StylePage.Shade"]

    @dataclass(frozen=True)
    class Contrast:
        """One colour on another in a theme."""

        theme: str
        front: str
        back: str
        ratio: str

    @dataclass(frozen=True)
    class Pair:
        """One token on another, in both themes. needed: the least contrast."""

        front: str
        back: str
        needed: float
        contrasts: Sequence["StylePage.Contrast"]

    colours: Sequence[Colour]
    texts: Sequence[Pair]
    shapes: Sequence[Pair]
    spaces: Sequence[Token]
    sizes: Sequence[Token]
    others: Sequence[Token]
    directions: Sequence[tuple[Language, Markup]]
