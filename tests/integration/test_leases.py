"""The lease of a process that runs deployments: how it is held, lost and won again, and what may be done without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, delete, func, select, text, update

from app.bootstrap import Portal, open_portal
from app.database import Database
from app.deployments import tables
from app.deployments.events import Conclusion
from app.deployments.plan import make_plan
from app.deployments.request import DeploymentRequest
from app.deployments.saga import RunLost
from tests.servers import Emulator, asker, portal_settings

pytestmark = pytest.mark.anyio

T = TypeVar("T")

LEASE = 1.0
ADA = asker("browser:ada")


@asynccontextmanager
async def opened(emulator: Emulator, url: str) -> AsyncIterator[Portal]:
    """A portal without HTTP, once it runs deployments."""
    async with open_portal(portal_settings(emulator.url, url, runner_lease_seconds=LEASE)) as portal:
        await until(lambda: portal.runner.is_active)
        yield portal


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def deploy(portal: Portal, name: str = "ada") -> str:
    plan = make_plan(DeploymentRequest(name), portal.template, portal.settings)
    return (await portal.intake.deploy(DeploymentRequest(name), plan, portal.template, ADA)).deployment_id


async def finished(portal: Portal, deployment_id: str) -> list[str]:
    """Types of all events, once the deployment has succeeded."""
    async with asyncio.timeout(20):
        while (record := await portal.records.deployment(deployment_id)) is None or record.conclusion is None:
            await asyncio.sleep(0.02)
    assert record.conclusion is Conclusion.SUCCEEDED
    events = await portal.records.events(deployment_id, 0)
    assert [event.n for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


async def workers(portal: Portal) -> set[str]:
    query = select(tables.worker.c.id)
    return await transact(portal, lambda connection: set(connection.scalars(query)))


async def transact(portal: Portal, work: Callable[[Connection], T]) -> T:
    """Change or read the store behind the portal's back."""
    database = Database(portal.settings.database_url)
    try:
        return await database.write(work)
    finally:
        await database.close()


async def test_a_lease_is_held_for_longer_than_it_lasts(emulator: Emulator, any_database_url: str):
    async with opened(emulator, any_database_url) as portal:
        before = await workers(portal)
        for _ in range(15):
            portal.runner.assert_lease()
            await asyncio.sleep(LEASE / 10)
        assert await workers(portal) == before


async def test_a_process_that_was_asleep_may_change_nothing_until_it_is_a_new_worker(
    emulator: Emulator, any_database_url: str
):
    """But on SQLite, where its lock is still its own."""
    async with opened(emulator, any_database_url) as portal:
        before = await workers(portal)

        time.sleep(LEASE * 1.2)  # noqa: ASYNC251 - nothing in this process goes on, as after a SIGSTOP

        if portal.settings.sqlite_path:
            portal.runner.assert_lease()
            await asyncio.sleep(LEASE)
            assert await workers(portal) == before
        else:
            with pytest.raises(RunLost):
                portal.runner.assert_lease()
            async with asyncio.timeout(5):
                while await workers(portal) == before:
                    await asyncio.sleep(0.01)
            portal.runner.assert_lease()


async def test_a_process_that_cannot_reach_its_store_holds_no_lease(
    emulator: Emulator, postgres: Any, postgres_url: str
):
    """However often it tries; and it is there again when the store is."""
    query = text("SELECT current_database()")
    async with opened(emulator, postgres_url) as portal:
        name = await transact(portal, lambda connection: connection.scalar(query))
        postgres.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false;")
        postgres.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';")

        await asyncio.sleep(LEASE * 1.1)
        for _ in range(20):
            with pytest.raises(RunLost):
                portal.runner.assert_lease()
            await asyncio.sleep(0.1)
        assert not portal.runner.is_active

        postgres.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true;")
        await until(lambda: portal.runner.is_active)
        portal.runner.assert_lease()
        await finished(portal, await deploy(portal))


