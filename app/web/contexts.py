"""What each page is given: one frozen dataclass a template, so that a template has nothing else to reach for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from markupsafe import Markup

from app.i18n import Language
from app.web.charts import DayBars, Dots, StairStep
from app.web.qr import QrCode

Section = Literal["deploy", "stacks", "operator", ""]
# `look` and `ready` are the form's: its first station, while a name is checked and when it can be had.
StationState = Literal["wait", "look", "ready", "now", "done", "undone", "failed", "off"]
LineEnd = Literal["", "undone", "failed", "canceled"]


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page.

    path: where a `GET` shows it; theme: `light`, `dark`, or None for what the system wants; query: what the address
    said besides, which another language is to show as well.
    """

    language: Language
    path: str
    theme: str | None = None
    is_operator: bool = False
    query: Mapping[str, str] = field(default_factory=dict)


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
    """Where the deployment waits. before: the station that it waits for; position: 1 is next."""

    before: str
    position: int

    @property
    def between(self) -> int:
        """How many of those ahead are told as a number, since there is room for one or two."""
        return self.position - 2 if self.position > 3 else 0

    @property
    def shown(self) -> Sequence[int]:
        """The places that are drawn, whoever is next last."""
        return [1] if self.between else range(self.position - 1, 0, -1)


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
class Fact:
    """One thing and its value. code: whether the value is a name or an address, and so stands apart."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class PlanPreview:
    """What a deployment would do, in the viewer's language. blocked: what would keep it from beginning."""

    sentences: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    warnings: Sequence[str] = ()
    blocked: Sequence[ShownProblem] = ()


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
class DeployPage:
    """The form. name: what was typed; problem: why it was refused; suggestions: free names near it; plan: if wanted.

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
    plan: PlanPreview | None = None
    minimum: int = 3
    maximum: int = 30
    origin: str = ""


@dataclass(frozen=True)
class DeploymentPage:
    """Progress while it runs, the result or the reasons when it is over.

    kind: `create`, `redeploy` or `remove`; status, phase, undoing and conclusion: as in the record; sentence: the
    newest event in words; last_event: number after which the page goes on reading; started: moment (ISO 8601) that the
    log counts from; clock: the server's moment now, from which the page's script knows how far the reader's clock is
    off; qr: the address of a stack that runs, to scan; volume_path: where its files are; manager: whether this browser
    may cancel, delete and see the password; cancelable: running and not yet cancelled; password: only for a manager of
    a stack that runs; warnings, removed, leftovers: in the viewer's language; kept: the volume that a removal has kept,
    as long as it is; changed_by: the deployment after which a
    stack that was ready is there no more, or not yet gone.
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
    changed_by: str = ""
    qr: QrCode | None = None
    volume_path: str = ""
    kept: str = ""


@dataclass(frozen=True)
class StacksPage:
    """The stacks that the viewer manages, newest first, a page at a time.

    everybody: whether these are everybody's; lately: how it ended with those that are gone; kept: their files; after:
    the id of the last stack here where there are more; first: whether these are the newest.
    """

    template: ClassVar[str] = "stacks.html"
    section: ClassVar[Section] = "stacks"

    @dataclass(frozen=True)
    class Row:
        """One stack. last: its newest deployment."""

        name: str
        host: str
        state: ShownState
        version: str
        last: PastDeployment

    @dataclass(frozen=True)
    class Kept:
        """Files of a stack that is gone."""

        name: str
        volume: str
        since: Moment

    rows: Sequence[Row]
    lately: Sequence[PastDeployment]
    kept: Sequence[Kept] = ()
    everybody: bool = False
    after: str | None = None
    first: bool = True


