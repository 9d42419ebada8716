"""The feed: nothing is lost between reading and waiting, and nobody reads twice what is in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from app.deployments.events import RecordedEvent
from app.deployments.queries import PAGE
from app.deployments.states import Status
from app.engine.broker import Broker
from app.store.errors import StoreAway
from tests.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.anyio

D = "one"
# So long that only a wake-up helps.
QUIET = 3600.0


def event(n: int, deployment_id: str = D) -> RecordedEvent:
    return RecordedEvent(
        deployment_id, n, datetime(2025, 1, 1, tzinfo=UTC), "log_line", "log_line", {}, Status.DEPLOY, False, None
    )


class Store:
    """Events in memory, read in pages, with a moment in the middle of each read that a test can use."""

    def __init__(self, count: int = 0) -> None:
        self.events = [event(n) for n in range(1, count + 1)]
        self.reads: list[int] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.fails = 0
        self.away = False

    async def read(self, deployment_id: str, after: int) -> Sequence[RecordedEvent]:
        assert deployment_id == D
        self.reads.append(after)
        self.before()
        if self.away:
            raise StoreAway("away")
        if self.fails:
            self.fails -= 1
            raise OSError("a mistake")
        found = [each for each in self.events if each.n > after][:PAGE]
        await asyncio.sleep(0)
        self.after()
        return found

    def write(self, count: int = 1) -> list[RecordedEvent]:
        new = [event(len(self.events) + number) for number in range(1, count + 1)]
        self.events += new
        return new


class Watcher:
    """Follows in a task and keeps what it saw."""

    def __init__(self, broker: Broker, after: int = 0, quiet: float = QUIET) -> None:
        self.seen: list[int] = []
        self.quiets = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._follow(broker, after, quiet))

    async def _follow(self, broker: Broker, after: int, quiet: float) -> None:
        async with aclosing(broker.follow(D, after, quiet=quiet)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                self.seen += [each.n for each in batch]
                self.quiets += not batch
                self._more.set()

    async def until(self, last: int) -> list[int]:
        """Wait until an event was seen."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.seen or self.seen[-1] < last:
                self._more.clear()
                waiting = asyncio.ensure_future(self._more.wait())
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self._task.done():
                    self._task.result()
        return self.seen

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def follow() -> AsyncIterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def begin(broker: Broker, after: int = 0, quiet: float = QUIET) -> Watcher:
        watchers.append(Watcher(broker, after, quiet))
        return watchers[-1]

    yield begin
    for watcher in watchers:
        await watcher.leave()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_replay_and_then_live(follow):
    store = Store(3)
    broker = Broker(store.read)
    watcher = follow(broker, after=1)
    await watcher.until(3)

    broker.publish(D, store.write(2))

    assert await watcher.until(5) == [2, 3, 4, 5]
    assert store.reads == [1], "what was published came from memory"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_is_published_during_the_first_read_is_not_lost(follow, moment: str):
    store = Store(2)
    broker = Broker(store.read)
    once = [True]

    def publish() -> None:
        if once.pop() if once else False:
            broker.publish(D, store.write())

    setattr(store, moment, publish)

    assert await follow(broker).until(3) == [1, 2, 3]


async def test_a_poke_of_all_during_the_first_read_is_not_lost():
    """The process is told to stop while somebody begins to watch: he must get to leave."""
    store = Store()
    broker = Broker(store.read)
    batches = broker.follow(D, 0, quiet=QUIET)

    def poke_once() -> None:
        store.after = lambda: None
        broker.poke_all()

    store.after = poke_once

    async with asyncio.timeout(WAIT_SECONDS):
        assert list(await anext(batches)) == []
    await batches.aclose()  # type: ignore[attr-defined]


async def test_what_is_published_between_reading_and_waiting_is_not_lost():
    store = Store(1)
    broker = Broker(store.read)
    batches = broker.follow(D, 0, quiet=QUIET)
    assert [each.n for each in await anext(batches)] == [1]

    broker.publish(D, store.write())  # nobody waits at this moment: the reader is busy with the first

    async with asyncio.timeout(WAIT_SECONDS):
        assert [each.n for each in await anext(batches)] == [2]
    await batches.aclose()  # type: ignore[attr-defined]


async def test_a_poke_during_the_look_it_asks_for_is_not_lost(follow):
    """Another process commits right after our look into the store began; its poke comes before we wait."""
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)
    await settle()

    def poke_while_reading() -> None:
        store.before = lambda: None
        broker.poke(D)
        store.after = write_after_reading

    def write_after_reading() -> None:
        store.after = lambda: None
        store.write()

    store.before = poke_while_reading
    broker.poke(D)

    assert await watcher.until(2) == [1, 2]


async def test_who_has_just_come_does_not_take_a_wake_up_from_who_waits(follow):
    """A newcomer's own first read has the new event; its look for all must not begin after it."""
    store = Store(5)
    broker = Broker(store.read)
    waiting = follow(broker, after=5)
    await settle()

    store.write()
    newcomer = follow(broker, after=5)

    def poke_once():
        store.before = lambda: None
        broker.poke(D)

    store.before = poke_once

    assert await newcomer.until(6) == [6]
    assert await waiting.until(6) == [6]


