"""Servers in one process: the portal, the emulator, or both, until a signal."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator

import typer
import uvicorn
from fastapi import FastAPI

from app.config.settings import Settings
from app.main import begin_shutdown, create_app
from app.sandbox import SandboxSettings, create_emulator
from app.web.middleware.slow_clients import timely

# Streams and removals under way are told to come back; then connections are closed.
_GRACE_SECONDS = 3
# Then those that are still under way are cut, and answered that the portal stops.
_LAST_ANSWERS_SECONDS = 3


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them, and tells streams when it is to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve while the application's lifespan lasts; what keeps it from beginning is raised, not printed."""
        application = self.config.app
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(application, FastAPI):
                await stack.enter_async_context(application.router.lifespan_context(application))
            await super().serve(sockets)
            # It cancels them and does not wait; what they use is closed next.
            if cut := self.server_state.tasks:
                await asyncio.wait(cut, timeout=_LAST_ANSWERS_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, or say in one line why not: uvicorn would end the process from the middle of its loop."""
        try:
            await super().startup(sockets)
        except SystemExit:
            self.should_exit = True
            where = f"{self.config.host} port {self.config.port}"
            typer.echo(f"error: cannot serve on {where}: it is in use, or not allowed", err=True)


def portal_server(settings: Settings, *, runs: bool = True) -> Server:
    """Return a server of the portal. `runs`: whether it runs deployments, or leaves them to others."""
    return Server(
        uvicorn.Config(
            create_app(settings, runs=runs),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the application sees to them
            server_header=False,
            http=timely(settings.request_timeout_seconds),
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="none",
            lifespan="off",  # `Server` sees to it
        )
    )


def emulator_server(settings: SandboxSettings, host: str, port: int) -> Server:
    """Return a server of the emulated Dokploy."""
    return Server(
        uvicorn.Config(
            create_emulator(settings),
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            ws="none",
        )
    )


def run(*servers: Server) -> None:
    """Run servers side by side until a signal; the last one is stopped first, as it uses the others."""
    with asyncio.Runner(loop_factory=servers[0].config.get_loop_factory()) as runner:
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
        server.should_exit = True
        if isinstance(server.config.app, FastAPI):
            begin_shutdown(server.config.app)
        if not server.started:
            task.cancel()  # it may still wait for its store
        await asyncio.wait([task])
    for task in tasks:
        if not task.cancelled():
            task.result()  # what kept it from starting
    return failed
