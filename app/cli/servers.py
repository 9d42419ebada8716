"""Servers in one process: the portal, the emulator, or both, until a signal."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any

import typer
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette

from app.config.settings import Settings
from app.main import begin_shutdown, create_app, wait_for_last_answers
from app.sandbox import SandboxSettings, create_emulator, wire_class
from app.web.middleware.slow_clients import connection_class, listen

# Streams and removals under way are told to come back; then connections are closed.
_GRACE_SECONDS = 3
# Then those that are still under way are cut, and answered that the portal stops.
_LAST_ANSWERS_SECONDS = 3


class Server:
    """One application on one port, beside others in this process."""

    def __init__(
        self, application: Starlette, host: str, port: int, *, seconds: float | None = None, **config: Any
    ) -> None:
        """`seconds`: how long a client may read nothing of an answer; `config`: settings of uvicorn."""
        self._application = application
        self._host, self._port, self._seconds = host, port, seconds
        self._server = uvicorn.Server(
            # The application's lifespan is entered below.
            uvicorn.Config(application, log_config=None, access_log=False, ws="none", lifespan="off", **config)
        )

    @property
    def started(self) -> bool:
        """Whether it accepts connections."""
        return self._server.started

    @property
    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the event loop that suits it."""
        return self._server.config.get_loop_factory()

    async def serve(self) -> None:
        """Serve while the application's lifespan lasts; what keeps it from beginning is raised, not printed."""
        async with self._application.router.lifespan_context(self._application):
            try:
                sockets = listen(self._host, self._port, self._seconds)
            except OSError:
                where = f"{self._host} port {self._port}"
                typer.echo(f"error: cannot serve on {where}: it is in use, or not allowed", err=True)
                return
            await self._server.serve(sockets)
            if isinstance(self._application, FastAPI):
                await wait_for_last_answers(self._application, _LAST_ANSWERS_SECONDS)

    def stop(self) -> None:
        """Stop to accept connections, and have `serve` return once the last answers are given."""
        self._server.should_exit = True
        if isinstance(self._application, FastAPI):
            begin_shutdown(self._application)


def portal_server(settings: Settings, *, runs: bool = True) -> Server:
    """Return a server of the portal. `runs`: whether it runs deployments, or leaves them to others."""
    return Server(
        create_app(settings, runs=runs),
        settings.host,
        settings.port,
        seconds=settings.request_timeout_seconds,
        http=connection_class(settings.request_timeout_seconds),
        proxy_headers=False,  # the application sees to them
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def emulator_server(settings: SandboxSettings, host: str, port: int) -> Server:
    """Return a server of the emulated Dokploy."""
    return Server(create_emulator(settings), host, port, http=wire_class(), timeout_graceful_shutdown=1)


def run(*servers: Server) -> None:
    """Run servers side by side until a signal; the last one is stopped first, as it uses the others."""
    with asyncio.Runner(loop_factory=servers[0].loop_factory) as runner:
        failed = runner.run(_serve(servers))
    if failed:
        sys.exit(1)


async def _serve(servers: tuple[Server, ...]) -> bool:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    tasks: list[asyncio.Task[None]] = []
    failed = False
    for server in servers:
        tasks.append(asyncio.create_task(server.serve()))
        while not (server.started or tasks[-1].done() or stop.is_set()):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if not server.started:
            failed = not stop.is_set()
            break
    if not failed:
        # What the start has made stays for good. Looked through at each full collection it would hold up the loop.
        gc.collect()
        gc.freeze()
        await asyncio.wait([asyncio.create_task(stop.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
    for server, task in reversed(list(zip(servers, tasks, strict=False))):
        server.stop()
        if not server.started:
            task.cancel()  # it may still wait for its store
        await asyncio.wait([task])
    for task in tasks:
        if not task.cancelled():
            task.result()  # what kept it from starting
    return failed
