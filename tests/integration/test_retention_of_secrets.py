"""Secrets of stacks end with their stacks: erased as the name is freed, or by the next sweep; kept until then."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

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
