"""What databases really say when they fail, and what is made of it; mistakes of ours stay mistakes."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from app.errors import SettingsError
from app.stacks.queries import Records
from app.store.engine import Database
from app.store.errors import StoreAway
from app.store.lock import FileLock
from app.store.migrations import HEAD, check, current, migrate
from app.store.readiness import Readiness, open_store
from tests.postgresql import PostgresServer
from tests.servers import sqlite_url
from tests.waiting import until

T = TypeVar("T")

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(any_database_url: str) -> AsyncIterator[Database]:
    opened = Database(any_database_url)
    await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def postgresql(postgres: PostgresServer) -> AsyncIterator[Database]:
    opened = Database(postgres.url())
    yield opened
    await opened.close()


def run(*statements: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return work


# SQLite


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (("PRAGMA max_page_count=1", "CREATE TABLE more AS SELECT zeroblob(100000)"), "full"),
        (("PRAGMA query_only=ON", "DELETE FROM worker"), "read_only"),
    ],
)
async def test_what_sqlite_cannot_do(sqlite: Database, statements: tuple[str, ...], reason: str):
    with pytest.raises(StoreAway) as failure:
        await sqlite.write(run(*statements))

    assert failure.value.reason == reason
    assert await current(sqlite) == HEAD, "it can still be read"


async def test_a_file_that_another_program_holds(sqlite: Database, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "portal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreAway) as failure:
            await sqlite.read(run("PRAGMA busy_timeout=0", "DELETE FROM worker"))

    assert failure.value.reason == "locked"
    assert await check(sqlite) == HEAD


async def test_a_file_that_is_damaged_is_not_used_from_memory(sqlite: Database, tmp_path: Path):
    assert await check(sqlite) == HEAD
    for name in ("portal.db", "portal.db-wal"):
        path = tmp_path / name
        with path.open("r+b") as file:
            file.write(b"\x5a" * path.stat().st_size)

    for _ in range(2):
        with pytest.raises(StoreAway) as failure:
            await check(sqlite)
        assert failure.value.reason == "corrupt"
    with pytest.raises(StoreAway) as failure:
        await sqlite.write(run("DELETE FROM worker"))
    assert failure.value.reason == "corrupt"


async def test_a_file_that_is_gone_is_not_made_again_by_looking(tmp_path: Path):
    folder = tmp_path / "100 % odd"
    folder.mkdir()
    database = Database(sqlite_url(folder))
    await migrate(database)
    assert await check(database) == HEAD
    await database.close()
    (folder / "portal.db").unlink()

    again = Database(sqlite_url(folder))
    with pytest.raises(StoreAway) as failure:
        await check(again)

    assert failure.value.reason == "unopenable"
    assert list(folder.iterdir()) == []
    await again.close()


async def test_a_folder_is_no_file(tmp_path: Path):
    (tmp_path / "portal.db").mkdir()
    database = Database(sqlite_url(tmp_path))

    with pytest.raises(StoreAway) as failure:
        await database.read(run("SELECT 1"))

    assert failure.value.reason == "unopenable"
    await database.close()


def test_a_lock_file_that_cannot_be_opened(tmp_path: Path):
    (tmp_path / "portal.db.lock").mkdir()

    with pytest.raises(StoreAway) as failure:
        FileLock(tmp_path / "portal.db").acquire()

    assert failure.value.reason == "unopenable"


# PostgreSQL


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("53100", "full"),
        ("53200", "locked"),
        ("53300", "locked"),
        ("25006", "read_only"),
        ("58030", "failing"),
        ("XX001", "corrupt"),
        ("28P01", "refused"),
        ("42501", "refused"),
        ("57P01", "away"),
        ("57P02", "away"),
        ("57P03", "away"),
        ("08006", "away"),
        ("40P01", "locked"),
        ("40001", "locked"),
        ("57014", "locked"),
    ],
)
async def test_what_postgresql_cannot_do(postgresql: Database, state: str, reason: str):
    with pytest.raises(StoreAway) as failure:
        await postgresql.write(run(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"))

    assert failure.value.reason == reason
    assert failure.value.detail.endswith("no")
    await postgresql.read(run("SELECT 1"))


@pytest.mark.parametrize("state", ["22012", "42601", "25P02", "XX000", "0A000", "P0001"])
async def test_what_postgresql_holds_against_us(postgresql: Database, state: str):
    with pytest.raises(DBAPIError):
        await postgresql.write(run(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"))


async def test_a_transaction_that_may_only_read(postgresql: Database):
    with pytest.raises(StoreAway) as failure:
        await postgresql.write(run("SET TRANSACTION READ ONLY", "CREATE TABLE more (x INTEGER)"))

    assert failure.value.reason == "read_only"


async def test_a_connection_that_is_ended_from_outside(postgresql: Database):
    with pytest.raises(StoreAway) as failure:
        await postgresql.write(run("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"))

    assert failure.value.reason == "away"
    await postgresql.read(run("SELECT 1"))


# Both


async def test_mistakes_of_ours_stay_mistakes(database: Database):
    with pytest.raises((OperationalError, ProgrammingError)):
        await database.read(run("SELECT * FROM nothing"))
    with pytest.raises((OperationalError, ProgrammingError)):
        await database.write(run("SELEKT 1"))
    with pytest.raises(IntegrityError):
        await database.write(run("INSERT INTO worker (id, started_at, expires_at) VALUES ('one', NULL, NULL)"))
    with pytest.raises(DBAPIError):
        await database.read(lambda connection: connection.execute(text("SELECT :it"), {"it": object()}))


class Passing(Database):
    """A store that is away for as many transactions as a test says."""

    away = 0
    written_afresh = 0

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self.away:
            self.away -= 1
            raise StoreAway("away")
        return await super().read(work)

    async def write_afresh(self, work: Callable[[Connection], T]) -> T:
        self.written_afresh += 1
        return await super().write_afresh(work)


async def test_what_a_run_reads_is_waited_for(any_database_url: str):
    database = Passing(any_database_url)
    await migrate(database)
    records = Records(database)
    database.away = 2

    assert await records.is_kept_volume("workspace-ada", "browser:ada") is False
    assert database.away == 0
    await database.close()


async def test_many_who_ask_share_one_small_write(any_database_url: str):
    database = Passing(any_database_url)
    await migrate(database)
    readiness = Readiness(database)

    states = await asyncio.gather(*(readiness.look() for _ in range(100)))

    assert {(state.trouble, state.revision) for state in states} == {(None, HEAD)}
    assert database.written_afresh == 1
    await database.close()


async def test_a_schema_from_before_is_not_ready(database: Database):
    await database.write(run("UPDATE alembic_version SET version_num = '0000'"))
    state = await Readiness(database).look()
    assert (state.trouble, state.revision) == ("schema", "0000")

    await database.write(run("DROP TABLE alembic_version"))
    state = await Readiness(database).look()
    assert (state.trouble, state.revision) == ("schema", None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+asyncpg://portal:hunter2@127.0.0.1:9/portal", "PostgreSQL at 127.0.0.1:9 did not answer for 1 s"),
        ("postgresql+asyncpg://portal:hunter2@db.invalid/portal", "PostgreSQL at db.invalid did not answer for 1 s"),
        ("postgresql+asyncpg://portal:hunter2@db:port/portal", "DATABASE_URL is malformed"),
    ],
)
async def test_a_store_that_never_comes_is_named_without_its_password(url: str, says: str):
    with pytest.raises(SettingsError) as failure:
        await open_store(url, patience=1)

    assert says in str(failure.value)
    assert "hunter2" not in str(failure.value)


async def test_a_file_that_is_held_at_the_start_is_waited_for(database_url: str, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "portal.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.Event()

        class Watched(Database):
            async def write_afresh(self, work: Callable[[Connection], T]) -> T:
                asked.set()
                return await super().write_afresh(work)

        opening = asyncio.create_task(open_store(database_url, make=Watched))
        await until(asked.is_set)
        # SQLite waits for ten seconds in a thread, and tells nobody: a slow machine may not have come to that yet.
        await asyncio.sleep(0.3)
        assert not opening.done()
        other.execute("ROLLBACK")

        database = await opening
        assert await check(database) == HEAD
        await database.close()
