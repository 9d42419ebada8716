"""Transactions on a SQLite file, in threads of their own: one that writes, and a few that read."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from app.store.errors import sqlite_code

T = TypeVar("T")

# How long a new SQLite file may be switched to its write-ahead log by another process.
_SWITCH_SECONDS: Final = 5.0


class Sqlite:
    """Transactions in threads: one that writes, three that read, and one that looks whether the file is well."""

    def __init__(self, url: str) -> None:
        path = url.partition(":///")[2]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._writer = _Threads(path, "BEGIN IMMEDIATE", threads=1, pool_size=1, max_overflow=0)
        self._reader = _Threads(path, "BEGIN", threads=3, pool_size=3, max_overflow=0)
        # A file that is gone is not to be made again by looking for it.
        existing = f"file:{quote(path)}?mode=rw&uri=true"
        self._prober = _Threads(existing, "BEGIN IMMEDIATE", threads=1, poolclass=NullPool)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that may change something."""
        return await self._writer.run(work)

    write_without_deadline = write

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        return await self._reader.run(work)

    async def write_afresh(self, work: Callable[[Connection], T]) -> T:
        """Write over a new connection, so that the file itself is asked."""
        return await self._prober.run(work)

    def notify(self, connection: Connection, *payloads: str) -> None:
        """Tell nobody: SQLite has no messages, and other processes poll."""

    def take_turns(self, connection: Connection, what: str) -> None:
        """Wait for nothing: only one transaction writes at a time as it is."""

    def forget(self) -> None:
        """Use no connection again: one that remembers a page from before the damage would go on as if all were well."""
        self._writer.forget()
        self._reader.forget()

    async def close(self) -> None:
        """Close every connection, and end the threads."""
        for threads in (self._writer, self._reader, self._prober):
            await asyncio.to_thread(threads.close)


class _Threads:
    """Threads with an engine between them; each transaction is one hand-over and back."""

    def __init__(self, path: str, begin: str, *, threads: int, **pool: Any) -> None:
        self._engine = create_engine(f"sqlite:///{path}", hide_parameters=True, **pool)
        event.listen(self._engine, "connect", _configure)
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


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by a hook, not by the driver
    cursor = connection.cursor()
    # secure_delete: secrets of deleted stacks are overwritten in the file. Debian builds SQLite so, others do not; FAST
    # would leave long ones, which have pages of their own.
    for pragma in ("busy_timeout=10000", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
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
