"""Commands `leftovers` and `reconcile`: what is left over in Dokploy, and what differs from the record."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from app.config.settings import Settings, load_settings
from app.dokploy import DokployClient, DokployError
from app.dokploy.masking import printable
from app.errors import SettingsError
from app.observation.drift import Drift
from app.observation.leftovers import Leftovers
from app.operations.repair import Repair, repair_all
from app.operations.service import Operations
from app.security.vault import Vault, load_keys
from app.stacks.queries import Records
from app.store.engine import Database
from app.store.installation import installation_id
from app.store.paging import every
from app.store.readiness import open_store

# Somebody sits at the terminal and waits.
_PATIENCE = 5.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def leftovers(
    removed: Annotated[bool, typer.Option("--removed", help="Include resources that were removed since.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Retry all removals now.")] = False,
    as_json: AsJson = False,
) -> None:
    """List resources that could not be removed from Dokploy, and when the portal retries."""
    settings = load_settings()

    async def look() -> list[dict[str, Any]]:
        async with opened_store(settings) as database:
            pause, attempts = settings.leftovers_retry_seconds, settings.leftovers_attempts
            found = Leftovers(database, Records(database), first_pause=pause, attempts=attempts)
            if now:
                await found.hurry()
            return [
                {**asdict(each), "needs_operator": each.needs_operator}
                async for each in every(partial(found.page, removed=removed))
            ]

    rows = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps(rows, default=str, indent=2))
    elif not rows:
        typer.echo("Nothing is left over.")
    else:
        print_table(
            ("STACK", "WHAT", "NAME", "WHY", "TRIES", "NEXT"),
            [(row["stack"], row["kind"], row["name"], row["code"], row["attempts"], _next_try(row)) for row in rows],
        )


def _next_try(row: dict[str, Any]) -> object:
    return "needs an operator" if row["needs_operator"] else row["next_try_at"] or "removed"


def reconcile(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Repair even if most stacks differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the recorded stacks with Dokploy. Exit status 1 if anything differs."""
    settings = load_settings()

    async def look() -> list[dict[str, Any]]:
        async with opened_store(settings) as database, _both_sides(settings, database) as (drift, repairs):
            found = await drift.differences()
            if not repair:
                return [asdict(each) for each in found]
            if drift.is_doubtful(found) and not force:
                raise SettingsError(
                    "most stacks differ; is DOKPLOY_URL the server, and DATABASE_URL the store, that belong together? "
                    "`reconcile` without --repair lists them; --force repairs all the same"
                )
            return [{**asdict(each), "outcome": said} for each, said in await repair_all(repairs, found)]

    try:
        rows = asyncio.run(look())
    except DokployError as error:
        raise SettingsError(f"Dokploy cannot be asked: {printable(str(error))}") from None
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo("Dokploy holds what the record says.")
    else:
        last = "OUTCOME" if repair else "REPAIR"
        print_table(
            ("STACK", "WHAT", "NAME", "ID IN DOKPLOY", last),
            [
                (row["stack"] or "-", row["code"], row["name"], row["dokploy_id"] or "-", row[last.lower()] or "none")
                for row in rows
            ],
        )
    if any(not repair or row["outcome"].startswith(("failed", "nothing")) for row in rows):
        raise typer.Exit(1)


@asynccontextmanager
async def _both_sides(settings: Settings, database: Database) -> AsyncIterator[tuple[Drift, Repair]]:
    records = Records(database)
    operations = Operations(database, records, Vault(load_keys(settings)), settings, lambda _: None)
    installation = await installation_id(database)
    async with DokployClient(
        settings.dokploy_base,
        settings.dokploy_api_token.get_secret_value(),
        timeout=settings.dokploy_timeout_seconds,
        max_concurrency=settings.dokploy_max_concurrency,
    ) as dokploy:
        yield Drift(dokploy, records, installation), Repair(dokploy, records, operations)


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Database]:
    """Open the store for the time of a command."""
    database = await open_store(settings.database_url, patience=_PATIENCE)
    try:
        yield database
    finally:
        await database.close()


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as they need to be; moments to the second, in UTC; nothing that a terminal would obey."""
    lines = [
        list(head),
        *(
            [f"{cell:%Y-%m-%d %H:%M:%S}" if hasattr(cell, "year") else printable(str(cell)) for cell in row]
            for row in rows
        ),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
