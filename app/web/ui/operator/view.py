"""What the operator's pages are given: the portal as a whole, and its audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.web.ui.shared.charts import DayBars, Dots, StairStep
from app.web.ui.shared.view import Moment, PastDeployment, Section, ShownState


@dataclass(frozen=True)
class OperatorPage:
    """The portal as a whole, for its operator: numbers and charts of the last days, from the record alone.

    Everything is in the viewer's language; at: the moment (UTC) of all of it; room: how many stacks there are of how
    many there may be, where that runs out; is_full: none is left; is_empty: there is nothing to draw yet.
    """

    template: ClassVar[str] = "operator/operator.html"
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
        """Something that could not be removed: what, of which stack, why, and since when.

        next_try: when its removal is retried; empty where an operator has to act.
        """

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
    is_full: bool = False
    is_empty: bool = False
    in_session: bool = True


@dataclass(frozen=True)
class AuditPage:
    """Who did what, newest first. stack, actor: what it was narrowed to; older, newest: addresses, empty for none."""

    template: ClassVar[str] = "audit/audit.html"
    section: ClassVar[Section] = "operator"

    @dataclass(frozen=True)
    class Entry:
        """One line. mark: what tells a browser from another, or empty.

        only_his, only_its: where all the lines are of the same actor, and of the same stack.
        subject: what it was about besides a stack; deployment_id: what was begun by it, or was to be changed; refused:
        with which code, or empty; reason: that in words.
        """

        at: Moment
        who: str
        mark: str
        only_his: str
        means: str
        address: str
        what: str
        subject: str
        deployment_id: str
        stack: str
        only_its: str
        refused: str
        reason: str

    entries: Sequence[Entry]
    stack: str = ""
    actor: str = ""
    older: str = ""
    newest: str = ""
