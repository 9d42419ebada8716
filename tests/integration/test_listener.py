"""What processes tell each other on PostgreSQL: heard at once, over a connection that is made again when it breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from sqlalchemy import text

from app.config.settings import Settings
from app.store.engine import Database
from app.store.listener import Listener
from tests.servers import Emulator, PortalServer, portal_settings
from tests.waiting import WAIT_SECONDS


class Ears:
    """What a listener has heard, and how often it has connected."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.connected = 0
        self._changed = asyncio.Event()

    def hear(self, payload: str) -> None:
        self.heard.append(payload)
        self._changed.set()

    def connect(self) -> None:
        self.connected += 1
        self._changed.set()

    async def wait(self, *, heard: int = 0, connected: int = 0) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.heard) < heard or self.connected < connected:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Ears]:
    ears = Ears()
    task = asyncio.create_task(Listener(url, ears.hear, ears.connect).run())
    try:
        await ears.wait(connected=1)
        yield ears
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def notify(url: str, payload: str) -> None:
    database = Database(url)
    await database.write(lambda connection: database.notify(connection, payload))
    await database.close()


async def end_listeners(url: str) -> int:
    """End every connection that listens, from the server's side; return how many there were."""
    database = Database(url)
    query = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
    )
    ended = await database.write(lambda connection: int(connection.scalar(query) or 0))
    await database.close()
    return ended


@pytest.mark.anyio
async def test_what_is_told_is_heard_when_it_is_committed(postgres_url: str):
    async with listening(postgres_url) as ears:
        await notify(postgres_url, "events one")
        await ears.wait(heard=1)
    assert ears.heard == ["events one"]


@pytest.mark.anyio
async def test_a_connection_that_is_ended_is_made_again_at_once(postgres_url: str):
    async with listening(postgres_url) as ears:
        for times in (2, 3):
            assert await end_listeners(postgres_url) == 1
            await ears.wait(connected=times)
            await notify(postgres_url, f"after {times}")
            await ears.wait(heard=times - 1)
    assert ears.heard == ["after 2", "after 3"]


@pytest.mark.anyio
@pytest.mark.parametrize("option", ["ssl=prefer", "prepared_statement_cache_size=0"])
async def test_the_address_is_read_as_the_store_reads_it(postgres_url: str, option: str):
    async with listening(postgres_url + ("&" if "?" in postgres_url else "?") + option) as ears:
        await notify(postgres_url, "queued")
        await ears.wait(heard=1)


def test_a_stream_misses_nothing_while_connections_are_ended(
    emulator: Emulator, start_portal: Callable[..., PortalServer], postgres_url: str
):
    """The run is on one portal, its reader at another, and neither hears the other for a while."""
    emulator.fault("slow", "*", seconds=0.1, times=-1)
    here = start_portal(database_url=postgres_url)
    deployment = here.deploy("ada")["deploymentId"]
    here.wait_for(deployment, "deployment_started")
    numbers: list[int] = []
    conclusion = None
    with never_looking_by_itself(portal_settings(emulator.url, postgres_url)) as there:
        path = f"/api/deployments/{deployment}/events"
        with there.client.stream("GET", path, headers={"accept": "application/x-ndjson"}) as stream:
            for line in stream.iter_lines():
                event = json.loads(line)
                if event["type"] == "heartbeat":  # also told by a connection that was made again
                    continue
                numbers.append(event["n"])
                conclusion = event["conclusion"]
                asyncio.run(end_listeners(postgres_url))

    assert conclusion == "succeeded"
    assert numbers == list(range(1, len(numbers) + 1))


@contextmanager
def never_looking_by_itself(settings: Settings) -> Iterator[PortalServer]:
    """A portal whose streams look into the store only where they were told to: no heartbeat comes in a test's time."""
    portal = PortalServer(settings.model_copy(update={"sse_heartbeat_seconds": 3600.0}), runs=False)
    try:
        yield portal
    finally:
        portal.stop()
