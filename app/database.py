"""The store: an engine on SQLite or PostgreSQL, its transactions, and the few things in which the two differ."""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import JSON, DateTime, Dialect, Float, MetaData, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

log = structlog.get_logger()

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

# What a caller sees when the store is away, full or locked for too long.
StoreError = (OperationalError, InterfaceError, DBAPIError)


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
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001
    return "extract(epoch from clock_timestamp())::double precision"


class Database:
    """One store. `write()` and `read()` open transactions; on SQLite there is one writer at a time, as it wants it."""

    def __init__(self, url: str) -> None:
        """`url` in SQLAlchemy's form: sqlite+aiosqlite:///file.db or postgresql+asyncpg://..."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            Path(url.partition(":///")[2]).parent.mkdir(parents=True, exist_ok=True)
            # A pool of one connection is the queue of writers: they wait here instead of in busy_timeout's sleeps.
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE", connections=1)
            self._reader = _sqlite_engine(url, "BEGIN", connections=4)
        else:
            self._writer = self._reader = create_async_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may change something; committed at the end, rolled back on an exception."""
        async with self._writer.begin() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; what it sees is of one moment on SQLite, of each statement on PostgreSQL."""
        async with self._reader.connect() as connection:
            yield connection

    async def notify(self, connection: AsyncConnection, payload: str) -> None:
        """Tell other processes, when this transaction commits. SQLite has none to tell."""
        if not self.is_sqlite:
            await connection.execute(
                text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
            )

    async def ping(self) -> None:
        """Raise one of StoreError unless the store answers."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        await self._reader.dispose()


def _sqlite_engine(url: str, begin: str, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=connections, max_overflow=0)

    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by the hook below, not by the driver
        cursor = connection.cursor()
        for pragma in ("busy_timeout=10000", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _switch_to_wal(cursor)
        cursor.close()

    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _switch_to_wal(cursor: Any) -> None:
    """Let readers and the writer work side by side, from a new file's first connection on."""
    end = time.monotonic() + _SWITCH_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # Another process switches a new file at this moment; busy_timeout does not wait for that.
            if time.monotonic() > end:
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

    def acquire(self) -> bool:
        """Try to take the lock; say whether this process has it now."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        self._dsn = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._heard = heard
        self._reconnected = reconnected

    async def run(self) -> None:
        """Listen until cancelled."""
        import asyncpg

        while True:
            try:
                connection = await asyncpg.connect(self._dsn, timeout=10)
                try:
                    await connection.add_listener(CHANNEL, lambda *args: self._heard(str(args[-1])))
                    self._reconnected()
                    while not connection.is_closed():
                        # A dead peer is noticed by asking it something now and then.
                        await asyncio.sleep(5)
                        await asyncio.wait_for(connection.execute("SELECT 1"), timeout=5)
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("listener_reconnects", reason=type(error).__name__)
                await asyncio.sleep(0.5)
