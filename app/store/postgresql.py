"""Transactions on PostgreSQL, over asyncpg."""

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")

# The one channel on which processes tell each other that there is something to read.
CHANNEL: Final = "ai_stack_deployer"

# A server that is not there says so at once; one behind a broken network says nothing at all.
_CONNECT_SECONDS: Final = 5.0
_STATEMENT_SECONDS: Final = 30.0
_CONNECTIONS: Final = 16

_NOTIFY: Final = text("SELECT pg_notify(:channel, payload) FROM unnest(CAST(:payloads AS text[])) AS payload")


class Postgresql:
    """Transactions over asyncpg."""

    def __init__(self, url: str) -> None:
        self._url = url
        deadlines = {"timeout": _CONNECT_SECONDS, "command_timeout": _STATEMENT_SECONDS}
        self._engine = create_async_engine(
            url,
            # All of them are kept. One above a pool's size would be closed by whoever gives it back, who may be
            # cancelled in that call to the server, and be opened again at the next burst.
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,
            connect_args=deadlines,
            hide_parameters=True,
        )

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that may change something."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    write_afresh = write

    async def write_without_deadline(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that may take as long as it needs, over a connection of its own."""
        connects = {"timeout": _CONNECT_SECONDS}
        engine = create_async_engine(self._url, poolclass=NullPool, connect_args=connects, hide_parameters=True)
        try:
            async with engine.begin() as connection:
                # The server may have a deadline, too.
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    def notify(self, connection: Connection, *payloads: str) -> None:
        """Tell every listener, when this transaction commits."""
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payloads": list(payloads)})

    def take_turns(self, connection: Connection, what: str) -> None:
        """Wait for a lock that this transaction holds until it is over."""
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": f"{CHANNEL}:{what}"})

    def forget(self) -> None:
        """Keep the connections: the server knows the state of its files."""

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
