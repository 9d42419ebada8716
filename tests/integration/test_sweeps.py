"""How old rows are deleted, on both databases: by one process an hour, in small transactions that hold nobody up."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app.deployments.events import LogLine
from app.engine.saga import Checkpoint
from app.observation import expired, retention
from app.observation.retention import Retention
from app.operations.redeploy import REDEPLOY
from app.store import schema
from app.store.engine import Database
from app.store.errors import StoreAway
from app.store.paging import PageRequest
from tests.integration.test_retention import EVERYTHING, SECOND, create, entry, redeploy, remove, rows, session
from tests.integration.test_store import ADA, Store
from tests.servers import PortalServer
from tests.waiting import WAIT_SECONDS, until, wait_until

pytestmark = pytest.mark.anyio

T = TypeVar("T")

LONG_AGO: Final = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


class Beset(Database):
    """A store with something of the test's before each transaction that writes, by its number from 1 on."""

    def __init__(self, url: str, before: Callable[[int], Awaitable[None]]) -> None:
        super().__init__(url)
        self.before = before
        self.writes = 0

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.writes += 1
        await self.before(self.writes)
        return await super().write(work)


@pytest.fixture
async def beset(any_database_url: str) -> AsyncIterator[Callable[[Callable[[int], Awaitable[None]]], Beset]]:
    opened: list[Beset] = []

    def open_one(before: Callable[[int], Awaitable[None]]) -> Beset:
        opened.append(Beset(any_database_url, before))
        return opened[-1]

    yield open_one
    for database in opened:
        await database.close()


