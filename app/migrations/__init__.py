"""Brings the schema up to date at the start. Migrations only expand, so that two versions can run side by side."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database

HEAD: Final = "0001"
# Any number, the same in every portal: PostgreSQL lets one at a time hold it.
_ADVISORY_LOCK: Final = 7_310_001


async def migrate(database: Database) -> None:
    """Apply every migration that is missing; several processes may start at once."""
    found = await current(database)
    if found is not None and found >= HEAD:
        # Alembic itself takes a while to import, and does not know what a newer portal has added.
        return
    async with database.write() as connection:
        if not database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        await connection.run_sync(_upgrade)


async def current(database: Database) -> str | None:
    """Return the schema's revision; None where there is no schema yet."""
    async with database.read() as connection:
        return await _revision(connection)


async def _revision(connection: AsyncConnection) -> str | None:
    try:
        found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DatabaseError:
        return None
    return str(found) if found else None


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
