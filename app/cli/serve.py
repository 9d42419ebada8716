"""Commands that serve: the portal, the portal with a sandbox beside it, and the emulator alone."""

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from app.config.secret_files import is_given
from app.config.settings import Settings, explain, load_settings, require_closed, require_postgresql
from app.errors import SettingsError
from app.logging import configure_logging

if TYPE_CHECKING:
    from app.sandbox import SandboxSettings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: PORT.")] = None,
    web_only: Annotated[
        bool, typer.Option("--web-only", help="Serve only; `runner` runs the deployments. Needs PostgreSQL.")
    ] = False,
) -> None:
    """Serve the portal for the Dokploy server at DOKPLOY_URL."""
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    settings = load_settings(**given)
    require_closed(settings)
    if web_only:
        require_postgresql(settings, "serve --web-only")
    readable = settings.app_env == "development" and sys.stderr.isatty()
    configure_logging(settings.log_level, readable=readable, secrets=settings.secret_values)
    # Only now, so that a mistake in the settings is told at once.
    from app.cli.servers import portal_server, run

    run(portal_server(settings, runs=not web_only))


def sandbox(
    port: Annotated[int | None, typer.Option(help="Port of the portal. The emulator uses the next one.")] = None,
) -> None:
    """Serve the portal with an emulated Dokploy. Needs no settings, and keeps nothing when it stops."""
    with tempfile.TemporaryDirectory(prefix="ai-stack-deployer-") as folder:
        settings = sandbox_settings(_port(port, 3000), Path(folder))
        configure_logging(settings.log_level, readable=sys.stderr.isatty(), secrets=settings.secret_values)
        from app.cli.servers import emulator_server, portal_server, run

        emulator = emulator_server(_read_sandbox_settings(), settings.host, settings.port + 1)
        portal = portal_server(settings)
        typer.echo(f"Portal:           http://localhost:{settings.port}")
        typer.echo(f"Emulated Dokploy: http://localhost:{settings.port + 1}/sandbox/state")
        typer.echo(f"Operator's page:  http://localhost:{settings.port}/operator")
        # One that is set is whoever's who set it, and nothing to print.
        if settings.admin_token and not is_given("admin_token"):
            typer.echo(f"Operator's token: {settings.admin_token.get_secret_value()}")
        run(emulator, portal)


def emulator(
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: PORT, or 3001.")] = None,
) -> None:
    """Serve the emulated Dokploy alone."""
    configure_logging("info", readable=sys.stderr.isatty())
    settings = _read_sandbox_settings()
    listen_on = _port(port, 3001)
    from app.cli.servers import emulator_server, run

    run(emulator_server(settings, os.environ.get("HOST") or "0.0.0.0", listen_on))


def sandbox_settings(port: int, folder: Path) -> Settings:
    """Return settings for a portal with an emulator on the next port; the environment still overrides them."""
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


def _read_sandbox_settings() -> "SandboxSettings":
    from app.sandbox import SandboxSettings

    try:
        return SandboxSettings()
    except ValidationError as error:
        raise SettingsError(explain(error, SandboxSettings)) from None
