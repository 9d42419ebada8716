"""The listener: hears what other processes report through PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Dialect
from sqlalchemy.engine import make_url

from app.store.postgresql import CHANNEL

log = structlog.get_logger()


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
