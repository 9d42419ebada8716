"""Migrations of the schema, run at the start. They only expand, so that two versions can run side by side."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.store.engine import Database

HEAD: Final = "0010"
# Any number, the same in every portal: PostgreSQL lets one at a time hold it.
_ADVISORY_LOCK: Final = 7_310_001


async def migrate(database: Database) -> None:
    """Apply every migration that is missing; several processes may start at once."""
    found = await current(database)
    if found is not None and found >= HEAD:
        return  # Alembic itself takes a while to import, and knows nothing of what a newer portal has added

    def upgrade(connection: Connection) -> None:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        _upgrade(connection)

    await database.write_without_deadline(upgrade)


async def current(database: Database) -> str | None:
    """Return the schema's revision; None where there is no schema yet."""
    return await _revision(database.read, "SELECT version_num FROM alembic_version")


async def check(database: Database) -> str | None:
    """Return the schema's revision, and see on the way that the store can be written. Raises StoreAway."""
    # Over a connection that remembers nothing: what a file no longer has may still be in memory.
    return await _revision(
        database.write_afresh, "UPDATE alembic_version SET version_num = version_num RETURNING version_num"
    )


async def _revision(ask: Callable[[Callable[[Connection], str | None]], Awaitable[str | None]], how: str) -> str | None:
    def revision(connection: Connection) -> str | None:
        found = connection.scalar(text(how))
        return str(found) if found else None

    try:
        return await ask(revision)
    except (ProgrammingError, OperationalError) as error:
        if "alembic_version" in str(error.orig):  # there is no such table
            return None
        raise


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