async def test_who_is_ahead_does_not_look_for_who_is_behind(follow):
    store = Store(5)
    broker = Broker(store.read)
    ahead = follow(broker, after=6)
    behind = follow(broker, after=5)
    await settle()

    store.write()
    broker.poke(D)

    assert await behind.until(6) == [6]
    broker.publish(D, store.write())
    assert await ahead.until(7) == [7]


async def test_a_poke_for_what_is_here_already_asks_the_store_nothing(follow):
    """A process hears of its own events too."""
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)
    store.reads.clear()

    broker.publish(D, store.write())
    broker.poke(D, 2)
    assert await watcher.until(2) == [1, 2]
    await asyncio.sleep(0)
    assert store.reads == []

    store.write()
    broker.poke(D, 3)
    assert await watcher.until(3) == [1, 2, 3]


async def test_a_hundred_watchers_look_into_the_store_once_for_a_poke(follow):
    store = Store(1)
    broker = Broker(store.read)
    watchers = [follow(broker) for _ in range(100)]
    for watcher in watchers:
        await watcher.until(1)
    store.reads.clear()

    store.write()
    broker.poke(D)
    for watcher in watchers:
        assert await watcher.until(2) == [1, 2]

    assert len(store.reads) == 1


async def test_who_is_far_behind_reads_from_the_store():
    store = Store(1)
    broker = Broker(store.read)
    batches = broker.follow(D, 0, quiet=QUIET)
    await anext(batches)

    for _ in range(300):  # more than memory keeps
        broker.publish(D, store.write())
    store.reads.clear()

    seen: list[int] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(seen) < 300:
            seen += [each.n for each in await anext(batches)]
    assert seen == list(range(2, 302))
    assert store.reads == [1]
    await batches.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 100])
async def test_a_log_of_many_pages_is_read_to_its_end(follow, count: int):
    store = Store(count)

    assert await follow(Broker(store.read)).until(count) == list(range(1, count + 1))


async def test_many_pages_written_by_another_process_are_read_to_their_end(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)

    store.write(2 * PAGE + 100)
    broker.poke(D)

    assert await watcher.until(2 * PAGE + 101) == list(range(1, 2 * PAGE + 102))


async def test_a_gap_between_published_events_is_filled_from_the_store(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)

    broker.publish(D, store.write())
    store.write()  # by another process that held the run for a moment
    broker.publish(D, store.write())

    assert await watcher.until(4) == [1, 2, 3, 4]


async def test_published_twice_is_seen_once(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)

    new = store.write()
    broker.publish(D, new)
    broker.publish(D, new)
    broker.poke(D)
    await settle()

    assert watcher.seen == [1, 2]


async def test_a_look_that_failed_is_looked_at_again_by_the_next(follow):
    store = Store(1)
    broker = Broker(store.read)
    first, second = follow(broker), follow(broker)
    await first.until(1)
    await second.until(1)

    store.write()
    store.fails = 1
    broker.poke(D)
    await settle()

    seen = sorted([first.seen, second.seen], key=len)
    assert seen == [[1], [1, 2]], "one met the failure, the other looked again"


async def test_while_the_store_is_away_watchers_wait_and_then_see_everything_once(follow):
    store = Store(3)
    store.away = True
    broker = Broker(store.read)
    watchers = [follow(broker, quiet=0.05) for _ in range(20)]
    await until(lambda: min(watcher.quiets for watcher in watchers) >= 4)
    # Two looks in each silence, and those at the beginning.
    most = sum(2 * watcher.quiets + 3 for watcher in watchers)
    assert len(store.reads) <= most, "they do not wake each other to look again at once"

    broker.publish(D, store.write())
    store.away = False

    for watcher in watchers:
        assert await watcher.until(4) == [1, 2, 3, 4]


async def test_a_store_that_goes_away_in_between_ends_no_stream(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker, quiet=0.02)
    await watcher.until(1)
    store.write()
    store.away = True
    broker.poke(D)
    silences = watcher.quiets
    await until(lambda: watcher.quiets > silences + 2)
    assert watcher.seen == [1]

    store.away = False

    assert await watcher.until(2) == [1, 2]


async def test_silence_is_told_and_nothing_is_lost_by_it(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker, quiet=0.01)
    await watcher.until(1)
    await until(lambda: watcher.quiets >= 3)

    broker.publish(D, store.write())

    assert await watcher.until(2) == [1, 2]


async def test_deployments_do_not_mix(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)

    broker.publish("another", [event(2, "another")])
    await settle()

    assert watcher.seen == [1]
    assert not broker.is_watched("another")


async def test_who_leaves_is_forgotten():
    store = Store(1)
    broker = Broker(store.read)
    watcher, other = Watcher(broker), Watcher(broker)
    await watcher.until(1)
    assert (broker.watchers, broker.is_watched(D)) == (2, True)

    await watcher.leave()
    assert (broker.watchers, broker.is_watched(D)) == (1, True)
    await other.leave()

    assert (broker.watchers, broker.is_watched(D)) == (0, False)
    broker.publish(D, store.write())
    broker.poke(D)
    broker.poke_all()


async def test_everybody_looks_after_a_break(follow):
    store = Store(1)
    broker = Broker(store.read)
    watcher = follow(broker)
    await watcher.until(1)
    store.write()

    broker.poke_all()

    assert await watcher.until(2) == [1, 2]
