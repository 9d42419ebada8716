"""Doubts: calls of a run whose answer was lost, and which may still have their effect in Dokploy."""

import time
from collections.abc import Awaitable, Callable


class Doubts:
    """Creates that may land late, at the end of their deadline: nothing in Dokploy is fenced. By kind of resource."""

    def __init__(self, deadline: float, pause: Callable[[float], Awaitable[None]]) -> None:
        """`deadline`: of one call, in seconds; `pause` waits, unless the run is to stop meanwhile."""
        self._deadline = deadline
        self._pause = pause
        self._lands_until: dict[str, float] = {}
        self._ever: set[str] = set()

    def add(self, kind: str, since: float | None = None) -> None:
        """Note that a create may still land. `since`: when it was sent, by the monotonic clock; now, if unknown."""
        self._ever.add(kind)
        self._lands_until[kind] = (time.monotonic() if since is None else since) + self._deadline

    def is_open(self, kind: str) -> bool:
        """Whether a create may still land, or has landed without anybody having looked."""
        return kind in self._lands_until

    def may_land(self, kind: str) -> bool:
        """Whether its time to land is not over yet."""
        return time.monotonic() < self._lands_until.get(kind, 0.0)

    def may_have_doubled(self, kind: str) -> bool:
        """Whether a create was ever in doubt in this run, so that there may be two of what it creates."""
        return kind in self._ever

    async def wait_out(self, kind: str) -> None:
        """Wait until a create can no longer land, so that whoever looks now sees the truth."""
        if kind in self._lands_until:
            await self._pause(max(0.0, self._lands_until[kind] - time.monotonic()))
            self.clear(kind)

    def clear(self, kind: str) -> None:
        """Note that it is known what became of a create."""
        self._lands_until.pop(kind, None)
