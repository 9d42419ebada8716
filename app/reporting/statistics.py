"""Statistics of the portal: how deployments ended lately, where their time went, and what exists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, func, or_, select

from app.deployments.queries import newest_id
from app.deployments.states import Conclusion, Status, StepState
from app.operations.create import CREATE
from app.operations.table import kinds
from app.stacks.model import StackState, stack_state
from app.store import schema
from app.store.dialects import utc_day
from app.store.engine import Database

DAYS: Final = 14
# Those that begin a stack are what is measured: others take what is there already.
_FIRST: Final = kinds(lambda each: each.begins_stack)
# Enough for the slowest in twenty to mean something, and read in a moment however many there are.
SAMPLE: Final = 500


@dataclass(frozen=True)
class Day:
    """How many creations ended on a day (UTC), and how."""

    day: date
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0

    @property
    def ended(self) -> int:
        """How many ended in any way."""
        return self.succeeded + self.failed + self.canceled


@dataclass(frozen=True)
class StepTime:
    """How long a step took, in seconds. slow: what only the slowest in twenty took longer than."""

    name: str
    median: float
    slow: float


@dataclass(frozen=True)
class Overview:
    """The portal at a moment, and over the days before it.

    days: oldest first, the last is the one of the moment; stacks: how many there are of each state; waiting:
    deployments that nobody works on yet, here or in Dokploy; seconds: from the request to the end, the median of the
    newest creations that succeeded; measured: how many creations that and the steps are of.
    """

    at: datetime
    days: Sequence[Day]
    stacks: Mapping[StackState, int]
    waiting: int
    seconds: float | None
    measured: int
    steps: Sequence[StepTime]

    @property
    def all_stacks(self) -> int:
        """How many stacks hold a name."""
        return sum(self.stacks.values())

    @property
    def finished(self) -> int:
        """How many creations ended."""
        return sum(day.ended for day in self.days)

    @property
    def success(self) -> float | None:
        """Which share of the creations that ended has succeeded; None where none has ended."""
        return sum(day.succeeded for day in self.days) / self.finished if self.finished else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.stacks or self.finished)


class Statistics:
    """Counts in the store; what that costs is bounded by the days, not by the record."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._times = _Times(None)

    async def overview(self, at: datetime | None = None) -> Overview:
        """Return the statistics of now, or as seen from another moment."""
        at = at or datetime.now(UTC)
        since = datetime.combine(at.astimezone(UTC).date() - timedelta(days=DAYS - 1), time(), UTC)

        def read(connection: Connection) -> Overview:
            # Hundreds of creations and their steps: read again when one more has ended, or a day has passed.
            self._times = times = _times(connection, since, at, self._times)
            return Overview(
                at=at,
                days=_days(connection, since, at),
                stacks=_stacks(connection),
                waiting=_waiting(connection),
                seconds=_quantile(times.whole, 0.5) if times.whole else None,
                measured=len(times.whole),
                steps=times.steps,
            )

        return await self._database.read(read)


def _days(connection: Connection, since: datetime, at: datetime) -> list[Day]:
    table = schema.deployment.c
    day = utc_day(table.concluded_at)
    rows = connection.execute(
        select(day, table.conclusion, func.count())
        .where(table.kind.in_(_FIRST), table.concluded_at >= since, table.concluded_at <= at)
        .group_by(day, table.conclusion)
    )
    counts: dict[tuple[str, str], int] = {(day, conclusion): count for day, conclusion, count in rows}

    def count(day: date, conclusion: Conclusion) -> int:
        return counts.get((day.isoformat(), conclusion), 0)

    return [
        Day(
            each,
            succeeded=count(each, Conclusion.SUCCEEDED),
            failed=count(each, Conclusion.FAILED),
            canceled=count(each, Conclusion.CANCELED),
        )
        for each in (since.date() + timedelta(days=number) for number in range(DAYS))
    ]


def _stacks(connection: Connection) -> dict[StackState, int]:
    stack, deployment = schema.stack.c, schema.deployment.c
    newest = select(newest_id()).select_from(schema.stack).where(stack.removed_at.is_(None))
    held = (
        select(deployment.kind, deployment.conclusion, deployment.undoing).where(deployment.id.in_(newest)).subquery()
    )
    alike = (held.c.kind, held.c.conclusion, held.c.undoing)
    counts: dict[StackState, int] = {}
    for kind, conclusion, undoing, count in connection.execute(select(*alike, func.count()).group_by(*alike)):
        state = stack_state(kind, conclusion, undoing=undoing)
        counts[state] = counts.get(state, 0) + count
    return counts


def _waiting(connection: Connection) -> int:
    deployment, event = schema.deployment.c, schema.event.c
    # As a deployment's own page tells: it waits in Dokploy's line as long as nothing has moved since.
    in_line = or_(event.type == "queue_position", event.key == "queue_slow")
    query = (
        select(func.count())
        .select_from(schema.deployment)
        .join(schema.event, and_(event.deployment_id == deployment.id, event.n == deployment.last_event))
        .where(deployment.status != Status.COMPLETED, or_(deployment.status == Status.QUEUED, in_line))
    )
    return int(connection.scalar(query) or 0)


@dataclass(frozen=True)
class _Times:
    """How long the newest creations that succeeded took, in seconds, and each of their steps. key: what it is of."""

    key: object
    whole: Sequence[float] = ()
    steps: Sequence[StepTime] = ()


def _newest(since: datetime, at: datetime) -> Select[Any]:
    """Select the newest creations that succeeded in some days; by an index."""
    deployment = schema.deployment.c
    return (
        select(deployment.id, deployment.created_at, deployment.concluded_at)
        .where(
            deployment.kind.in_(_FIRST),
            deployment.concluded_at >= since,
            deployment.concluded_at <= at,
            deployment.conclusion == Conclusion.SUCCEEDED,
        )
        .order_by(deployment.concluded_at.desc())
    )


def _times(connection: Connection, since: datetime, at: datetime, known: _Times) -> _Times:
    """Read how long creations took, unless that is known of the same ones."""
    last = connection.execute(_newest(since, at).limit(1)).first()
    key = (since, last and last.id)
    if key == known.key:
        return known
    newest = connection.execute(_newest(since, at).limit(SAMPLE)).all()
    step = schema.step.c
    steps = connection.execute(
        select(step.name, step.started_at, step.concluded_at).where(
            step.deployment_id.in_([row.id for row in newest]),
            step.state == StepState.SUCCEEDED,
            step.started_at.is_not(None),
        )
    )
    of_steps: dict[str, list[float]] = {}
    for name, started_at, concluded_at in steps:
        of_steps.setdefault(name, []).append((concluded_at - started_at).total_seconds())
    return _Times(
        key,
        [(row.concluded_at - row.created_at).total_seconds() for row in newest],
        [
            StepTime(name, _quantile(of_steps[name], 0.5), _quantile(of_steps[name], 0.95))
            for name in CREATE.step_names
            if name in of_steps
        ],
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of them does not exceed, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = ordered[int(place)]
    above = ordered[min(int(place) + 1, len(ordered) - 1)]
    return below + (above - below) * (place - int(place))
