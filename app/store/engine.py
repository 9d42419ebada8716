"""The store: an engine on SQLite or PostgreSQL, its transactions, and the few things in which the two differ."""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import structlog
from sqlalchemy import JSON, Connection, DateTime, Dialect, Float, MetaData, String, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from app.store.errors import Reason, reason_of, reason_of_file, sqlite_code

log = structlog.get_logger()

T = TypeVar("T")

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json: Final = JSON().with_variant(JSONB(), "postgresql")

# The one channel on which processes tell each other that there is something to read.
CHANNEL: Final = "ai_stack_deployer"

# How long a new SQLite file may be switched to its write-ahead log by another process.
_SWITCH_SECONDS: Final = 5.0

# A server that is not there says so at once; one behind a broken network says nothing at all.
_CONNECT_SECONDS: Final = 5.0
_STATEMENT_SECONDS: Final = 30.0


class StoreAway(Exception):
    """The store does not do its work, for a reason that is no mistake of ours. What was under way may be done."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """`detail`: the driver's own words, for the log."""
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, with its time zone on both sides of both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no time zone; everything written was UTC."""
        return value.replace(tzinfo=UTC) if value is not None and dialect.name == "sqlite" else value


class database_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """Seconds since 1970 by the database's clock, so that processes on several machines agree on a lease."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 - as SQLAlchemy calls it
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 - as SQLAlchemy calls it
    return "extract(epoch from clock_timestamp())::double precision"


class utc_day(FunctionElement[str]):  # noqa: N801 - as above
    """The day of a moment in UTC, as 2026-01-31, wherever the database thinks it is."""

    type = String()
    inherit_cache = True


@compiles(utc_day, "sqlite")
def _sqlite_day(element: utc_day, compiler: SQLCompiler, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)})"


@compiles(utc_day, "postgresql")
def _postgresql_day(element: utc_day, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char(timezone('UTC', {compiler.process(element.clauses, **options)}), 'YYYY-MM-DD')"


class Database:
    """One store. A transaction is a plain function of a connection: `write(work)` commits what it does, or nothing.

    On PostgreSQL it runs over asyncpg. On SQLite it runs whole in a thread of its own: one writer, as SQLite wants it,
    and a few readers. Handing over each statement instead, as aiosqlite does, cost three times the processor time.
    """

    def __init__(self, url: str) -> None:
        """`url` in SQLAlchemy's form: sqlite+aiosqlite:///file.db or postgresql+asyncpg://..."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.where = _whereabouts(url)
        """The file, or the server, to name to an operator; never a password."""
        self._backend = _Sqlite(url) if self.is_sqlite else _Postgresql(url)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that may change something; rolled back when `work` raises."""
        with self._told_apart():
            return await self._backend.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        with self._told_apart():
            return await self._backend.read(work)

    async def read_patiently(self, work: Callable[[Connection], T]) -> T:
        """Read, and wait while the store is away: for a run, which nobody is to lose for that."""
        pause = 0.1
        while True:
            try:
                return await self.read(work)
            except StoreAway:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def write_afresh(self, work: Callable[[Connection], T]) -> T:
        """Write over a connection that remembers nothing of a SQLite file, so that the file itself is asked."""
        with self._told_apart():
            return await self._backend.write_afresh(work)

    def notify(self, connection: Connection, payload: str) -> None:
        """Tell other processes, when this transaction commits. SQLite has none to tell."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})

    def take_turns(self, connection: Connection, what: str) -> None:
        """Wait until no other transaction is at this; then others wait until this one is over.

        On SQLite only one transaction writes at a time as it is.
        """
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": f"{CHANNEL}:{what}"})

    async def close(self) -> None:
        """Close every connection."""
        await self._backend.close()

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Raise StoreAway for what the store itself suffers from; a mistake of ours stays what it is."""
        try:
            yield
        except (DBAPIError, PoolTimeout, OSError) as error:
            reason = reason_of(error)
            if reason is None:
                raise
            if reason == "corrupt" and isinstance(self._backend, _Sqlite):
                self._backend.forget()
            words = str(getattr(error, "orig", None) or error) or type(error).__name__
            raise StoreAway(reason, words.partition("\n")[0]) from error


def _whereabouts(url: str) -> str:
    parts = make_url(url)
    if parts.drivername.startswith("sqlite"):
        return parts.database or ""
    host = parts.host or str(parts.query.get("host", "localhost"))
    return f"{host}:{parts.port}" if parts.port else host


class _Postgresql:
    """Transactions over asyncpg."""

    def __init__(self, url: str) -> None:
        deadlines = {"timeout": _CONNECT_SECONDS, "command_timeout": _STATEMENT_SECONDS}
        self._engine = create_async_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,
            connect_args=deadlines,
            hide_parameters=True,
        )

    async def write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    write_afresh = write

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


