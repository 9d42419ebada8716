"""The journal of runs: checkpoints with their events, each in one transaction, fenced by owner and epoch."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Connection, and_, bindparam, insert, select, update

from app.deployments.model import Left
from app.deployments.states import Conclusion
from app.engine.broker import Broker
from app.engine.run import Run, Writing
from app.engine.saga import Checkpoint, RunLost
from app.observation.leftovers import settle
from app.store import schema
from app.store.engine import Database
from app.store.errors import StoreAway

log = structlog.get_logger()


class CanceledMeanwhile(Exception):
    """Somebody asked to cancel the run before its success was written down, so that it was not."""


class Journal:
    """Writes how far runs are. Readers use `stacks.queries`; requests come in by `operations.service`."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker

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
