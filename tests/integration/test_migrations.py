"""The schema: what the migrations make is what the tables say, on both databases, however many processes start."""

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from app.engine.leases import Leases
from app.observation.retention import Keep, Retention
from app.stacks.queries import Records
from app.store import migrations, postgresql, schema
from app.store.dialects import metadata
from app.store.engine import Database
from app.store.migrations import HEAD, current, migrate
from tests.together import run_together
from tests.waiting import until

pytestmark = pytest.mark.anyio

FOLDER = Path(migrations.__file__).parent


@pytest.fixture
async def database(any_empty_database_url: str) -> AsyncIterator[Database]:
    opened = Database(any_empty_database_url)
    yield opened
    await opened.close()


def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def upgrade_to(revision: str, connection: Connection) -> None:
    """Make the schema of an older portal."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_head_is_the_head():
    assert script().get_heads() == [HEAD]


def test_revisions_are_in_the_order_of_their_names():
    """`migrate` compares them as text, to know a schema of a newer portal."""
    revisions = [each.revision for each in script().walk_revisions()][::-1]
    assert revisions == sorted(revisions)
    assert all(re.fullmatch(r"\d{4}", revision) for revision in revisions)


async def test_migrations_make_what_the_tables_say(database: Database):
    assert schema.stack.metadata is metadata
    await migrate(database)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert await database.read(differences) == []


async def test_partial_indexes_are_partial(database: Database):
    """Which autogenerate does not compare everywhere, and everything about names and runs rests on."""
    await migrate(database)
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
    if not database.is_sqlite:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    rows = await database.read(lambda connection: connection.execute(text(query)).all())
    found = {row[0]: row[1] or "" for row in rows}

    assert re.search(r"UNIQUE.*WHERE.*removed_at IS NULL", found["uq_stack_name_held"], re.DOTALL)
    for name in ("uq_deployment_stack_open", "ix_deployment_open"):
        assert re.search(r"WHERE.*status.*<>.*'completed'", found[name], re.DOTALL)
    assert "UNIQUE" in found["uq_deployment_stack_open"]


async def test_a_fresh_store_has_no_revision_and_a_migrated_one_the_newest(database: Database):
    assert await current(database) is None
    await migrate(database)
    assert await current(database) == HEAD
    await migrate(database)
    assert await current(database) == HEAD


async def test_an_older_portal_starts_on_a_newer_schema(database: Database):
    """Migrations only expand, so the portal can go back to its previous image."""
    await migrate(database)
    await database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))

    await migrate(database)

    assert await current(database) == "9999"


async def test_a_portal_of_the_first_schema_works_on_beside_a_newer_one(database: Database):
    """It knows nothing of where a worker is, and its rows are as good as any."""
    enters = text("INSERT INTO worker (id, started_at, expires_at) VALUES (:id, '2026-01-01 00:00:00', 4102444800)")
    await database.write(partial(upgrade_to, "0001"))
    await database.write(lambda connection: connection.execute(enters, {"id": "before"}))

    await migrate(database)
    await database.write(lambda connection: connection.execute(enters, {"id": "beside"}))

    leases = Leases(database)
    newer = await leases.register(60, alone=False)
    for worker in ("before", "beside", newer):
        assert await leases.renew(worker, 60)
    assert await leases.living_here() == [os.getpid()]


async def test_stacks_of_an_older_portal_are_on_the_first_server(database: Database):
    """Those from before, and those that one beside this portal adds, which knows of no server."""
    stack = (
        "INSERT INTO stack (id, name, owner, template, plan, manage_key_hash, secrets, created_at)"
        " VALUES (:name, :name, 'browser:x', 'opencode', '{}', '', '', '2026-01-01 00:00:00+00:00')"
    )
    resource = (
        "INSERT INTO resource (stack_id, kind, name, state, attempts, changed_at)"
        " VALUES (:name, 'project', :name, 'present', 1, '2026-01-01 00:00:00+00:00')"
    )

    async def add(name: str) -> None:
        def insert(connection: Connection) -> None:
            for statement in (stack, resource):
                connection.execute(text(statement), {"name": name})

        await database.write(insert)

    await database.write(partial(upgrade_to, "0007"))
    await add("before")

    await migrate(database)
    await add("beside")

    found = await Records(database).list_stacks()
    assert {stack.name: stack.server_id for stack in found} == {"before": "main", "beside": "main"}
    rows = await database.read(lambda connection: connection.execute(select(schema.resource)).all())
    assert {row.name: row.server_id for row in rows} == {"before": "main", "beside": "main"}


async def test_a_migration_that_fails_leaves_nothing(database: Database):
    # In the way of the first migration.
    await database.write(lambda connection: connection.execute(text("CREATE TABLE worker (id INTEGER)")))

    with pytest.raises((OperationalError, ProgrammingError)):
        await migrate(database)

    assert await current(database) is None
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'stack'"
    if not database.is_sqlite:
        query = "SELECT count(*) FROM pg_tables WHERE tablename = 'stack'"
    assert await database.read(lambda connection: connection.scalar(text(query))) == 0


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "used"])
async def test_what_an_upgraded_portal_kept_forever_is_kept_for_a_day_more(database: Database, is_new: bool):
    """In which its operator can choose how long. A new portal has nothing to wait for."""
    await database.write(partial(upgrade_to, "0008"))
    if not is_new:
        entry = (
            "INSERT INTO audit (id, at, actor, role, means, action, outcome)"
            " VALUES ('a', '2001-01-01 00:00:00+00:00', 'operator', 'operator', 'session', 'deploy', 'done')"
        )
        await database.write(lambda connection: connection.execute(text(entry)).close())

    await migrate(database)

    async def entries_after_sweep(*, hours: float) -> int:
        past = text("UPDATE retention SET swept_at = swept_at - :seconds")
        await database.write(lambda connection: connection.execute(past, {"seconds": hours * 3600}).close())
        await Retention(database, Keep(audit=timedelta(days=365)), may_act=lambda: True).look()
        count = text("SELECT count(*) FROM audit WHERE id = 'a'")
        return int(await database.read(lambda connection: connection.scalar(count)) or 0)

    query = select(schema.retention.c.swept_at)
    swept_at = await database.read(lambda connection: set(connection.scalars(query)))
    if is_new:
        assert swept_at == {0}
    else:
        assert min(swept_at) - time.time() == pytest.approx(86_400, abs=600)
        assert await entries_after_sweep(hours=0) == 1
        assert await entries_after_sweep(hours=23.9) == 1
        assert await entries_after_sweep(hours=48) == 0


async def test_a_migration_may_take_longer_than_any_other_statement(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    """An index of a large table takes minutes: neither the portal's deadline nor the server's ends it."""
    monkeypatch.setattr(postgresql, "_STATEMENT_SECONDS", 0.5)
    database, other = Database(empty_postgres_url), create_async_engine(empty_postgres_url)
    await database.write(partial(upgrade_to, "0009"))
    async with other.connect() as holder:
        await holder.execute(
            text(f'ALTER DATABASE "{make_url(empty_postgres_url).database}" SET statement_timeout = 500')
        )
        await holder.commit()
        await holder.execute(text("LOCK TABLE audit"))

        migrating = asyncio.create_task(migrate(database))
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND clock_timestamp() - query_start > interval '1 second'"
        )

        async def takes_long() -> bool:
            assert not migrating.done()
            async with other.connect() as looking:
                return bool(await looking.scalar(waits))

        await until(takes_long)
        await holder.rollback()

    await migrating
    assert await current(database) == HEAD
    await database.close()
    await other.dispose()


def test_processes_that_start_at_once_migrate_once(any_empty_database_url: str):
    assert run_together(migrate_together, any_empty_database_url, times=2) == [HEAD, HEAD]


def migrate_together(begin: Callable[[], None], url: str) -> str | None:
    async def work() -> str | None:
        database = Database(url)
        try:
            begin()
            await migrate(database)
            return await current(database)
        finally:
            await database.close()

    return asyncio.run(work())


async def test_a_new_sqlite_file_that_another_process_is_writing_is_waited_for(tmp_path: Path):
    """SQLite refuses to switch to its write-ahead log, without waiting, while another holds the file."""
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    other.execute("CREATE TABLE x (y)")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO x VALUES (1)")

    async def open_it() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
        try:
            await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar())
        finally:
            await database.close()

    opening = asyncio.create_task(asyncio.to_thread(asyncio.run, open_it()))
    # Nothing shows that it was refused. On a slow machine it may not have asked yet, and then finds the file free.
    await asyncio.sleep(0.1)

    other.execute("COMMIT")
    other.close()

    await opening
