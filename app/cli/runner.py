"""The command `runner`: runs deployments without serving pages; with its health check."""

import asyncio
import contextlib
import os
import signal
import sys

import structlog
import typer
import uvicorn

from app.bootstrap import open_portal
from app.config.settings import Settings, load_settings, require_postgresql
from app.engine.leases import Leases
from app.logging import configure_logging
from app.store.engine import Database

log = structlog.get_logger()


def runner() -> None:
    """Run deployments without serving pages, which `serve --web-only` does. Needs PostgreSQL."""
    settings = load_settings()
    require_postgresql(settings, "runner")
    readable = settings.app_env == "development" and sys.stderr.isatty()
    configure_logging(settings.log_level, readable=readable, secrets=settings.secret_values)
    # The event loop that the other side has, too.
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as loop:
        loop.run(_run(settings))


def check_runner() -> None:
    """Check that a runner on this host is alive, for a container's health check. Exit status 1 if not."""
    settings = load_settings()
    require_postgresql(settings, "check-runner")
    configure_logging(settings.log_level, readable=False, secrets=settings.secret_values)
    try:
        living = asyncio.run(_living_here(settings))
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows that a runner lives
        _fail(f"the store does not answer ({type(error).__name__})")
    if not any(_is_there(pid) for pid in living):
        _fail("no runner of this host holds a lease")


async def _run(settings: Settings) -> None:
    """Run deployments until a signal, and hand them over at once then."""
    stop, is_open = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with open_portal(settings):
            is_open.set()
            log.info("runner_started")
            await stop.wait()

    def end() -> None:
        stop.set()
        if not is_open.is_set():
            running.cancel()  # it still waits for its store

    running = asyncio.create_task(run())
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, end)
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _living_here(settings: Settings) -> list[int]:
    database = Database(settings.database_url)
    try:
        return await Leases(database).living_here()
    finally:
        await database.close()


def _is_there(pid: int) -> bool:
    """Whether there is such a process, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _fail(why: str) -> None:
    typer.echo(f"error: {why}", err=True)
    sys.exit(1)