@dataclass(frozen=True)
class StackPage:
    """One stack, for whoever manages it.

    running: the deployment that changes it now; opens: whether its address is worth opening; password: only then;
    password_pending: whether it is being changed, or such a change was not finished; redeployable, deletable: whether
    that would be taken in now; after, first: as in StacksPage, of its deployments.
    """

    template: ClassVar[str] = "stack.html"
    section: ClassVar[Section] = "stacks"
    name: str
    host: str
    url: str
    state: ShownState
    newest: str
    opens: bool
    redeployable: bool
    deletable: bool
    image: str
    version: str
    port: int
    memory: str
    cpus: str
    volume: str
    volume_path: str
    certificate: str
    created: Moment
    deployments: Sequence[PastDeployment]
    log: Sequence[LogRow]
    running: str | None = None
    password: str | None = None
    password_pending: bool = False
    user_name: str = "opencode"
    qr: QrCode | None = None
    after: str | None = None
    first: bool = True


@dataclass(frozen=True)
class DeletePage:
    """Asks before a stack is deleted, naming what will be lost."""

    template: ClassVar[str] = "delete.html"
    section: ClassVar[Section] = "stacks"
    name: str
    host: str
    volume: str


@dataclass(frozen=True)
class ErasePage:
    """Asks before the files of a stack that is gone are erased."""

    template: ClassVar[str] = "erase.html"
    section: ClassVar[Section] = "stacks"
    name: str
    volume: str


@dataclass(frozen=True)
class RedeployPage:
    """Asks before a stack is deployed again, and says what that does. password_pending: as in StackPage."""

    template: ClassVar[str] = "redeploy.html"
    section: ClassVar[Section] = "stacks"
    name: str
    password_pending: bool = False


@dataclass(frozen=True)
class PasswordPage:
    """Asks before a stack's password is changed, and says what that does."""

    template: ClassVar[str] = "password.html"
    section: ClassVar[Section] = "stacks"
    name: str


@dataclass(frozen=True)
class RecordPage:
    """What is on record of a deployment.

    views: what was declared, what was decided and what was seen, side by side; has_declared: whether the first of them
    was recorded at all; pieces: the stack's things in Dokploy; manager: whether the viewer manages the stack.
    """

    template: ClassVar[str] = "record.html"
    section: ClassVar[Section] = "deploy"

    @dataclass(frozen=True)
    class Step:
        """One step. Moments are empty where it never began, or never ended."""

        label: str
        state: str
        attempts: int
        began: Moment | None
        ended: Moment | None
        duration: str

    @dataclass(frozen=True)
    class Piece:
        """Something in Dokploy, as it was left. dokploy_id: empty where it never had one."""

        label: str
        name: str
        state: str
        dokploy_id: str
        changed: Moment

    @dataclass(frozen=True)
    class View:
        """One property, in each of the three views; None: not recorded."""

        label: str
        declared: str | None
        frozen: str | None
        observed: str | None
        differs: bool

    id: str
    name: str
    kind: str
    trigger: str
    actor: str
    outcome: str
    created: Moment
    started: Moment | None
    concluded: Moment | None
    duration: str
    steps: Sequence[Step]
    pieces: Sequence[Piece]
    views: Sequence[View]
    leftovers: Sequence[str]
    has_declared: bool
    over: bool = True
    stack_exists: bool = False
    manager: bool = False


@dataclass(frozen=True)
class OperatorPage:
    """The portal as a whole, for its operator: numbers and charts of the last days, from the record alone.

    Everything is in the viewer's language; at: the moment (UTC) of all of it; room: how many stacks there are of how
    many there may be, where that runs out; is_empty: there is nothing to draw yet.
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
        """How many stacks are in a state."""

        state: ShownState
        count: str
        dots: Dots

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
        """What the portal rests on, and how it is. notes: more sentences; misfits: calls, in Dokploy's own words."""

        name: str
        state: ShownState
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
    latest: Sequence[PastDeployment]
    leftovers: Sequence[Leftover]
    connections: Sequence[Connection]
    room: str = ""
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


Page = (
    DocsPage
    | DeployPage
    | DeploymentPage
    | StacksPage
    | StackPage
    | DeletePage
    | ErasePage
    | RedeployPage
    | PasswordPage
    | RecordPage
    | OperatorPage
    | SignInPage
    | ErrorPage
    | StylePage
    | Specimens
)
