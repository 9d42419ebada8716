"""Outages of Dokploy during a run: which calls wait for their end, for how long, and how often the run is told."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from app.config.settings import Settings
from app.deployments.events import Event, Warned
from app.dokploy import DokployError, DokployKeyRefused, DokployServerError
from app.dokploy.connection import Connection
from app.engine.clock import LONGEST_PAUSE, Clock
from app.engine.run import Run
from app.observation.error_mapping import is_away

T = TypeVar("T")

# A call that Dokploy itself refuses with a 5xx is made again for so long; while removing, longer.
_REFUSED_SECONDS: Final = 0.5
# An outage is told once it is more than a blink.
_BLINK_SECONDS: Final = 1.0


class Outages:
    """Outages as one run sees them. Its `persist` satisfies the client's `Persistence`."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        connection: Connection,
        clock: Clock,
        tell: Callable[[Event], Awaitable[None]],
    ) -> None:
        """`tell` records an event of the run."""
        self._run = run
        self._settings = settings
        self._connection = connection
        self._clock = clock
        self._tell = tell
        self._told = False

    async def persist(self, make: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Make a call; while Dokploy is away, wait for it and make the call again.

        A call that may have had its effect, and must not have it twice, is not made again: its error is raised.
        Raises DokployError also when the patience is over; `canceled` or RunLost while waiting.
        """
        began: float | None = None
        pause = 0.1
        try:
            while True:
                try:
                    answer = await make()
                except DokployError as error:
                    now = time.monotonic()
                    if began is None:
                        began = now
                        self._clock.begin_outage()
                    if (error.uncertain and not repeatable) or now + pause - began > self._patience_with(error):
                        raise
                    if now - began > _BLINK_SECONDS:
                        await self._tell_away(error)
                    await self._clock.pause(pause)
                    pause = min(pause * 1.6, LONGEST_PAUSE)
                else:
                    if began is not None:
                        self._told = False
                    return answer
        finally:
            if began is not None:
                self._clock.end_outage()

    def _patience_with(self, error: DokployError) -> float:
        removing = self._run.undoing or self._run.operation.ends_stack
        if isinstance(error, DokployKeyRefused) and not removing and not self._connection.key_accepted:
            return 0.0  # not a limit that is used up, but a key that never worked
        if is_away(error):
            return self._settings.dokploy_patience_seconds
        if isinstance(error, DokployServerError):
            return self._settings.undo_timeout_seconds if removing else _REFUSED_SECONDS
        return 0.0

    async def _tell_away(self, error: DokployError) -> None:
        if is_away(error) and not self._told:
            self._told = True
            await self._tell(Warned(code="dokploy_away"))
