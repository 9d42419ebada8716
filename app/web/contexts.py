"""What each page is given: one frozen dataclass a template, so that a template has nothing else to reach for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from app.i18n import Language

Section = Literal["deploy", "stacks", "operator", ""]
StationState = Literal["wait", "now", "done", "undone", "failed", "off"]


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page. path: where a `GET` shows it; theme: `light`, `dark`, or None for what the system wants."""

    language: Language
    path: str
    theme: str | None = None
    is_operator: bool = False


@dataclass(frozen=True)
class ShownProblem:
    """A problem in the viewer's language. who: `user`, `operator` or `provider`, whoever can mend it."""

    code: str
    title: str
    detail: str
    hint: str
    who: str


@dataclass(frozen=True)
class Station:
    """One station of the line. note: its duration, or what it will do; in the viewer's language.

    began: since when (ISO 8601) it is being worked on, where it is.
    """

    name: str
    label: str
    state: StationState
    state_text: str
    note: str
    began: str = ""


@dataclass(frozen=True)
class QueuePlace:
    """Where the deployment waits. position: 1 is next; estimate: a duration in words, or the empty text."""

    position: int
    total: int
    estimate: str


@dataclass(frozen=True)
class LogRow:
    """One row of the log. n: the event's number; time: minutes and seconds since the start; step: a station's label.

    raw: a line of Dokploy's own, which no language has other words for.
    """

    n: int
    time: str
    step: str
    text: str
    raw: bool = False


@dataclass(frozen=True)
class DeployPage:
    """The form. name: what was typed; problem: why it was refused; suggestions: free names near it.

    origin: scheme and host by which the portal was reached, for search engines, which want whole addresses.
    """

    template: ClassVar[str] = "deploy.html"
    section: ClassVar[Section] = "deploy"
    name: str
    suffix: str
    url_prefix: str
    stations: Sequence[Station]
    problem: ShownProblem | None = None
    suggestions: Sequence[str] = ()
    minimum: int = 3
    maximum: int = 30
    origin: str = ""


@dataclass(frozen=True)
class DeploymentPage:
    """Progress while it runs, the result or the reasons when it is over.

    kind: `create` or `remove`; status, phase, undoing and conclusion: as in the record; sentence: the newest event in
    words; last_event: number after which the page goes on reading; started: moment (ISO 8601) that the log counts from;
    clock: the server's moment now, from which the page's script knows how far the reader's clock is off;
    manager: whether this browser may cancel, delete and see the password; cancelable: running and not yet cancelled;
    password: only for a manager of a stack that runs; warnings, removed, leftovers: in the viewer's language.
    """

    template: ClassVar[str] = "deployment.html"
    section: ClassVar[Section] = "deploy"
    id: str
    kind: str
    name: str
    host: str
    url: str
    image: str
    status: str
    phase: str
    undoing: bool
    conclusion: str | None
    sentence: str
    stations: Sequence[Station]
    log: Sequence[LogRow]
    last_event: int
    manager: bool
    cancelable: bool
    started: str = ""
    clock: str = ""
    warnings: Sequence[str] = ()
    queue: QueuePlace | None = None
    problem: ShownProblem | None = None
    password: str | None = None
    user_name: str = "opencode"
    removed: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    stack_exists: bool = False


@dataclass(frozen=True)
class DeletePage:
    """Asks before a stack is deleted, naming what will be lost."""

    template: ClassVar[str] = "delete.html"
    section: ClassVar[Section] = "stacks"
    name: str
    host: str
    volume: str


@dataclass(frozen=True)
class ErrorPage:
    """Anything that could not be shown. status: the HTTP status."""

    template: ClassVar[str] = "error.html"
    section: ClassVar[Section] = ""
    status: int
    problem: ShownProblem


@dataclass(frozen=True)
class DocsPage:
    """The API's documentation, in English: every call, and every code of a problem."""

    template: ClassVar[str] = "docs.html"
    section: ClassVar[Section] = ""

    @dataclass(frozen=True)
    class Row:
        """A name and what it means."""

        name: str
        text: str

    @dataclass(frozen=True)
    class Call:
        """One call."""

        method: str
        path: str
        summary: str
        parameters: Sequence["DocsPage.Row"]
        answers: Sequence["DocsPage.Row"]

    calls: Sequence[Call]
    codes: Sequence[Row]


Page = DocsPage | DeployPage | DeploymentPage | DeletePage | ErrorPage
