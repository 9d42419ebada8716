"""Secrets of stacks end with their stacks: erased as the name is freed, or by the next sweep; kept until then."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from app.deployments.states import Conclusion, ResourceState
from app.observation.retention import Keep
from app.operations.password import PASSWORD
from app.store import schema
from tests.integration.test_retention import change, create, leave, remove, rows, stack_of, sweep
from tests.integration.test_store import ADA, Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def secrets(store: Store) -> list[tuple[str, bytes, bytes | None]]:
    return [(row.name, bytes(row.secrets), row.next_secrets) for row in await rows(store, schema.stack)]


@pytest.mark.parametrize("volume", [ResourceState.REMOVED, ResourceState.KEPT])
async def test_secrets_are_erased_when_the_name_is_freed(store: Store, volume: ResourceState):
    now = datetime.now(UTC)
    await create(store, "ada", now)
    await store.operations.change(PASSWORD, await stack_of(store), ADA)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    ((_, before, following),) = await secrets(store)
    assert before
    assert following

    await remove(store, "ada", now, volume)

    assert await secrets(store) == [("ada", b"", None)]


async def test_secrets_are_kept_while_the_removal_has_not_ended(store: Store):
    await leave(store, "ada", datetime.now(UTC))

    ((_, kept, _),) = await secrets(store)
    assert kept
    await sweep(store)
    assert await secrets(store) == [("ada", kept, None)]


async def test_secrets_that_an_older_portal_has_left_are_erased(store: Store):
    now = datetime.now(UTC)
    for name in ("ada", "bob"):
        await create(store, name, now)
    ada = await remove(store, "ada", now)
    left = update(schema.stack).where(schema.stack.c.id == ada).values(secrets=b"ciphertext", next_secrets=b"more")
    await change(store, left)

    assert await sweep(store, Keep()) == {"secrets": 1}

    found = {name: (sealed, following) for name, sealed, following in await secrets(store)}
    assert found["ada"] == (b"", None)
    assert found["bob"][0]


@pytest.mark.parametrize("size", [100, 20_000], ids=["beside other columns", "on pages of their own"])
async def test_erased_secrets_are_overwritten_in_the_file(database_url: str, tmp_path: Path, size: int):
    store, sealed = Store(database_url), os.urandom(size)
    await create(store, "ada", datetime.now(UTC))
    await change(store, update(schema.stack).values(secrets=sealed))
    await store.database.close()  # what was in the write-ahead log is in the file by now
    assert sealed[-50:] in (tmp_path / "portal.db").read_bytes()

    store = Store(database_url)
    await remove(store, "ada", datetime.now(UTC))
    await store.database.close()

    file = (tmp_path / "portal.db").read_bytes()
    assert not [place for place in range(0, size - 20, 20) if sealed[place : place + 20] in file]
    assert not (tmp_path / "portal.db-wal").exists()
