"""The clock of a run: pauses that end when it is canceled or handed over, and time that outages do not use up."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from app.deployments.events import CancelRequested, Event
from app.engine.run import Run
from app.engine.saga import RunLost
from app.errors import PortalError

T = TypeVar("T")

LONGEST_PAUSE: Final = 3.0
"""Seconds between two looks at something that takes time, at most."""


class Clock:
    """One run's time."""

    def __init__(self, run: Run, tell: Callable[[Event], Awaitable[None]]) -> None:
        """`tell` records an event of the run."""
        self._run = run
        self._tell = tell
        self._away_seconds = 0.0
        self._waiting = 0
        self._waiting_since = 0.0
        self._cancel_told = False

    def now(self) -> float:
        """Seconds that run while Dokploy can be had, for deadlines that an outage does not use up."""
        return time.monotonic() - self._away_seconds

    def begin_outage(self) -> None:
        """Note that a call begins to wait for the end of an outage."""
        self._waiting_since = self._waiting_since if self._waiting else time.monotonic()
        self._waiting += 1

    def end_outage(self) -> None:
        """Note that a call waits no more. Those that wait side by side wait through one outage, which counts once."""
        self._waiting -= 1
        if not self._waiting:
            self._away_seconds += time.monotonic() - self._waiting_since

    async def check_canceled(self) -> None:
        """Raise PortalError `canceled` if somebody asked for it; while undoing nothing can be canceled."""
        if self._run.cancel_requested.is_set() and not self._run.undoing:
            # Steps that run side by side find out each for itself, but it was asked for once.
            told, self._cancel_told = self._cancel_told, True
            if not told:
                await self._tell(CancelRequested())
            raise PortalError("canceled")

    async def pause(self, seconds: float) -> None:
        """Wait, unless the run is canceled or handed over meanwhile: then raise `canceled`, or RunLost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._interruption.wait()
        await self._check()

    async def wait_for(self, what: Coroutine[Any, Any, T]) -> T:
        """Wait for something as `pause` waits for a time, and return it."""
        waiting = asyncio.ensure_future(what)
        interruption = asyncio.ensure_future(self._interruption.wait())
        try:
            await asyncio.wait([waiting, interruption], return_when=asyncio.FIRST_COMPLETED)
            await self._check()
            return await waiting
        finally:
            for task in (waiting, interruption):
                task.cancel()
            await asyncio.gather(waiting, interruption, return_exceptions=True)

    @property
    def _interruption(self) -> asyncio.Event:
        # What is being undone cannot be canceled.
        return self._run.stopping if self._run.undoing else self._run.interrupted

    async def _check(self) -> None:
        if self._run.stopping.is_set():
            raise RunLost("handed over")
        await self.check_canceled()


class Patience:
    """Looks again and again for something that takes time, with growing pauses, until its time is over."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """`seconds`: how long in all, outages of Dokploy not counted."""
        self._clock = clock
        self._end = clock.now() + seconds
        self._pause = 0.1

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._clock.now() >= self._end

    async def rest(self) -> None:
        """Pause before the next look, a little longer each time."""
        await self._clock.pause(max(0.0, min(self._pause, self._end - self._clock.now())))
        self._pause = min(self._pause * 1.6, LONGEST_PAUSE)
