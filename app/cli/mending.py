"""Commands for what went wrong in Dokploy: what is left over there, and what is not as the record says."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.database import Database
from app.deployments.leftovers import Leftovers
from app.deployments.record import Records
from app.readiness import open_store
from app.settings import Settings, load_settings

# Somebody sits at the terminal and waits.
_PATIENCE = 5.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def leftovers(
    removed: Annotated[bool, typer.Option("--removed", help="Also what was left once and is gone by now.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Have everything tried again now.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what could not be removed from Dokploy, and when the portal tries again."""
    settings = load_settings()

    async def look() -> list[dict[str, Any]]:
        async with _store(settings) as database:
            found = Leftovers(database, Records(database), first_pause=settings.leftovers_retry_seconds)
            if now:
                await found.hurry()
            return [asdict(each) for each in await found.all(removed=removed)]

    rows = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps(rows, default=str, indent=2))
    elif not rows:
        typer.echo("Nothing is left over.")
    else:
        _print_table(
            ("STACK", "WHAT", "NAME", "WHY", "TRIES", "NEXT"),
            [
                (row["stack"], row["kind"], row["name"], row["code"], row["attempts"], row["next_try_at"] or "removed")
                for row in rows
            ],
        )


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Database]:
    database = await open_store(settings.database_url, patience=_PATIENCE)
    try:
        yield database
    finally:
        await database.close()


def _print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as they need to be; moments to the second, in UTC."""
    lines = [
        list(head),
        *([f"{cell:%Y-%m-%d %H:%M:%S}" if hasattr(cell, "year") else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
