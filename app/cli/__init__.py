"""The command line: serve the portal, run its deployments, or start it with a sandbox; each group has a room."""

import sys

import typer

from app.bootstrap import configure_logging
from app.cli import admitting, mending, operating, rotating, running, serving
from app.errors import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A web portal that deploys personal AI servers on Dokploy.",
)
for command in (
    *(serving.serve, serving.sandbox, serving.emulator),
    *(operating.check, mending.leftovers, mending.reconcile, rotating.reencrypt),
    *(admitting.tokens, admitting.audit, running.runner),
):
    app.command()(command)
app.command("make-token")(admitting.make_token)
app.command("revoke-token")(admitting.revoke_token)
app.command("check-runner")(running.check_runner)


def main() -> None:
    """Run the command line; a mistake in the settings is one line and exit status 1."""
    # A command's output is its answer; one that serves says more.
    configure_logging("error", readable=sys.stderr.isatty())
    try:
        app()
    except SettingsError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
