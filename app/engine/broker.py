"""The broker of live events: passes on what this process writes, and reads the rest once for all watchers."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final

from app.deployments.events import RecordedEvent
from app.deployments.queries import PAGE
from app.store.errors import StoreAway

# Events that a channel keeps in memory; who is further behind reads from the store.
_KEPT: Final = 200

ReadEvents = Callable[[str, int], Awaitable[Sequence[RecordedEvent]]]


class _Channel:
    """The watchers of one deployment, and its newest events without a gap between them."""

    def __init__(self) -> None:
        self.places: dict[object, int] = {}  # how far each watcher has read
        self.recent: deque[RecordedEvent] = deque(maxlen=_KEPT)
        self.last = 0
        self.stale = False
        self.looked_at = 0.0
        self.change = asyncio.Event()
        """Set at the next wake-up from now on."""

    def push(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            if event.n <= self.last:
                continue
            if self.recent and event.n != self.recent[-1].n + 1:
                self.recent.clear()
            self.recent.append(event)
            self.last = event.n
        self.wake()

    def wake(self) -> None:
        """Wake everyone who waits now; who comes later waits for the next time."""
        change, self.change = self.change, asyncio.Event()
        change.set()

    def after(self, n: int) -> list[RecordedEvent] | None:
        """Events after number n, or None where memory does not reach back that far."""
        if not self.recent or self.recent[0].n > n + 1:
            return None
        return [event for event in self.recent if event.n > n]


class Broker:
    """Hands events on to watchers. Numbers are per deployment, so a watcher's place is one number."""

    def __init__(self, read: ReadEvents) -> None:
        """`read(deployment_id, n)` reads the events after number n from the store, in order."""
        self._read = read
        self._channels: dict[str, _Channel] = {}

    @property
    def watchers(self) -> int:
        """How many streams are open in this process."""
        return sum(len(channel.places) for channel in self._channels.values())

    def is_watched(self, deployment_id: str) -> bool:
        """Whether somebody watches a deployment here."""
        return deployment_id in self._channels

    def publish(self, deployment_id: str, events: Sequence[RecordedEvent]) -> None:
        """Hand on what this process has just written."""
        if channel := self._channels.get(deployment_id):
            channel.push(events)

    def poke(self, deployment_id: str, last: int | None = None) -> None:
        """Say that another process may have written something; watchers look into the store.

        last: the number of what was written, where it is known; what is here already is not looked for again, as when
        this process hears of its own events.
        """
        channel = self._channels.get(deployment_id)
        if channel is not None and (last is None or last > channel.last):
            channel.stale = True
            channel.wake()

    def poke_all(self) -> None:
        """Say that anything may have been missed."""
        for deployment_id in list(self._channels):
            self.poke(deployment_id)

    async def follow(self, deployment_id: str, after: int, *, quiet: float) -> AsyncIterator[Sequence[RecordedEvent]]:
        """Yield batches of events after a number, in order and without gaps, as they come; an empty one each `quiet` s.

        An empty one also comes when all are poked and there is nothing new: a reader may want to leave then. Never ends
        by itself: the reader stops at the event that completes the deployment. While the store is away there is nothing
        new.
        """
        watcher = object()
        with self._joined(deployment_id, watcher, after) as channel:
            # Taken before looking, so that what comes meanwhile wakes us.
            change = channel.change
            events: Sequence[RecordedEvent] = ()
            try:
                events = await self._read(deployment_id, after)
            except StoreAway:
                channel.stale = True
            if len(events) >= PAGE:  # there may be more
                channel.stale = True
            while True:
                if not events:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(quiet):
                            await change.wait()
                    if not change.is_set() and time.monotonic() - channel.looked_at > quiet / 2:
                        channel.stale = True  # a notification may be lost, and SQLite has none between processes
                    events = await self._next(channel, deployment_id, after)
                if events:
                    after = channel.places[watcher] = events[-1].n
                yield events
                change = channel.change
                events = await self._next(channel, deployment_id, after)

    async def _next(self, channel: _Channel, deployment_id: str, after: int) -> Sequence[RecordedEvent]:
        try:
            return await self._look(channel, deployment_id, after)
        except StoreAway:
            # Nobody is woken for that: all would look at once, and wake each other for ever.
            channel.stale = True
            return ()

    async def _look(self, channel: _Channel, deployment_id: str, after: int) -> Sequence[RecordedEvent]:
        if channel.stale:
            channel.stale = False  # one watcher looks for all, also for one that is less far than itself
            channel.looked_at = time.monotonic()
            try:
                found = await self._read(deployment_id, max(channel.last, min(channel.places.values())))
                channel.push(found)
                if len(found) >= PAGE:
                    channel.stale = True
            except StoreAway:
                raise
            except BaseException:
                self.poke(deployment_id)
                raise
        if channel.last <= after:
            return ()
        events = channel.after(after)
        return events if events is not None else await self._read(deployment_id, after)

    @contextlib.contextmanager
    def _joined(self, deployment_id: str, watcher: object, place: int) -> Iterator[_Channel]:
        channel = self._channels.setdefault(deployment_id, _Channel())
        channel.places[watcher] = place
        try:
            yield channel
        finally:
            del channel.places[watcher]
            if not channel.places:
                self._channels.pop(deployment_id, None)
