"""What the page of the API's documentation is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.web.ui.shared.view import Section


@dataclass(frozen=True)
class DocsPage:
    """The API's documentation, in English: every call, and every code of a problem."""

    template: ClassVar[str] = "api_docs/docs.html"
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
