"""Runs as the store keeps them: who holds which, how far it is, what it made, its events; fenced by owner and epoch."""

import asyncio
import os
import socket
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Row

from app.deployments.model import Left
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.engine.broker import Broker
from app.engine.queue import ORDER
from app.engine.run import Resource, Run, StepRecord, Writing
from app.engine.saga import Checkpoint, RunLost
from app.ids import new_id
from app.observation.leftovers import settle
from app.operations.table import OPERATIONS
from app.store import schema
from app.store.engine import Database, StoreAway, database_now

log = structlog.get_logger()


class CanceledMeanwhile(Exception):
    """Somebody asked to cancel the run before its success was written down, so that it was not."""


class Journal:
    """What runners write. Readers use `stacks.queries`; requests come in by `operations.service`."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker

    # Leases

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
        """Processes of this host that hold a living lease."""
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
            return self._load(connection, rows.all())

        return await self._database.write(take)

    @staticmethod
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
                run.cancel_requested.set()
            runs.append(run)
        return runs

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

    # Checkpoints

    async def record(
        self,
        run: Run,
        checkpoint: Checkpoint,
        *,
        conclusion: Conclusion | None = None,
        left: Sequence[Left] = (),
        frees_name: bool = False,
        unless_canceled: bool = False,
    ) -> None:
        """Write a checkpoint with its events in one transaction, or raise RunLost. Waits while the store is away.

        conclusion: ends the run; left: what could not be removed; frees_name: the stack is gone; unless_canceled:
        raise CanceledMeanwhile where that was asked for.
        """
        async with run.writing:
            writing = Writing(run, checkpoint, conclusion, left, frees_name=frees_name)
            pause = 0.1
            uncertain = False
            while True:
                try:
                    await self._database.write(
                        partial(self._write, writing, uncertain=uncertain, unless_canceled=unless_canceled)
                    )
                    break
                except StoreAway as error:
                    if not uncertain:  # once: hundreds of runs may wait side by side
                        log.warning("store_away", deployment=run.id, reason=str(error))
                    # The commit may or may not have happened; the number of the last event will tell.
                    uncertain = True
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 2.0)
            writing.apply()
        self._broker.publish(run.id, writing.events)

    def _write(self, writing: Writing, connection: Connection, *, uncertain: bool, unless_canceled: bool) -> None:
        run, table = writing.run, schema.deployment
        held = and_(
            table.c.id == run.id,
            table.c.owner == run.worker,
            table.c.epoch == run.epoch,
            table.c.last_event == run.last_event,
        )
        may_write = and_(held, table.c.cancel_requested_at.is_(None)) if unless_canceled else held
        result = connection.execute(update(table).where(may_write).values(writing.head()))
        if result.rowcount != 1:
            if uncertain and self._landed(connection, writing):
                return
            if unless_canceled and connection.execute(select(table.c.id).where(held)).first() is not None:
                raise CanceledMeanwhile(run.id)
            raise RunLost(run.id)
        if writing.events:
            connection.execute(insert(schema.event), writing.event_rows())
        if writing.steps:
            connection.execute(_UPDATE_STEP, writing.step_rows())
        if writing.resources:
            connection.execute(_UPDATE_RESOURCE, writing.resource_rows())
        if writing.secrets is not None:
            connection.execute(
                update(schema.stack)
                .where(schema.stack.c.id == run.stack_id)
                .values(secrets=writing.secrets, next_secrets=None)
            )
        if writing.conclusion:
            settle(connection, run.stack_id, run.id, writing.left, writing.at)
        if writing.frees_name:
            connection.execute(
                update(schema.stack)
                .where(schema.stack.c.id == run.stack_id)
                # Nobody can use its secrets any more. Who gets its files gets another password.
                .values(removed_at=writing.at, secrets=b"", next_secrets=None)
            )
        if writing.events:
            self._database.notify(connection, f"events {run.id} {writing.last_event}")

    @staticmethod
    def _landed(connection: Connection, writing: Writing) -> bool:
        table = schema.deployment.c
        row = connection.execute(select(table.epoch, table.last_event).where(table.id == writing.run.id)).first()
        return row is not None and row.epoch == writing.run.epoch and row.last_event == writing.last_event

    # The installation

    async def installation_id(self) -> str:
        """This portal's id, made once: part of every marker in Dokploy."""
        table = schema.installation
        dialect = sqlite if self._database.is_sqlite else postgresql
        entry = (
            dialect.insert(table)
            .values(singleton=1, id=new_id(), created_at=_now())
            .on_conflict_do_nothing(index_elements=["singleton"])
        )

        def enter(connection: Connection) -> str:
            connection.execute(entry)
            return str(connection.scalar(select(table.c.id)))

        return await self._database.write(enter)


def claimable(worker: str, limit: int, holding: Collection[str] | None = None) -> Select[tuple[str]]:
    """Select what `Journal.claim` may take; it looks at open deployments only, however many others there are."""
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


_UPDATE_STEP = (
    update(schema.step)
    .where(schema.step.c.deployment_id == bindparam("of"), schema.step.c.name == bindparam("called"))
    .values({name: bindparam(name) for name in ("state", "attempts", "started_at", "concluded_at", "output")})
)
_UPDATE_RESOURCE = (
    update(schema.resource)
    .where(schema.resource.c.stack_id == bindparam("of"), schema.resource.c.kind == bindparam("called"))
    .values({name: bindparam(name) for name in ("state", "dokploy_id", "attempts", "intended_at", "changed_at")})
)


def _now() -> datetime:
    return datetime.now(UTC)
