"""The journal of runs: checkpoints with their events, fenced by owner and epoch, those of many runs in one commit."""

import asyncio
import contextvars
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, bindparam, insert, select, update

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

# As many checkpoints as go into one transaction: nobody waits for more than these beside his own.
_MOST: Final = 100


class CanceledMeanwhile(Exception):
    """Somebody asked to cancel the run before its success was written down, so that it was not."""


@dataclass
class _Entry:
    """A checkpoint that waits to be written, and what becomes of it. uncertain: it may have been committed before."""

    writing: Writing
    unless_canceled: bool
    uncertain: bool = False
    refusal: Exception | None = None
    written: asyncio.Future[None] = field(init=False)


class Journal:
    """Writes how far runs are. Readers use `stacks.queries`; requests come in by `operations.service`.

    What is recorded while a transaction is under way goes together into the next: each statement and each commit is
    paid for once, however many runs there are. A run whose row somebody else holds, or whose checkpoint the database
    refuses, does not hold up the others: it is written apart.
    """

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._waiting: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None
        self._apart: set[asyncio.Task[None]] = set()

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
        """Write a checkpoint with its events, all or nothing, or raise RunLost. Waits while the store is away.

        conclusion: ends the run; left: what could not be removed; frees_name: the stack is gone; unless_canceled:
        raise CanceledMeanwhile where that was asked for.
        """
        async with run.writing:
            writing = Writing(run, checkpoint, conclusion, left, frees_name=frees_name)
            entry = _Entry(writing, unless_canceled)
            pause = 0.1
            while True:
                try:
                    await self._have_written(entry)
                    break
                except StoreAway as error:
                    if not entry.uncertain:  # once: hundreds of runs may wait side by side
                        log.warning("store_away", deployment=run.id, reason=str(error))
                    # The commit may or may not have happened; the number of the last event will tell.
                    entry.uncertain = True
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 2.0)
            writing.apply()
        self._broker.publish(run.id, writing.events)

    async def _have_written(self, entry: _Entry) -> None:
        """Have an entry written with whatever else waits, and raise what became of it."""
        entry.written = asyncio.get_running_loop().create_future()
        self._waiting.append(entry)
        if self._writer is None:
            # In a context of its own, as it writes for every run.
            self._writer = asyncio.create_task(
                self._write_all_that_waits(), name="journal", context=contextvars.Context()
            )
        try:
            await entry.written
        finally:
            if entry in self._waiting:  # whoever waited was cancelled, and nothing was begun
                self._waiting.remove(entry)

    async def _write_all_that_waits(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._write_together(batch)
        finally:
            self._writer = None

    async def _write_together(self, batch: Sequence[_Entry]) -> None:
        """Write entries in one transaction, and what cannot be written with the others apart."""
        apart: Sequence[_Entry] = ()
        try:
            apart = await self._database.write(partial(self._write, batch, wait=False))
        except StoreAway as error:
            for entry in batch:
                _answer(entry, error)
        except Exception:  # noqa: BLE001 - which of them it is about is found out by writing each for itself
            apart = batch
        else:
            for entry in batch:
                if entry not in apart:
                    _answer(entry, entry.refusal)
        for entry in apart:
            task = asyncio.create_task(self._write_apart(entry), name="journal apart")
            self._apart.add(task)
            task.add_done_callback(self._apart.discard)

    async def _write_apart(self, entry: _Entry) -> None:
        try:
            await self._database.write(partial(self._write, [entry], wait=True))
        except Exception as error:  # noqa: BLE001 - for whoever waits for it
            _answer(entry, error)
        else:
            _answer(entry, entry.refusal)

    def _write(self, batch: Sequence[_Entry], connection: Connection, *, wait: bool) -> list[_Entry]:
        """Write what may be written, and return entries whose rows are held by others, unless they are waited for."""
        table = schema.deployment.c
        ids = {"ids": [entry.writing.run.id for entry in batch]}
        found = {row.id: row for row in connection.execute(_HEADS if wait else _FREE_HEADS, ids)}
        writings, held = [], []
        for entry in batch:
            head = found.get(entry.writing.run.id)
            if head is None and not wait:
                held.append(entry)
                continue
            entry.refusal, is_written = _judge(entry, head)
            if entry.refusal is None and not is_written:
                writings.append(entry.writing)
        _execute(connection, _UPDATE_HEAD, (each.head_row() for each in writings if not each.conclusion))
        for each in writings:
            if each.conclusion:
                ending = update(schema.deployment).where(table.id == each.run.id, table.epoch == each.run.epoch)
                connection.execute(ending.values(each.head()))
        _execute(connection, insert(schema.event), (row for each in writings for row in each.event_rows()))
        _execute(connection, _UPDATE_STEP, (row for each in writings for row in each.step_rows()))
        _execute(connection, _UPDATE_RESOURCE, (row for each in writings for row in each.resource_rows()))
        # In the order in which whatever else writes several stacks at once does so: none waits for each other for ever.
        for each in sorted(writings, key=lambda each: each.run.stack_id):
            self._write_of_stack(connection, each)
        if events := [f"events {each.run.id} {each.last_event}" for each in writings if each.events]:
            self._database.notify(connection, *events)
        return held

    @staticmethod
    def _write_of_stack(connection: Connection, writing: Writing) -> None:
        of_stack = update(schema.stack).where(schema.stack.c.id == writing.run.stack_id)
        if writing.secrets is not None:
            connection.execute(of_stack.values(secrets=writing.secrets, next_secrets=None))
        if writing.conclusion:
            settle(connection, writing.run.stack_id, writing.run.id, writing.left, writing.at)
        if writing.frees_name:
            # Nobody can use its secrets any more. Who gets its files gets another password.
            connection.execute(of_stack.values(removed_at=writing.at, secrets=b"", next_secrets=None))


def _judge(entry: _Entry, head: Row[*tuple[Any, ...]] | None) -> tuple[Exception | None, bool]:
    """Tell why an entry must not be written, if it must not, and whether an earlier try has written it already.

    head: the run's row, which nobody else changes until this transaction is over.
    """
    run = entry.writing.run
    if head is None or head.epoch != run.epoch:
        return RunLost(run.id), False
    if entry.uncertain and head.last_event == entry.writing.last_event != run.last_event:
        return None, True
    if head.owner != run.worker or head.last_event != run.last_event:
        return RunLost(run.id), False
    if entry.unless_canceled and head.cancel_requested_at is not None:
        return CanceledMeanwhile(run.id), False
    return None, False


def _answer(entry: _Entry, error: Exception | None) -> None:
    if entry.written.done():  # cancelled
        return
    if error is None:
        entry.written.set_result(None)
    else:
        entry.written.set_exception(error)


def _execute(connection: Connection, statement: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """Execute a statement for all rows at once, if there are any."""
    if given := list(rows):
        connection.execute(statement, given)


_HEAD: Final = schema.deployment.c
_SELECT_HEADS: Final = (
    select(_HEAD.id, _HEAD.owner, _HEAD.epoch, _HEAD.last_event, _HEAD.cancel_requested_at)
    .where(_HEAD.id.in_(bindparam("ids", expanding=True)))
    .order_by(_HEAD.id)
)
_HEADS: Final = _SELECT_HEADS.with_for_update()
_FREE_HEADS: Final = _SELECT_HEADS.with_for_update(skip_locked=True)
_UPDATE_HEAD: Final = (
    update(schema.deployment)
    .where(_HEAD.id == bindparam("of"), _HEAD.owner == bindparam("held_by"), _HEAD.epoch == bindparam("in_epoch"))
    .values({name: bindparam(name) for name in ("status", "undoing", "problem", "last_event")})
)
_UPDATE_STEP: Final = (
    update(schema.step)
    .where(schema.step.c.deployment_id == bindparam("of"), schema.step.c.name == bindparam("called"))
    .values({name: bindparam(name) for name in ("state", "attempts", "started_at", "concluded_at", "output")})
)
_UPDATE_RESOURCE: Final = (
    update(schema.resource)
    .where(schema.resource.c.stack_id == bindparam("of"), schema.resource.c.kind == bindparam("called"))
    .values({name: bindparam(name) for name in ("state", "dokploy_id", "attempts", "intended_at", "changed_at")})
)