async def test_a_run_goes_on_once_after_a_sleep(emulator: Emulator, any_database_url: str):
    emulator.fault("stuck", seconds=2.5)
    async with opened(emulator, any_database_url) as portal:
        deployment = await deploy(portal)
        async with asyncio.timeout(10):
            while "application.deploy" not in emulator.state()["calls"]:
                await asyncio.sleep(0.02)

        time.sleep(LEASE * 1.2)  # noqa: ASYNC251 - as above

        events = await finished(portal, deployment)
        assert portal.runner.running == 0
    # Nobody else took the run, so the same process takes it up as a new worker, once; with the lock it never lost it.
    assert events.count("deployment_resumed") == (0 if portal.settings.sqlite_path else 1)
    assert events.count("deployment_completed") == 1
    assert emulator.state()["calls"]["application.deploy"] == 1


async def test_a_lease_that_somebody_ended_is_noticed_and_the_run_goes_on(emulator: Emulator, any_database_url: str):
    """As when an older state of the database is put back under a running portal."""
    emulator.fault("stuck", seconds=2.5)
    async with opened(emulator, any_database_url) as portal:
        deployment = await deploy(portal)
        async with asyncio.timeout(10):
            while "application.deploy" not in emulator.state()["calls"]:
                await asyncio.sleep(0.02)

        await transact(portal, lambda connection: connection.execute(delete(tables.worker)))

        events = await finished(portal, deployment)
        assert len(await workers(portal)) == 1
    assert events.count("deployment_completed") == 1
    assert emulator.state()["calls"]["application.deploy"] == 1


async def test_a_cancellation_that_nobody_was_told_of_is_seen(emulator: Emulator, any_database_url: str):
    """On SQLite no process hears of what was asked at another, and on PostgreSQL a notification can be lost."""
    emulator.fault("stuck", seconds=20)
    async with opened(emulator, any_database_url) as portal:
        deployment = await deploy(portal)
        async with asyncio.timeout(10):
            while "application.deploy" not in emulator.state()["calls"]:
                await asyncio.sleep(0.02)

        asked = update(tables.deployment).values(cancel_requested_at=func.now())
        await transact(portal, lambda connection: connection.execute(asked))

        async with asyncio.timeout(3):
            while "cancel_requested" not in [event.type for event in await portal.records.events(deployment, 0)]:
                await asyncio.sleep(0.02)


async def test_stopping_hands_over_within_a_second_and_may_be_asked_for_twice(
    emulator: Emulator, any_database_url: str
):
    emulator.fault("stuck", seconds=2)
    emulator.fault("slow", "project.create", seconds=5, match="late")
    async with opened(emulator, any_database_url) as first:
        waiting, calling = await deploy(first, "early"), await deploy(first, "late")
        async with asyncio.timeout(10):
            while not {"application.deploy", "project.create"} <= emulator.state()["calls"].keys():
                await asyncio.sleep(0.02)

        began = time.monotonic()
        await asyncio.gather(first.runner.stop(), first.runner.stop())
        seconds = time.monotonic() - began

        assert seconds < 1.5
        assert first.runner.running == 0
        assert await workers(first) == set()
        async with opened(emulator, any_database_url) as second:
            assert "deployment_resumed" in await finished(second, waiting)
            await finished(second, calling)


async def test_a_run_that_was_claimed_without_anybody_hearing_of_it_is_run(emulator: Emulator, any_database_url: str):
    """The claim was committed and its answer lost: the store says that this worker has the run, and it has not."""
    emulator.fault("stuck", seconds=1)
    settings = portal_settings(emulator.url, any_database_url, runner_concurrency=1)
    async with open_portal(settings) as portal:
        await until(lambda: portal.runner.is_active)
        first = await deploy(portal, "ada")
        await until(lambda: portal.runner.running == 1)
        second = await deploy(portal, "bob")
        (worker,) = await workers(portal)
        claimed = (
            update(tables.deployment)
            .where(tables.deployment.c.id == second)
            .values(owner=worker, epoch=tables.deployment.c.epoch + 1)
        )
        await transact(portal, lambda connection: connection.execute(claimed))

        await finished(portal, first)
        await finished(portal, second)
