"""The portal with one more task in its loop, which notes how late the loop gets to it: run as `python -m app` is.

`LAG_FILE` gets a line for each sample at the end: the moment on the clock that all processes of a machine share, and the
delay in seconds.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app import cli
from app.cli import servers
from app.config.settings import Settings

SLEEP = 0.01


async def _sample(samples: list[tuple[float, float]]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(SLEEP)
        now = time.monotonic()
        samples.append((now, now - began - SLEEP))


def _sampled(create: Any) -> Any:
    def create_app(settings: Settings, **options: Any) -> FastAPI:
        app: FastAPI = create(settings, **options)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(given: FastAPI) -> AsyncIterator[Any]:
            samples: list[tuple[float, float]] = []
            task = asyncio.create_task(_sample(samples))
            try:
                async with inner(given) as state:
                    yield state
            finally:
                task.cancel()
                lines = (f"{at} {delay}\n" for at, delay in samples)
                Path(os.environ["LAG_FILE"]).write_text("".join(lines))  # noqa: ASYNC240 - the loop is over

        app.router.lifespan_context = lifespan
        return app

    return create_app


if __name__ == "__main__":
    servers.create_app = _sampled(servers.create_app)  # type: ignore[attr-defined]
    cli.main()
