"""Leases: the worker processes that are alive, and which of them holds which deployment."""

import os
import socket
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.engine import Row

from app.deployments.states import ResourceState, Status, StepState
from app.engine.queue import ORDER
from app.engine.run import Resource, Run, StepRecord
from app.ids import new_id
from app.operations.table import OPERATIONS
from app.store import schema
from app.store.dialects import database_now
from app.store.engine import Database


class Leases:
    """One lease a worker process, renewed by the database's clock, and the deployments that it claims under it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, lease_seconds: float, *, alone: bool) -> str:
        """Enter this process as a worker and return its id. `alone`: no other can be alive, so their leases end now."""
        worker = new_id()

        def enter(connection: Connection) -> None:
            # Rows of workers that have long been dead say nothing any more.
            old = schema.worker.delete()
            connection.execute(old if alone else old.where(schema.worker.c.expires_at < database_now() - 3600))
            connection.execute(
                insert(schema.worker).values(
                    id=worker,
                    started_at=_now(),
                    expires_at=database_now() + lease_seconds,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                )
            )

        await self._database.write(enter)
        return worker

    async def renew(self, worker: str, lease_seconds: float) -> bool:
        """Renew the lease; False where it is gone or has run out, so that nothing is held any more.

        On SQLite, where a lock keeps others out, one that has run out is as good as before.
        """
        table = schema.worker
        renewal = update(table).where(table.c.id == worker).values(expires_at=database_now() + lease_seconds)
        if not self._database.is_sqlite:
            renewal = renewal.where(table.c.expires_at > database_now())
        return await self._database.write(lambda connection: connection.execute(renewal).rowcount == 1)

    async def living_here(self) -> list[int]:
        """Return the processes of this host that hold a live lease."""
        table = schema.worker.c
        here = select(table.pid).where(
            table.host == socket.gethostname(), table.pid.is_not(None), table.expires_at > database_now()
        )
        return await self._database.read(lambda connection: [row.pid for row in connection.execute(here)])

    async def leave(self, worker: str) -> None:
        """Give up the lease and everything held under it, so that a peer goes on at once."""

        def go(connection: Connection) -> None:
            connection.execute(
                update(schema.deployment)
                .where(schema.deployment.c.owner == worker, schema.deployment.c.status != Status.COMPLETED)
                .values(owner=None)
            )
            connection.execute(delete(schema.worker).where(schema.worker.c.id == worker))
            self._database.notify(connection, "queued")

        await self._database.write(go)

    async def claim(self, worker: str, limit: int, holding: Collection[str] | None = None) -> list[Run]:
        """Take up to `limit` deployments that nobody alive holds, oldest first; none for a worker not alive itself.

        `holding`: ids of those that the worker knows it has; what else is written down as its own was claimed, or
        given back, by a transaction whose answer was lost, and is taken anew. None: not looked at. A worker that is
        not alive claims nothing, or a process that was asleep would take its own runs a second time before it notices.
        """
        table = schema.deployment
        free = claimable(worker, limit, holding)
        if self._database.is_sqlite and not await self._database.read(lambda each: each.execute(free).first()):
            return []  # the one writer's turn is worth more than a look

        def take(connection: Connection) -> list[Run]:
            rows = connection.execute(
                update(table)
                .where(table.c.id.in_(free))
                .values(owner=worker, epoch=table.c.epoch + 1, started_at=func.coalesce(table.c.started_at, _now()))
                .returning(table)
            )
            return _load(connection, rows.all())

        return await self._database.write(take)

    async def let_go(self, run: Run) -> None:
        """Give one run back, so that it is taken up again."""
        table = schema.deployment
        giving = (
            update(table)
            .where(table.c.id == run.id, table.c.owner == run.worker, table.c.epoch == run.epoch)
            .values(owner=None)
        )
        await self._database.write(lambda connection: connection.execute(giving))

    async def cancellations(self, worker: str) -> list[str]:
        """Ids of this worker's deployments that somebody asked to cancel."""
        table = schema.deployment.c
        asked = select(table.id).where(
            table.owner == worker, table.status != Status.COMPLETED, table.cancel_requested_at.is_not(None)
        )
        return [row.id for row in await self._database.read(lambda connection: connection.execute(asked).all())]


def claimable(worker: str, limit: int, holding: Collection[str] | None = None) -> Select[tuple[str]]:
    """Select what `Leases.claim` may take; it looks at open deployments only, however many others there are."""
    table = schema.deployment
    alive = select(schema.worker.c.id).where(schema.worker.c.expires_at > database_now())
    stack = schema.stack.c
    is_here = exists().where(stack.id == table.c.stack_id, stack.server_id == schema.DEFAULT_SERVER)
    unheld: list[ColumnElement[bool]] = [table.c.owner.is_(None), table.c.owner.not_in(alive)]
    if holding is not None:
        unheld.append(and_(table.c.owner == worker, table.c.id.not_in(holding)))
    # An expression in place of the column: SQLite would take the index by kind, which is nearly the whole table.
    kind = func.coalesce(table.c.kind, "")
    return (
        select(table.c.id)
        .where(
            alive.where(schema.worker.c.id == worker).exists(),
            table.c.status != Status.COMPLETED,
            # What a newer portal beside this one can do, or reach, is left to it.
            kind.in_(OPERATIONS),
            is_here,
            or_(*unheld),
        )
        .order_by(*ORDER)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def _load(connection: Connection, rows: Sequence[Row[Any]]) -> list[Run]:
    if not rows:
        return []
    stack_ids = [row.stack_id for row in rows]
    stacks = {
        row.id: row
        for row in connection.execute(
            select(
                schema.stack.c.id,
                schema.stack.c.server_id,
                schema.stack.c.secrets,
                schema.stack.c.next_secrets,
                schema.stack.c.owner,
            ).where(schema.stack.c.id.in_(stack_ids))
        )
    }
    steps: dict[str, dict[str, StepRecord]] = {row.id: {} for row in rows}
    step = schema.step.c
    for row in connection.execute(
        select(schema.step).where(step.deployment_id.in_(steps)).order_by(step.deployment_id, step.place)
    ):
        steps[row.deployment_id][row.name] = StepRecord(
            row.name, StepState(row.state), row.attempts, row.started_at, row.concluded_at, row.output
        )
    resources: dict[str, dict[str, Resource]] = {stack_id: {} for stack_id in stack_ids}
    for row in connection.execute(select(schema.resource).where(schema.resource.c.stack_id.in_(stack_ids))):
        resources[row.stack_id][row.kind] = Resource(
            row.kind, row.name, ResourceState(row.state), row.dokploy_id, row.attempts, row.intended_at
        )
    runs = []
    for row in sorted(rows, key=lambda row: row.created_at):
        run = Run(
            id=row.id,
            stack_id=row.stack_id,
            server_id=stacks[row.stack_id].server_id,
            name=row.name,
            operation=OPERATIONS[row.kind],
            plan=row.plan,
            options=row.options,
            secrets=stacks[row.stack_id].secrets,
            next_secrets=stacks[row.stack_id].next_secrets,
            owner_of_stack=stacks[row.stack_id].owner,
            worker=row.owner,
            epoch=row.epoch,
            status=Status(row.status),
            undoing=row.undoing,
            problem=row.problem,
            last_event=row.last_event,
            steps=steps[row.id],
            resources=resources[row.stack_id],
        )
        if row.cancel_requested_at is not None:
            run.cancel()
        runs.append(run)
    return runs


def _now() -> datetime:
    return datetime.now(UTC)
