"""The command line: a module for each group of commands."""

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Final

import typer

from app.errors import SettingsError

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "serve",
    "sandbox": "serve",
    "emulator": "serve",
    "check": "check",
    "leftovers": "repair",
    "reconcile": "repair",
    "reencrypt": "reencrypt",
    "tokens": "access",
    "audit": "access",
    "runner": "runner",
    "make-token": "access",
    "revoke-token": "access",
    "check-runner": "runner",
}
"""The module of each command; its function has the command's name."""


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the command line from these commands only, since each imports what it uses."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="A self-hosted portal that deploys AI coding servers on Dokploy.",
    )
    # With a callback, one command alone is still called by its name.
    app.callback()(lambda: None)
    for name in names:
        module = import_module(f"app.cli.{COMMANDS[name]}")
        app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def main() -> None:
    """Run the command line; a mistake in the settings is one line and exit status 1."""
    from app.logging import configure_logging

    # A command's output is its answer; one that serves says more.
    configure_logging("error", readable=sys.stderr.isatty())
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    app = build_app([asked] if asked in COMMANDS else COMMANDS)
    try:
        app()
    except SettingsError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