@contextmanager
def small_batches(size: int) -> Iterator[None]:
    """Have transactions delete so few rows that a few stacks are many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expired, "BATCH", size)
        yield


async def fill(store: Store) -> None:
    """A little of everything that is old."""
    moments = iter(LONG_AGO + number * SECOND for number in range(100))
    for name in ("ada", "bob", "cyd"):
        await create(store, name, next(moments), key=f"a-key-that-is-long-enough-{name}")
        for _ in range(3):
            await redeploy(store, name, next(moments))
    for name in ("bob", "cyd"):
        await remove(store, name, next(moments))
    keys = update(schema.idempotency).values(created_at=LONG_AGO)
    await store.database.write(lambda connection: connection.execute(keys).close())
    for table, make in ((schema.session, session), (schema.audit, entry)):
        await store.database.write(partial(_add, insert(table), [make(LONG_AGO) for _ in range(7)]))


def _execute(statement: str, connection: Connection) -> None:
    connection.exec_driver_sql(statement)


def _add(statement: Any, values: list[dict[str, Any]], connection: Connection) -> None:
    connection.execute(statement, values)


# Who sweeps


async def test_of_several_replicas_one_sweeps_an_hour(store: Store, any_database_url: str):
    peer = Store(any_database_url)
    replicas = [Retention(each.database, EVERYTHING, may_act=lambda: True) for each in (store, peer)]

    async def hours_pass(hours: float) -> None:
        past = update(schema.retention).values(swept_at=schema.retention.c.swept_at - hours * 3600)
        await store.database.write(lambda connection: connection.execute(past).close())

    for _ in range(5):
        assert sorted(await asyncio.gather(*(each.claim() for each in replicas))) == [False, True]
        await hours_pass(0.9)
        assert await asyncio.gather(*(each.claim() for each in replicas)) == [False, False]
        await hours_pass(0.1)
    await peer.database.close()


async def test_a_process_that_runs_no_deployments_deletes_nothing(store: Store):
    await fill(store)
    before = await store.everything()
    acts, looks = False, 0

    def may_act() -> bool:
        nonlocal looks
        looks += 1
        return acts

    running = asyncio.create_task(Retention(store.database, EVERYTHING, may_act=may_act, every=0.01).run())
    await until(lambda: looks >= 3)
    assert await store.everything() == before

    acts = True

    async def swept() -> bool:
        return len(await rows(store, schema.stack)) == 1

    await until(swept)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_sweep_ends_at_once_when_the_process_is_to_stop(store: Store):
    await fill(store)
    asked: list[int] = []

    def may_act() -> bool:
        asked.append(len(asked))
        return len(asked) <= 3

    with small_batches(1):
        await Retention(store.database, EVERYTHING, may_act=may_act).sweep()

    assert len(asked) == 4
    assert len(await rows(store, schema.stack)) == 3


@pytest.mark.parametrize("runs", [True, False], ids=["runs deployments", "serves pages only"])
def test_a_portal_sweeps_if_it_runs_deployments(
    start_portal: Callable[..., PortalServer], postgres_url: str, monkeypatch: pytest.MonkeyPatch, runs: bool
):
    monkeypatch.setattr(retention, "_LOOK_SECONDS", 0.05)
    database = Database(postgres_url)

    def run(work: Callable[[Connection], T]) -> T:
        async def once() -> T:
            try:
                return await database.write(work)
            finally:
                await database.close()

        return asyncio.run(once())

    run(partial(_add, insert(schema.session), [session(LONG_AGO)]))
    start_portal(database_url=postgres_url, runs=runs)

    def swept() -> float:
        query = select(schema.retention.c.swept_at).where(schema.retention.c.what == "sweep")
        return float(run(lambda connection: connection.scalar(query)) or 0)

    def left() -> int:
        return len(run(lambda connection: connection.execute(select(schema.session)).all()))

    if runs:
        wait_until(lambda: not left(), pause=0.1)
        assert swept()
    else:
        time.sleep(0.3)  # six looks, were there any
        assert (left(), swept()) == (1, 0.0)


# What a sweep leaves that did not end


async def assert_right(store: Store) -> None:
    """Every record can be read, and says of its log what there is of it."""
    records = (await store.records.latest(PageRequest(100))).items
    assert {record.id for record in records} == {row.id for row in await rows(store, schema.deployment)}
    for record in records:
        assert len(record.steps) == len(record.operation.steps)
        assert record.resources.keys() >= {"project", "volume"}
        numbers = [each.n for each in await store.records.events(record.id)]
        whole = list(range(1, record.last_event + 1))
        assert numbers == (whole if record.log_expired_at is None else whole[-1:])
    if store.database.is_sqlite:
        broken = text("PRAGMA foreign_key_check")
        assert await store.database.read(lambda connection: connection.execute(broken).all()) == []


async def test_wherever_a_sweep_ends_the_record_is_right_and_the_next_one_goes_on(store: Store, beset: Any):
    await fill(store)
    end = 0

    async def ends(write: int) -> None:
        if write > end:
            raise StoreAway("away")

    database = beset(ends)
    with small_batches(25):
        while True:
            end, database.writes = end + 1, 0
            try:
                await Retention(database, EVERYTHING, may_act=lambda: True).sweep()
            except StoreAway:
                await assert_right(store)
            else:
                break
            # Each time one transaction further than before, and never one that was done already.
            end += 1

    await assert_right(store)
    assert end > 2
    assert [row.name for row in await rows(store, schema.stack)] == ["ada"]
    assert await Retention(store.database, EVERYTHING, may_act=lambda: True).sweep() == {}


async def test_a_store_that_is_away_ends_the_sweep_and_is_told_once(store: Store, beset: Any):
    await fill(store)
    looks = 0

    async def away(_: int) -> None:
        nonlocal looks
        looks += 1
        raise StoreAway("away")

    database = beset(away)
    with capture_logs() as logs:
        running = asyncio.create_task(Retention(database, EVERYTHING, may_act=lambda: True, every=0.01).run())
        await until(lambda: looks >= 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert [each["event"] for each in logs] == ["retention_stopped"]


POISON: Final = {
    "sqlite": [
        "CREATE TRIGGER poison BEFORE DELETE ON session BEGIN SELECT RAISE(ABORT, 'poison'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$",
        "CREATE TRIGGER poison BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION poison()",
    ],
}


async def test_what_always_fails_keeps_nothing_else_from_being_deleted(store: Store):
    await fill(store)
    for statement in POISON["sqlite" if store.database.is_sqlite else "postgresql"]:
        await store.database.write(partial(_execute, statement))

    with capture_logs() as logs, pytest.raises(DBAPIError, match="poison"):
        await Retention(store.database, EVERYTHING, may_act=lambda: True).look()

    await assert_right(store)
    assert [row.name for row in await rows(store, schema.stack)] == ["ada"]
    assert LONG_AGO not in {row.at for row in await rows(store, schema.audit)}
    assert len(await rows(store, schema.session)) == 7
    (line,) = logs
    assert (line["failed"], line["deleted"]["stack"]) == (["session.expires_at"], 2)


@pytest.mark.parametrize("is_away_at_once", [False, True], ids=["one failure", "an outage"])
async def test_a_sweep_that_failed_is_due_again_in_five_minutes(store: Store, beset: Any, is_away_at_once: bool):
    await fill(store)
    is_away = False

    async def before(write: int) -> None:
        if is_away or write == 2:
            raise StoreAway("away")

    async def fails(_: int) -> None:
        nonlocal is_away
        await before(database.writes)
        is_away = is_away_at_once and database.writes == 1

    database = beset(fails)
    replica = Retention(database, EVERYTHING, may_act=lambda: True)
    with pytest.raises(StoreAway):
        await replica.look()
    if is_away_at_once:
        is_away = False
        await replica.look()  # says what could not be said during the outage
    left = len(await rows(store, schema.stack))

    await minutes_pass(store, 4)
    await replica.look()
    assert len(await rows(store, schema.stack)) == left
    assert not await replica.claim()

    await minutes_pass(store, 1)
    await Retention(store.database, EVERYTHING, may_act=lambda: True).look()
    assert [row.name for row in await rows(store, schema.stack)] == ["ada"]
    assert await Retention(store.database, EVERYTHING, may_act=lambda: True).sweep() == {}
    await minutes_pass(store, 55)
    assert not await replica.claim(), "one that did not fail takes the hour"


async def minutes_pass(store: Store, minutes: float) -> None:
    past = update(schema.retention).values(swept_at=schema.retention.c.swept_at - minutes * 60)
    await store.database.write(lambda connection: connection.execute(past).close())


async def test_a_sweep_is_one_line_of_the_log(store: Store):
    await fill(store)

    with capture_logs() as logs:
        await Retention(store.database, EVERYTHING, may_act=lambda: True).sweep()

    (line,) = logs
    assert (line["event"], line["log_level"]) == ("retention_swept", "info")
    assert line["deleted"]["stack"] == 2
    assert line["deleted"]["audit"] == 7


# Beside others


async def test_between_two_transactions_others_write(store: Store, beset: Any):
    """A running deployment goes on beside a sweep, and its checkpoints are never in a sweep's way."""
    await fill(store)
    await store.deploy("dee")
    run = await store.claim_one()
    lines = 0

    async def goes_on(_: int) -> None:
        nonlocal lines
        lines += 1
        await store.journal.record(run, Checkpoint(events=[LogLine(str(lines))]))

    with small_batches(10):
        await Retention(beset(goes_on), EVERYTHING, may_act=lambda: True).sweep()

    assert lines > 10
    events = await store.records.events(run.id)
    assert [each.n for each in events] == list(range(1, lines + 2))
    await store.conclude(run)


