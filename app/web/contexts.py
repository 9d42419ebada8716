"""What each page is given: one frozen dataclass a template, so that a template has nothing else to reach for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from app.i18n import Language
from app.web.charts import DayBars, Dots, StairStep

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
    """The form. name: what was typed; problem: why it was refused; suggestions: free names near it."""

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
class OperatorPage:
    """The portal as a whole, for its operator: numbers and charts of the last days, from the record alone.

    Everything is in the viewer's language; at: the moment (UTC) of all of it; is_empty: there is nothing to draw yet.
    """

    template: ClassVar[str] = "operator.html"
    section: ClassVar[Section] = "operator"

    @dataclass(frozen=True)
    class Figure:
        """A number with what it counts; text: empty where there is none yet."""

        text: str
        label: str

    @dataclass(frozen=True)
    class Day:
        """A day: its number, its name, how it reads as a whole, its counts and its bars."""

        number: int
        name: str
        sentence: str
        succeeded: str
        canceled: str
        failed: str
        bars: DayBars

    @dataclass(frozen=True)
    class Tick:
        """A line of the scale, and its value in words."""

        y: float
        text: str

    @dataclass(frozen=True)
    class Step:
        """A step's usual and slow durations, and its row of the stair."""

        label: str
        usual: str
        slow: str
        stair: StairStep

    @dataclass(frozen=True)
    class State:
        """How many stacks are in a state. dot: how their dots look."""

        dot: str
        label: str
        count: str
        dots: Dots

    @dataclass(frozen=True)
    class Deployment:
        """One of the latest. kind: what it did, unless that was to make a stack; mini: the station of its small line.

        reached: what the small line says; is_back: whether it went wrong; outcome: where it is, or how it ended.
        """

        id: str
        name: str
        kind: str
        at: str
        mini: int
        reached: str
        is_back: bool
        outcome: str

    @dataclass(frozen=True)
    class Leftover:
        """Something that could not be removed: what, of which stack, why, since when, and when it is tried again."""

        thing: str
        stack: str
        why: str
        since: str
        tries: str
        next_try: str
        deployment_id: str

    @dataclass(frozen=True)
    class Connection:
        """What the portal rests on. dot: how well it is; state: the same in words; notes: more sentences.

        misfits: calls that do not fit, in Dokploy's own words.
        """

        name: str
        dot: str
        state: str
        notes: Sequence[str] = ()
        misfits: Sequence[str] = ()

    at: str
    figures: Sequence[Figure]
    baseline: float
    ticks: Sequence[Tick]
    days: Sequence[Day]
    finished: int
    steps: Sequence[Step]
    measured: str
    states: Sequence[State]
    one_dot: str
    latest: Sequence[Deployment]
    leftovers: Sequence[Leftover]
    connections: Sequence[Connection]
    is_empty: bool = False
    in_session: bool = True


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


Page = DocsPage | DeployPage | DeploymentPage | DeletePage | OperatorPage | SignInPage | ErrorPage
