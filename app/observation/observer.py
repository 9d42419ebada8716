"""The observer: asks once for all who wait for a change, and wakes those whose part has changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Waiter(Generic[T]):
    """One who waits. due: when to look for it next, at the latest at its `end`, by the monotonic clock."""

    part: Callable[[T], Hashable]
    before: Hashable
    interval: Callable[[], float]
    end: float
    due: float
    told: asyncio.Future[T]

    def look(self, seen: T) -> None:
        """Tell what was seen where its part has changed, or its time is over; else look again later."""
        now = time.monotonic()
        if self.told.done():
            return
        if now >= self.end or self.part(seen) != self.before:
            self.told.set_result(seen)
        else:
            self.due = min(now + self.interval(), self.end)


class Observer(Generic[T]):
    """Waits for changes in something that has to be asked for, with one question for everybody.

    Hundreds who ask in turn would each be woken, and find nothing new, for every look of their own.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        """`read` asks, however often it is called."""
        self._read = read
        self._waiters: set[_Waiter[T]] = set()
        self._joined = asyncio.Event()
        self._observing: asyncio.Task[None] | None = None

    async def change(
        self, part: Callable[[T], Hashable], before: T, *, interval: Callable[[], float], within: float
    ) -> T:
        """Return what is seen once a part of it differs from what it was before, or after `within` seconds.

        interval: seconds from one look to the next, asked anew each time; others may be the reason to look sooner.
        Raises what asking raises.
        """
        now = time.monotonic()
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(part, part(before), interval, now + within, now + min(interval(), within), told)
        self._waiters.add(waiter)
        self._joined.set()
        if self._observing is None:
            self._observing = asyncio.create_task(self._observe(), name="observe")
        try:
            return await told
        finally:
            self._waiters.discard(waiter)

    async def _observe(self) -> None:
        try:
            while self._waiters:
                pause = min(waiter.due for waiter in self._waiters) - time.monotonic()
                if pause > 0:
                    self._joined.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._joined.wait()
                else:
                    await self._look()
        finally:
            self._observing = None

    async def _look(self) -> None:
        # Whoever joins meanwhile is to see nothing older than its question.
        waiters = list(self._waiters)
        try:
            seen = await self._read()
        except Exception as error:  # noqa: BLE001 - whoever waits knows what it means
            for waiter in waiters:
                self._waiters.discard(waiter)
                if not waiter.told.done():
                    waiter.told.set_exception(error)
                    waiter.told.exception()  # who waits may be gone by the time it would be raised
            return
        for waiter in waiters:
            waiter.look(seen)
            if waiter.told.done():
                self._waiters.discard(waiter)
