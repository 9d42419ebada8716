"""The database, on SQLite or PostgreSQL: runs transactions, and says when the store itself fails."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.store.errors import StoreAway, reason_of
from app.store.postgresql import Postgresql
from app.store.sqlite import Sqlite

T = TypeVar("T")


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
        self._backend: Sqlite | Postgresql = Sqlite(url) if self.is_sqlite else Postgresql(url)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that may change something; rolled back when `work` raises."""
        with self._told_apart():
            return await self._backend.write(work)

    async def write_without_deadline(self, work: Callable[[Connection], T]) -> T:
        """Write for as long as it takes: for migrations, since an index of a large table takes minutes."""
        with self._told_apart():
            return await self._backend.write_without_deadline(work)

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

    def notify(self, connection: Connection, *payloads: str) -> None:
        """Tell other processes, when this transaction commits. SQLite has none to tell."""
        self._backend.notify(connection, *payloads)

    def take_turns(self, connection: Connection, what: str) -> None:
        """Wait until no other transaction is at this; then others wait until this one is over."""
        self._backend.take_turns(connection, what)

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
            if reason == "corrupt":
                self._backend.forget()
            words = str(getattr(error, "orig", None) or error) or type(error).__name__
            raise StoreAway(reason, words.partition("\n")[0]) from error


def _whereabouts(url: str) -> str:
    parts = make_url(url)
    if parts.drivername.startswith("sqlite"):
        return parts.database or ""
    host = parts.host or str(parts.query.get("host", "localhost"))
    return f"{host}:{parts.port}" if parts.port else host
