"""Leftover resources: listed for users and operators, and due for removal again after growing pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from app.deployments.model import Left
from app.deployments.queries import newest_of_each
from app.deployments.states import Status
from app.operations.table import kinds
from app.stacks.model import StackRecord
from app.stacks.queries import Records
from app.store import schema
from app.store.engine import Database
from app.store.paging import Order, Page, PageRequest

# However long the first pause is, and however often it is doubled: what a moment can be moved by.
_LONGEST_PAUSE: Final = timedelta(days=365)
_DOUBLINGS: Final = 20
# Stacks at one look: more of them wait for the next one, seconds later.
_DUE: Final = 50
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Leftover:
    """One resource that is left over, or was.

    code: why, a code of `app.errors.PROBLEMS`; attempts: how often its removal failed; next_try_at: None once it is
    removed, or is not retried any more; removed_at: None while it is left.
    """

    stack: str
    kind: str
    name: str
    code: str
    deployment_id: str
    attempts: int
    left_at: datetime
    tried_at: datetime
    next_try_at: datetime | None
    removed_at: datetime | None

    @property
    def needs_operator(self) -> bool:
        """Whether it stays until an operator acts: the portal has tried often enough."""
        return self.removed_at is None and self.next_try_at is None


# The name of each stack of a page, rather than a join, which a database may begin at the stacks.
_LEFTOVERS: Final = select(
    schema.leftover,
    select(schema.stack.c.name)
    .where(schema.stack.c.id == schema.leftover.c.stack_id)
    .correlate(schema.leftover)
    .scalar_subquery()
    .label("stack"),
)
_OLDEST_FIRST: Final = Order(
    "leftovers", (schema.leftover.c.left_at, schema.leftover.c.stack_id, schema.leftover.c.kind), descending=False
)


class Leftovers:
    """The list, for operators and for the background."""

    def __init__(self, database: Database, records: Records, *, first_pause: float, attempts: int) -> None:
        """`first_pause`: seconds until the first retry; each further pause is twice as long.

        `attempts`: how often a removal may fail before it is left to an operator.
        """
        self._database = database
        self._records = records
        self._first_pause = min(timedelta(seconds=first_pause), _LONGEST_PAUSE)
        self._attempts = attempts

    async def page(self, request: PageRequest, *, removed: bool = False) -> Page[Leftover]:
        """Return leftovers, oldest first; with `removed` also those that are gone by now."""
        query = _LEFTOVERS if removed else _LEFTOVERS.where(schema.leftover.c.removed_at.is_(None))
        return await self._database.read(
            lambda connection: _OLDEST_FIRST.page(partial(self._read, connection), query, request)
        )

    async def stuck(self) -> list[Leftover]:
        """Return all that is not retried any more. It is at most a few of each stack that stands."""
        table = schema.leftover.c
        query = _LEFTOVERS.where(table.removed_at.is_(None), table.attempts >= self._attempts)
        return await self._database.read(lambda connection: [each for _, each in self._read(connection, query)])

    def _read(self, connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], Leftover]]:
        return [(row, self._leftover(row)) for row in connection.execute(query)]

    def _leftover(self, row: Row[Any]) -> Leftover:
        return Leftover(
            stack=row.stack,
            kind=row.kind,
            name=row.name,
            code=row.code,
            deployment_id=row.deployment_id,
            attempts=row.attempts,
            left_at=row.left_at,
            tried_at=row.tried_at,
            next_try_at=None if row.removed_at else self._next_try(row),
            removed_at=row.removed_at,
        )

    async def due(self, *, limit: int = _DUE) -> Sequence[StackRecord]:
        """Return stacks of which something is to be removed now, what has waited longest first; at most so many."""
        leftover, deployment = schema.leftover, schema.deployment
        is_open = exists().where(deployment.c.stack_id == leftover.c.stack_id, deployment.c.status != Status.COMPLETED)
        # Whatever is on the list: only what was to end, or never began, is removed by itself.
        to_go = exists(
            select(deployment.c.id)
            .join(schema.stack, schema.stack.c.id == deployment.c.stack_id)
            .where(
                schema.stack.c.id == leftover.c.stack_id,
                newest_of_each(),
                deployment.c.kind.in_(kinds(lambda each: each.may_leave_leftovers)),
            )
        )
        query = (
            select(leftover.c.stack_id)
            .where(leftover.c.removed_at.is_(None), self._is_due(datetime.now(UTC)), ~is_open, to_go)
            .group_by(leftover.c.stack_id)
            .order_by(func.min(leftover.c.tried_at), leftover.c.stack_id)
            .limit(limit)
        )
        stack_ids = await self._database.read(lambda connection: connection.scalars(query).all())
        return await self._records.list_stacks(stack_ids) if stack_ids else []

    def _is_due(self, now: datetime) -> ColumnElement[bool]:
        """Hold a query to what has waited out its pause, which depends on how often it was tried."""
        table = schema.leftover.c
        return or_(
            *(
                and_(table.attempts == tried, table.tried_at <= now - self._pause(tried))
                for tried in range(self._attempts)
            )
        )

    async def hurry(self) -> int:
        """Make everything that is left due at once, also what is not retried any more; return how much that is."""
        table = schema.leftover
        attempts = case((table.c.attempts >= self._attempts, 0), else_=table.c.attempts)
        now = update(table).where(table.c.removed_at.is_(None)).values(tried_at=_LONG_AGO, attempts=attempts)
        return await self._database.write(lambda connection: connection.execute(now).rowcount)

    def _next_try(self, row: Any) -> datetime | None:
        if row.attempts >= self._attempts:
            return None
        return cast("datetime", row.tried_at + self._pause(row.attempts))

    def _pause(self, tried: int) -> timedelta:
        return min(self._first_pause * 2.0 ** min(max(tried - 1, 0), _DOUBLINGS), _LONGEST_PAUSE)


def settle(connection: Connection, stack_id: str, deployment_id: str, left: Sequence[Left], at: datetime) -> None:
    """Record at a run's end what of its stack is left, and that everything else is gone."""
    table = schema.leftover
    of_stack = table.c.stack_id == stack_id
    gone = of_stack & table.c.removed_at.is_(None) & table.c.kind.not_in([each.kind for each in left])
    connection.execute(update(table).where(gone).values(removed_at=at))
    for each in left:
        of_kind = of_stack & (table.c.kind == each.kind)
        # What was removed once, and is left again, begins anew.
        connection.execute(delete(table).where(of_kind, table.c.removed_at.is_not(None)))
        again = update(table).where(of_kind).values(code=each.code, attempts=table.c.attempts + 1, tried_at=at)
        if connection.execute(again).rowcount == 0:
            connection.execute(
                insert(table).values(
                    stack_id=stack_id,
                    kind=each.kind,
                    name=each.name,
                    code=each.code,
                    deployment_id=deployment_id,
                    attempts=1,
                    left_at=at,
                    tried_at=at,
                )
            )
