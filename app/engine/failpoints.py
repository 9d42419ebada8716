"""Failpoints: named places at which tests crash the program. Off unless `FAILPOINTS` is set.

A point stands before and after each call to Dokploy (`before project.create#1`) and each transaction that writes
(`after Journal._write#3`); `#` counts how often this process came by. `trace:<file>` writes the names of the points
passed into a file, one a line; `kill:<point>` ends the process by SIGKILL at that point, as a power cut would;
`hold:<point>` does so a moment later, in which whoever passes the point waits there and everything else goes on.
"""

import asyncio
import functools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

import httpx
import structlog
from sqlalchemy import Connection

from app.errors import SettingsError
from app.store.engine import Database

log = structlog.get_logger()

T = TypeVar("T")

VARIABLE: Final = "FAILPOINTS"
# By the clock rather than by what is done, so that they would be another point in each run.
_PERIODIC: Final = frozenset({"Leases.renew", "Retention.claim", "Retention._delete", "Retention._give_back"})
# Long enough for a stream to send what was written, and for a call made beside this one to be answered.
_MOMENT: Final = 0.05


class Failpoints:
    """The points of one process, and what happens at them."""

    def __init__(self, *, trace: Path | None = None, death: str | None = None, moment: float = 0.0) -> None:
        """`trace`: where names are written; `death`: the point at which to die, after a `moment` in seconds."""
        self._trace = trace
        self._death = death
        self._moment = moment
        self._counts: Counter[str] = Counter()

    @classmethod
    def from_environment(cls) -> Self | None:
        """Read `FAILPOINTS`; return None where it is not set, as always outside a test."""
        given = os.environ.get(VARIABLE)
        if not given:
            return None
        log.warning("failpoints", given=given)
        match given.partition(":"):
            case "trace", _, str(file) if file:
                return cls(trace=Path(file))
            case "kill", _, str(point) if point:
                return cls(death=point)
            case "hold", _, str(point) if point:
                return cls(death=point, moment=_MOMENT)
        raise SettingsError(f"{VARIABLE} is malformed; for example {VARIABLE}='kill:after project.create#1'")

    def wrap(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """Put a point before and after each call over a transport."""
        return _Calls(transport, self)

    def open(self, url: str) -> Database:
        """Open a store with a point before and after each transaction that writes."""
        return _Writes(url, self)

    @asynccontextmanager
    async def around(self, what: str) -> AsyncIterator[None]:
        """Pass the two points around something, whether it fails or not."""
        self._counts[what] += 1
        name = f"{what}#{self._counts[what]}"
        await self._pass(f"before {name}")
        try:
            yield
        finally:
            await self._pass(f"after {name}")

    async def _pass(self, point: str) -> None:
        if self._trace is not None:
            with self._trace.open("a") as file:
                file.write(f"{point}\n")
        if point == self._death:
            if self._moment:
                await asyncio.sleep(self._moment)
            os.kill(os.getpid(), signal.SIGKILL)


class _Calls(httpx.AsyncBaseTransport):
    """A transport with a point before a request is sent and one once the answer, or the failure, is there."""

    def __init__(self, inner: httpx.AsyncBaseTransport, points: Failpoints) -> None:
        self._inner = inner
        self._points = points

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self._points.around(request.url.path.rpartition("/")[2]):
            return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Writes(Database):
    """A store with a point before a transaction begins and one once it is committed, or rolled back."""

    def __init__(self, url: str, points: Failpoints) -> None:
        super().__init__(url)
        self._points = points

    async def write(self, work: Callable[[Connection], T]) -> T:
        name = _name_of(work)
        if name in _PERIODIC:
            return await super().write(work)
        async with self._points.around(name):
            return await super().write(work)

    async def write_without_deadline(self, work: Callable[[Connection], T]) -> T:
        async with self._points.around(_name_of(work)):
            return await super().write_without_deadline(work)


def _name_of(work: Callable[..., object]) -> str:
    """Whose transaction it is: `Leases.claim` for the function `take` within it."""
    while isinstance(work, functools.partial):
        work = work.func
    return work.__qualname__.partition(".<locals>")[0]
