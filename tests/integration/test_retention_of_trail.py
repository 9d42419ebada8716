"""The audit trail lets go of what is old, and of nothing else: its triggers on both databases, and what it says of that."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from app.audit import Action, Role, Trail
from app.ids import new_id
from app.observation.retention import Keep
from app.store import schema
from tests.integration.test_retention import DAYS, SECOND, change, entry, rows, sweep
from tests.integration.test_store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def test_the_trail_says_what_was_deleted_of_it_once_a_day(store: Store):
    at = datetime.now(UTC)
    for late in (timedelta(), SECOND, 2 * SECOND):
        await change(store, insert(schema.audit).values(entry(at - DAYS - SECOND - late)))

    assert (await sweep(store, Keep(audit=DAYS), at=at))["audit"] == 3

    (told,) = await Trail(store.database).entries(limit=10)
    assert (told.action, told.actor.role, told.subject) == (
        Action.DELETE_OLD,
        Role.PORTAL,
        f"3 before {at - DAYS:%Y-%m-%d %H:%M} UTC",
    )
    # What has become old since waits for the next day.
    await change(store, insert(schema.audit).values(entry(at - DAYS + SECOND)))
    assert await sweep(store, Keep(audit=DAYS), at=at + 2 * SECOND) == {}
    assert len(await rows(store, schema.audit)) == 2


async def test_young_entries_cannot_be_deleted_nor_any_changed(store: Store):
    at = datetime.now(UTC)
    old, young = entry(at - DAYS - SECOND), entry(at - DAYS + SECOND)
    for each in (old, young):
        await change(store, insert(schema.audit).values(each))
    await sweep(store, Keep(audit=DAYS), at=at)
    again = entry(at - DAYS - SECOND)
    await change(store, insert(schema.audit).values(again))

    async def refused(statement: Any, words: str = "only added to") -> None:
        with pytest.raises(DBAPIError, match=words):
            await change(store, statement)

    table = schema.audit
    await refused(delete(table))
    await refused(delete(table).where(table.c.id == young["id"]))
    await refused(update(table).values(actor="x"))
    await refused(update(table).where(table.c.id == again["id"]).values(actor="x"))
    if store.database.is_sqlite:
        names = ", ".join(column.name for column in table.columns)
        values = ", ".join(f"'{young[column.name]}'" if column.name in young else "NULL" for column in table.columns)
        await refused(text(f"REPLACE INTO audit ({names}) VALUES ({values})"))
        first = await store.database.read(lambda each: each.scalar(text("SELECT min(rowid) FROM audit")))
        other = values.replace(young["id"], new_id())
        await refused(text(f"REPLACE INTO audit (rowid, {names}) VALUES ({first}, {other})"))
    else:
        await refused(text("TRUNCATE audit"))
    for before in (at, at + DAYS):
        await refused(update(schema.retention).values(before=before), "keeps its last day")
        row = {"what": "more", "before": before, "swept_at": 0}
        await refused(insert(schema.retention).values(row), "keeps its last day")
    assert young["id"] in {row.id for row in await rows(store, table)}

    await change(store, delete(table).where(table.c.id == again["id"]))


async def test_an_entry_that_was_not_deleted_on_the_day_is_deleted_by_the_next_sweep(store: Store):
    """A sweep that ended in between has written down up to when."""
    at = datetime.now(UTC)
    await change(store, insert(schema.audit).values(entry(at - DAYS - SECOND)))
    await sweep(store, Keep(audit=DAYS), at=at)
    await change(store, insert(schema.audit).values(entry(at - DAYS - SECOND)))

    assert await sweep(store, Keep(audit=DAYS), at=at + SECOND) == {"audit": 1}
    # Who keeps longer from now on loses nothing that was not due before.
    await change(store, insert(schema.audit).values(entry(at - DAYS - SECOND)))
    assert await sweep(store, Keep(audit=2 * DAYS), at=at) == {}
