"""The circuit breaker: a Dokploy that does not answer is left alone for a while, and then asked once more."""

import math
import time
from collections.abc import Callable
from typing import Final, Literal

from purgatory.domain.model import Context, OpenedState

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

_STATES: Final[dict[str, State]] = {"closed": "closed", "opened": "open", "half-opened": "half_open"}
# What says that Dokploy itself cannot be had. An answer about one call, also a 500, says that it can.
_AWAY: Final = (DokployUnreachable, DokployTimeout, DokployKeyRefused, DokployDatabaseDown)


class Circuit:
    """Opens after so many failures in a row; while open no call is made; then one that succeeds closes it again."""

    def __init__(
        self, *, failures: int, seconds: float, changed: Callable[[State, str], None] = lambda *_: None
    ) -> None:
        """`seconds`: how long it stays open; `changed` is told each new state and why."""
        self._context = Context("dokploy", threshold=failures, ttl=seconds)
        self._changed = changed
        self._cause: DokployError | None = None

    @property
    def state(self) -> State:
        """Where it stands; `open` also while nobody has tried again although he may."""
        return _STATES[self._context.state]

    @property
    def seconds_left(self) -> int:
        """Whole seconds until calls are made again; 0 when they are."""
        if self.state != "open":
            return 0
        return max(1, math.ceil((self._context.opened_at or 0.0) + self._context.ttl - time.time()))

    def before(self, call: str) -> None:
        """Raise DokployCircuitOpen where the call is not to be made."""
        state = self.state
        try:
            self._context.handle_new_request()
        except OpenedState as opened:
            # The library raises one and the same exception each time, and its traceback would grow for ever.
            opened.__traceback__ = None
            message = f"not asked; Dokploy is asked again in {self.seconds_left} s"
            raise DokployCircuitOpen(call, message, cause=self._cause) from None
        self._tell(state, "it is asked again")

    def after(self, error: DokployError | None) -> None:
        """Take note of how a call ended."""
        state = self.state
        if error is not None and _is_away(error):
            self._cause = error
            self._context.handle_exception(error)
        else:
            self._context.handle_end_request()
        self._tell(state, str(error or "it answers"))

    def _tell(self, before: State, why: str) -> None:
        self._context.messages.clear()
        if self.state != before:
            self._changed(self.state, why)


def _is_away(error: DokployError) -> bool:
    """Whether a failure says that Dokploy cannot be had at all; a proxy says so with a 502 and a page of its own."""
    if isinstance(error, DokployUnreadable):
        return error.status is None or error.status >= 500
    return isinstance(error, _AWAY)
