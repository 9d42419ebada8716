"""Waiting for what a test expects, with one limit for the whole suite, so that a busy machine fails no test."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")

WAIT_SECONDS: Final = float(os.environ.get("TEST_WAIT_SECONDS", "60"))
"""How long a test waits for anything that must happen. It never says how fast something is."""

_PAUSE_SECONDS: Final = 0.01


def wait_until(
    check: Callable[[], T | None], *, tell: Callable[[], Any] | None = None, pause: float = _PAUSE_SECONDS
) -> T:
    """Return the first true answer of `check`. Raises AssertionError after WAIT_SECONDS, with what `tell` says."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := check()):
        assert time.monotonic() < deadline, _late(found, tell)
        time.sleep(pause)
    return found


@overload
async def until(
    check: Callable[[], Awaitable[T | None]], *, tell: Callable[[], Any] | None = None, pause: float = _PAUSE_SECONDS
) -> T: ...


@overload
async def until(
    check: Callable[[], T | None], *, tell: Callable[[], Any] | None = None, pause: float = _PAUSE_SECONDS
) -> T: ...


async def until(
    check: Callable[[], Any], *, tell: Callable[[], Any] | None = None, pause: float = _PAUSE_SECONDS
) -> Any:
    """Do the same without blocking the event loop; `check` may be a coroutine function."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = check()
        found = await answer if isinstance(answer, Awaitable) else answer
        if found:
            return found
        assert time.monotonic() < deadline, _late(found, tell)
        await asyncio.sleep(pause)


def _late(found: object, tell: Callable[[], Any] | None) -> str:
    return f"Not within {WAIT_SECONDS:g} s; the last answer was {found!r}. {tell() if tell else ''}"
