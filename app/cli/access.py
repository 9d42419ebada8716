"""Commands about access: tokens for programs, and the audit trail."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import typer

from app.audit import COMMAND_LINE, Trail
from app.cli.repair import AsJson, opened_store, print_table
from app.config.settings import load_settings
from app.errors import PortalError
from app.identity import MAX_DAYS, OPERATOR, USUAL_DAYS, Scope, Token, Tokens, parse_scopes
from app.store.paging import every
from app.web.api.schemas.audit import audit_line


def make_token(
    name: Annotated[str, typer.Argument(help="Name of the token: what it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"Scope to grant; repeat for more. One of {', '.join(Scope)}.")],
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="Days until the token expires.")] = USUAL_DAYS,
    owner: Annotated[
        str, typer.Option(help="Owner whose stacks the token reaches, such as `account:01J…`.")
    ] = OPERATOR,
) -> None:
    """Create an access token and print it. It is shown only once."""
    settings = load_settings()

    async def work() -> str:
        async with opened_store(settings) as database:
            made = Tokens(database).make(COMMAND_LINE, owner=owner, name=name, scopes=parse_scopes(scope), days=days)
            return (await made)[1]

    typer.echo(_or_say_why(work))


def tokens(as_json: AsJson = False) -> None:
    """List all access tokens, without their secrets."""
    settings = load_settings()

    async def work() -> list[Token]:
        async with opened_store(settings) as database:
            listed = Tokens(database, kept_days=settings.keep_tokens_days)
            return [each async for each in every(partial(listed.of, None))]

    found = asyncio.run(work())
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "owner": each.owner,
            "scopes": sorted(each.scopes),
            "good": each.is_good,
            "expires": each.expires_at.isoformat(),
            "used": each.used_at.isoformat() if each.used_at else None,
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo("There are no tokens.")
    else:
        print_table(
            ("ID", "NAME", "OWNER", "SCOPES", "GOOD UNTIL", "USED"),
            [
                (
                    row["id"],
                    row["name"],
                    row["owner"],
                    ",".join(each.scopes),
                    row["expires"] if row["good"] else "no longer",
                    row["used"] or "never",
                )
                for row, each in zip(rows, found, strict=True)
            ],
        )


def revoke_token(token_id: Annotated[str, typer.Argument(help="ID of the token, as `tokens` lists it.")]) -> None:
    """Revoke an access token at once."""
    settings = load_settings()

    async def work() -> str:
        async with opened_store(settings) as database:
            await Tokens(database).revoke(COMMAND_LINE, token_id, owner=None)
            return "Revoked."

    typer.echo(_or_say_why(work))


def audit() -> None:
    """Print the audit trail as JSON lines, oldest first."""
    settings = load_settings()

    async def work() -> None:
        async with opened_store(settings) as database:
            async for entry in Trail(database).export():
                typer.echo(audit_line(entry), nl=False)

    asyncio.run(work())


def _or_say_why(work: Callable[[], Awaitable[str]]) -> str:
    """Print what a command answers; a wrong argument is one line and exit status 1."""

    async def run() -> str:
        return await work()

    try:
        return asyncio.run(run())
    except PortalError as error:
        typer.echo(f"error: {error.problem.detail.format_map(error.params)}", err=True)
        raise typer.Exit(1) from None