class _Sqlite:
    """Transactions in threads: one that writes, three that read, and one that looks whether the file is well."""

    def __init__(self, url: str) -> None:
        path = url.partition(":///")[2]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._writer = _SqliteThreads(path, "BEGIN IMMEDIATE", threads=1, pool_size=1, max_overflow=0)
        self._reader = _SqliteThreads(path, "BEGIN", threads=3, pool_size=3, max_overflow=0)
        # A file that is gone is not to be made again by looking for it.
        existing = f"file:{quote(path)}?mode=rw&uri=true"
        self._prober = _SqliteThreads(existing, "BEGIN IMMEDIATE", threads=1, poolclass=NullPool)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._writer.run(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._reader.run(work)

    async def write_afresh(self, work: Callable[[Connection], T]) -> T:
        return await self._prober.run(work)

    def forget(self) -> None:
        """Use no connection again: one that remembers a page from before the damage would go on as if all were well."""
        self._writer.forget()
        self._reader.forget()

    async def close(self) -> None:
        for threads in (self._writer, self._reader, self._prober):
            await asyncio.to_thread(threads.close)


class _SqliteThreads:
    """Threads with an engine between them; each transaction is one hand-over and back."""

    def __init__(self, path: str, begin: str, *, threads: int, **pool: Any) -> None:
        self._engine = create_engine(f"sqlite:///{path}", hide_parameters=True, **pool)
        event.listen(self._engine, "connect", _configure_sqlite)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sqlite")

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._transact, work)

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    def forget(self) -> None:
        self._engine.dispose()

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._engine.dispose()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by a hook, not by the driver
    cursor = connection.cursor()
    for pragma in ("busy_timeout=10000", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _switch_to_wal(cursor)
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Let readers and the writer work side by side, from a new file's first connection on."""
    end = time.monotonic() + _SWITCH_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Another process switches a new file at this moment; busy_timeout does not wait for that.
            if sqlite_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


class FileLock:
    """Says which process beside one SQLite file runs deployments; the others serve pages and wait for it.

    The lock is on a file beside the database: closing any descriptor of the database itself would drop SQLite's own.
    """

    def __init__(self, database_file: Path) -> None:
        self._path = database_file.with_name(database_file.name + ".lock")
        self._descriptor: int | None = None

    def check(self) -> None:
        """Raise StoreAway where the file cannot be opened, so that nobody could ever take the lock."""
        os.close(self._open())

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreAway(reason_of_file(error), f"{self._path.name}: {error.strerror}") from error

    def acquire(self) -> bool:
        """Try to take the lock; say whether this process has it now."""
        if self._descriptor is not None:
            return True
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Listener:
    """Hears what other processes tell on PostgreSQL, over a connection of its own that is made again when it breaks."""

    def __init__(self, url: str, heard: Callable[[str], None], reconnected: Callable[[], None]) -> None:
        """`heard` gets each payload; `reconnected` says that some may have been missed."""
        # As SQLAlchemy reads the address, so that what it understands of it is understood here as well.
        dialect: Dialect = make_url(url).get_dialect()()
        _, options = dialect.create_connect_args(make_url(url))
        self._options = {name: value for name, value in options.items() if not name.startswith("prepared_statement_")}
        self._heard = heard
        self._reconnected = reconnected

    async def run(self) -> None:
        """Listen until cancelled."""
        import asyncpg

        while True:
            try:
                connection = await asyncpg.connect(**self._options, timeout=10)
                try:
                    await self._listen(connection)
                finally:
                    connection.terminate()
                log.warning("listener_reconnects", reason="closed")
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("listener_reconnects", reason=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _listen(self, connection: Any) -> None:
        """Listen until the connection is closed."""
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        await connection.add_listener(CHANNEL, lambda *args: self._heard(str(args[-1])))
        self._reconnected()
        while not closed.is_set():
            try:
                await asyncio.wait_for(closed.wait(), timeout=5)
            except TimeoutError:
                # A peer that is gone without a word is noticed by asking it something now and then.
                await asyncio.wait_for(connection.execute("SELECT 1"), timeout=5)
