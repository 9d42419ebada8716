"""The installation: the id by which a portal knows its own resources in Dokploy, created once in its store."""

from datetime import UTC, datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ids import new_id
from app.store import schema
from app.store.engine import Database


async def installation_id(database: Database) -> str:
    """Return this portal's id, a part of every marker in Dokploy."""
    table = schema.installation
    dialect = sqlite if database.is_sqlite else postgresql
    entry = (
        dialect.insert(table)
        .values(singleton=1, id=new_id(), created_at=datetime.now(UTC))
        .on_conflict_do_nothing(index_elements=["singleton"])
    )

    def enter(connection: Connection) -> str:
        connection.execute(entry)
        return str(connection.scalar(select(table.c.id)))

    return await database.write(enter)
