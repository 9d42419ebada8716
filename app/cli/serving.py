"""Commands that serve: the portal, the portal with a sandbox beside it, and the emulator alone."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from app.bootstrap import configure_logging
from app.errors import SettingsError
from app.main import begin_shutdown, create_app
from app.secret_files import is_given
from app.settings import Settings, explain, load_settings, require_closed, require_postgresql
from app.web.connections import timely

if TYPE_CHECKING:
    from app.sandbox import SandboxSettings

# Streams and removals under way are told to come back; then connections are closed.
_GRACE_SECONDS = 3


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; HOST otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; PORT otherwise.")] = None,
    web_only: Annotated[
        bool, typer.Option("--web-only", help="Run no deployments: `runner` does, elsewhere on the same PostgreSQL.")
    ] = False,
) -> None:
    """Serve the portal against the Dokploy server of DOKPLOY_URL."""
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    settings = load_settings(**given)
    require_closed(settings)
    if web_only:
        require_postgresql(settings, "serve --web-only")
    readable = settings.app_env == "development" and sys.stderr.isatty()
    configure_logging(settings.log_level, readable=readable, secrets=settings.secret_values)
    _run(_server(create_app(settings, runs=not web_only), settings))


def sandbox(
    port: Annotated[int | None, typer.Option(help="Port of the portal; the emulator takes the next.")] = None,
) -> None:
    """Serve the portal with an emulated Dokploy beside it. Needs no settings and forgets everything at its end."""
    with tempfile.TemporaryDirectory(prefix="ai-stack-deployer-") as folder:
        settings = sandbox_settings(_port(port, 3000), Path(folder))
        configure_logging(settings.log_level, readable=sys.stderr.isatty(), secrets=settings.secret_values)
        emulator = _emulator_server(settings.host, settings.port + 1)
        portal = _server(create_app(settings), settings)
        typer.echo(f"Portal:           http://localhost:{settings.port}")
        typer.echo(f"Emulated Dokploy: http://localhost:{settings.port + 1}/sandbox/state")
        typer.echo(f"Operator's page:  http://localhost:{settings.port}/operator")
        # One that is set is whoever's who set it, and nothing to print.
        if settings.admin_token and not is_given("admin_token"):
            typer.echo(f"Operator's token: {settings.admin_token.get_secret_value()}")
        _run(emulator, portal)


def emulator(port: Annotated[int | None, typer.Option(help="Port to listen on; PORT otherwise.")] = None) -> None:
    """Serve an emulated Dokploy alone."""
    configure_logging("info", readable=sys.stderr.isatty())
    _run(_emulator_server(os.environ.get("HOST") or "0.0.0.0", _port(port, 3001)))


def sandbox_settings(port: int, folder: Path) -> Settings:
    """Settings for a portal with an emulator on the next port; what is set in the environment counts all the same."""
    token = _read_sandbox_settings().API_TOKEN.get_secret_value()
    values: dict[str, Any] = {
        "app_env": "development",
        "database_url": f"sqlite+aiosqlite:///{folder / 'portal.db'}",
        "dokploy_url": f"http://127.0.0.1:{port + 1}",
        "dokploy_api_token": token,
        "stack_domain_suffix": "localhost",
        "stack_image": "ghcr.io/example/oh-my-opencode:1.0",
        "stack_public_port": port + 1,
        "stack_probe_address": f"127.0.0.1:{port + 1}",
        "certificate_mode": "none",
        "admin_token": secrets.token_urlsafe(12),
        # Nothing is to be saved here, and whoever tries it out tries it out often.
        **dict.fromkeys(("max_stacks", "max_stacks_per_owner", "max_in_flight", "max_in_flight_per_owner"), 0),
        **dict.fromkeys(("rate_per_address", "rate_per_actor", "wrong_credential_rate"), "off"),
        **dict.fromkeys(("deploy_rate_per_address", "deploy_rate_per_actor"), "off"),
        "max_streams_per_address": 0,
    }
    given = {name: value for name, value in values.items() if not is_given(name)}
    return load_settings(_env_file=None, **given, port=port)


def _port(given: int | None, usual: int) -> int:
    if given is not None:
        return given
    text = os.environ.get("PORT") or str(usual)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise SettingsError(f"PORT is not the number of a port; for example PORT={usual}")
    return int(text)


class _Server(uvicorn.Server):
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, or say in one line why not: uvicorn would end the process from the middle of its loop."""
        try:
            await super().startup(sockets)
        except SystemExit:
            self.should_exit = True
            where = f"{self.config.host} port {self.config.port}"
            typer.echo(f"error: cannot serve on {where}: it is in use, or not allowed", err=True)


def _server(application: Any, settings: Settings) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the application sees to them
            server_header=False,
            http=timely(settings.request_timeout_seconds),
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ws="none",
            lifespan="off",  # `_Server` sees to it
        )
    )


def _emulator_server(host: str, port: int) -> _Server:
    from app.sandbox import create_emulator

    emulated = create_emulator(_read_sandbox_settings())
    return _Server(
        uvicorn.Config(
            emulated, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none"
        )
    )


def _read_sandbox_settings() -> "SandboxSettings":
    from app.sandbox import SandboxSettings

    try:
        return SandboxSettings()
    except ValidationError as error:
        raise SettingsError(explain(error, SandboxSettings)) from None


def _run(*servers: _Server) -> None:
    """Run servers side by side until a signal; the last one is stopped first, as it uses the others."""
    with asyncio.Runner(loop_factory=servers[0].config.get_loop_factory()) as runner:
        failed = runner.run(_serve(servers))
    if failed:
        sys.exit(1)


async def _serve(servers: tuple[_Server, ...]) -> bool:
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
