"""The command `reencrypt`: encrypts the store's secrets with the newest key, so that older keys can be removed."""

import asyncio
from typing import Annotated

import typer

from app.cli.repair import opened_store
from app.config.settings import load_settings
from app.security.reencryption import Ages, Reencryption
from app.security.vault import Vault, load_keys


def reencrypt(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count secrets that older keys encrypted.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="Give up secrets whose key is lost. Their stacks can only be deleted.")
    ] = False,
) -> None:
    """Encrypt all stored secrets with the first key of SECRET_KEY. Exit status 1 while another key is still needed."""
    settings = load_settings()

    async def work() -> tuple[int, Ages]:
        async with opened_store(settings) as database:
            found = Reencryption(database, Vault(load_keys(settings)))
            return (0, await found.count()) if dry_run else await found.run(lost=lost)

    renewed, ages = asyncio.run(work())
    if not dry_run:
        typer.echo(f"Encrypted anew: {renewed}.")
    typer.echo(f"Under the first key of SECRET_KEY: {ages.newest}; under older ones: {ages.older}.")
    if ages.unreadable and lost and not dry_run:
        typer.echo(f"Given up: {ages.unreadable}. Those stacks run on, and can only be removed.")
        return
    if ages.unreadable:
        typer.echo(f"Under a key that SECRET_KEY lacks: {ages.unreadable}. Put that key back, behind the others.")
    elif ages.older and not dry_run:
        typer.echo(
            "Some portal still writes with an older key: give all of them the same SECRET_KEY, and run this again."
        )
    elif not ages.older and not dry_run:
        typer.echo("The older keys can be left out now.")
    if ages.unreadable or ages.older:
        raise typer.Exit(1)