async def test_who_is_in_the_middle_of_a_transaction_is_not_held_up(store: Store, any_database_url: str):
    """A sweep that comes to a held writer waits on SQLite, which has one; on PostgreSQL it has nothing to wait for."""
    await fill(store)
    stack = await store.records.find_stack("ada")
    assert stack is not None
    await store.operations.change(REDEPLOY, stack, ADA)
    run = await store.claim_one()
    holds, goes_on = threading.Event(), threading.Event()
    table = schema.deployment

    def transaction(connection: Connection) -> None:
        mine = update(table).where(table.c.id == run.id)
        connection.execute(mine.values(status="prepare"))
        connection.execute(update(schema.stack).where(schema.stack.c.id == run.stack_id).values(template="held"))
        holds.set()
        assert goes_on.wait(WAIT_SECONDS)
        connection.execute(mine.values(status="deploy"))

    async def hold() -> None:
        database = Database(any_database_url)
        await database.write(transaction)
        await database.close()

    holding = asyncio.create_task(asyncio.to_thread(asyncio.run, hold()))
    await until(holds.is_set)
    sweeping = asyncio.create_task(Retention(store.database, EVERYTHING, may_act=lambda: True).sweep())
    if store.database.is_sqlite:
        await asyncio.wait({sweeping}, timeout=0.2)
        assert not sweeping.done()
        # Who only reads waits for neither.
        assert await store.records.find_stack("ada") is not None
    else:
        await asyncio.wait_for(sweeping, WAIT_SECONDS)
    goes_on.set()
    await holding
    done = await sweeping

    assert done["stack"] == 2
    record = await store.records.deployment(run.id)
    assert record is not None
    assert record.status == "deploy"


async def test_two_sweeps_at_once_do_no_harm(store: Store, any_database_url: str):
    """As where one takes longer than an hour: neither fails, and together they delete all."""
    await fill(store)
    peer = Store(any_database_url)

    with small_batches(10):
        await asyncio.gather(
            *(Retention(each.database, EVERYTHING, may_act=lambda: True).sweep() for each in (store, peer))
        )

    await assert_right(store)
    assert [row.name for row in await rows(store, schema.stack)] == ["ada"]
    await peer.database.close()
