"""The circuit breaker: pauses calls to a Dokploy that does not answer, then tries one."""

import math
import time
from collections.abc import Callable
from typing import Final, Literal

from app.dokploy.errors import (
    DokployCircuitOpen,
    DokployDatabaseDown,
    DokployError,
    DokployKeyRefused,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)

State = Literal["closed", "open", "half_open"]

# What says that Dokploy itself cannot be had. An answer about one call, also a 500, says that it can.
_AWAY: Final = (DokployUnreachable, DokployTimeout, DokployKeyRefused, DokployDatabaseDown)


class Circuit:
    """Opens after so many failures in a row; while open no call is made; then one that succeeds closes it again.

    state: `open` also while nobody has tried again although he may.
    """

    def __init__(
        self,
        *,
        failures: int,
        seconds: float,
        changed: Callable[[State, str], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: how long it stays open; `changed` is told each new state and why."""
        self.state: State = "closed"
        self._failures_to_open = failures
        self._seconds_open = seconds
        self._changed = changed
        self._clock = clock
        self._failures = 0
        self._ends_at = 0.0
        self._cause: DokployError | None = None

    @property
    def seconds_left(self) -> int:
        """Whole seconds until calls are made again; 0 when they are."""
        return max(1, math.ceil(self._ends_at - self._clock())) if self.state == "open" else 0

    def before(self, call: str) -> None:
        """Raise DokployCircuitOpen where the call is not to be made."""
        if self.state != "open":
            return
        if self._clock() < self._ends_at:
            message = f"not asked; Dokploy is asked again in {self.seconds_left} s"
            raise DokployCircuitOpen(call, message, cause=self._cause)
        self._become("half_open", "it is asked again")

    def after(self, error: DokployError | None) -> None:
        """Take note of how a call ended. One that was begun before the circuit opened changes nothing."""
        if error is None or not _is_away(error):
            self._failures = 0
            if self.state == "half_open":
                self._become("closed", str(error or "it answers"))
            return
        self._cause = error
        self._failures += 1
        if self.state == "half_open" or (self.state == "closed" and self._failures >= self._failures_to_open):
            self._ends_at = self._clock() + self._seconds_open
            self._become("open", str(error))

    def _become(self, state: State, why: str) -> None:
        self.state = state
        self._failures = 0
        self._changed(state, why)


def _is_away(error: DokployError) -> bool:
    """Whether a failure says that Dokploy cannot be had at all; a proxy says so with a 502 and a page of its own."""
    if isinstance(error, DokployUnreadable):
        return error.status is None or error.status >= 500
    return isinstance(error, _AWAY)
