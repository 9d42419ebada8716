"""Estimates: the median of the last creations, found by an index, and read once however many ask."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from app.deployments.states import Conclusion, StepState
from app.engine.estimates import Estimates, Medians, last_creations
from app.engine.saga import Checkpoint, StepChange
from app.store.engine import Database
from app.store.errors import StoreAway
from tests.integration.test_store import ADA, Store

pytestmark = pytest.mark.anyio

T = TypeVar("T")

WAITING = 49


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def create(store: Store, name: str, seconds: float, conclusion: Conclusion = Conclusion.SUCCEEDED) -> None:
    await store.deploy(name)
    run = await store.claim_one()
    done = {"deploy": StepChange(StepState.SUCCEEDED, {"ran_seconds": seconds})}
    await store.journal.record(run, Checkpoint(steps=done))
    await store.conclude(run, conclusion)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What the databases of this process are asked meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_nothing_is_estimated_before_the_first_creation_has_succeeded(store: Store):
    await create(store, "ada", 3.0, Conclusion.FAILED)

    assert await Estimates(store.database).medians() == Medians(None, None)


async def test_the_median_of_creations_that_succeeded_counts(store: Store):
    for number, seconds in enumerate((2.0, 9.0, 4.0)):
        await create(store, f"ada-{number}", seconds)
    await create(store, "ada-failed", 100.0, Conclusion.FAILED)
    stack = await store.records.find_stack("ada-0")
    assert stack is not None
    await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one())

    found = await Estimates(store.database).medians()

    assert found.dokploy == 4.0
    assert found.creation is not None
    assert found.creation > 0


async def test_all_who_ask_at_once_and_soon_after_share_one_read(store: Store):
    await create(store, "ada", 3.0)
    estimates = Estimates(store.database)

    with statements() as asked:
        found = await asyncio.gather(*(estimates.medians() for _ in range(WAITING)))
        again = await estimates.medians()

    assert {each.dokploy for each in (*found, again)} == {3.0}
    assert len([each for each in asked if "deployment" in each]) == 1


class Leaving(Database):
    """A store that is away from some moment on."""

    is_away = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self.is_away:
            raise StoreAway("away")
        return await super().read(work)


async def test_what_was_known_counts_while_the_store_is_away(store: Store):
    await create(store, "ada", 3.0)
    database = Leaving(store.database.url)
    estimates = Estimates(database, fresh=0)
    before = await estimates.medians()
    database.is_away = True

    assert await estimates.medians() == before == Medians(before.creation, 3.0)
    await database.close()


async def test_no_table_is_read_from_end_to_end(store: Store):
    steps = await store.plan_of(last_creations())

    assert "ix_deployment_ended" in steps
    assert "Seq Scan" not in steps
    assert "SCAN deployment" not in steps
    assert "SCAN step" not in steps
