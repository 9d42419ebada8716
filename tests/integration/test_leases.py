"""The lease of a process that runs deployments: how it is held, lost and won again, and what may be done without it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import pytest
from sqlalchemy import Connection, delete, func, select, text, update

from app.bootstrap import open_portal
from app.deployments.states import Conclusion
from app.engine.saga import RunLost
from app.portal import Portal
from app.stacks.names import DeploymentRequest
from app.store import schema
from app.store.engine import Database
from tests.integration.holding import UNHURRIED
from tests.postgresql import PostgresServer
from tests.servers import Emulator, portal_settings, requester
from tests.waiting import until

pytestmark = pytest.mark.anyio

T = TypeVar("T")

# One that is lost on a busy machine: for what is true however often that happens.
SHORT = 1.0
# One that is neither lost nor renewed within a test.
LONG = 300.0
ADA = requester("browser:ada")


@asynccontextmanager
async def opened(emulator: Emulator, url: str, lease: float = LONG, **values: Any) -> AsyncIterator[Portal]:
    """A portal without HTTP, once it runs deployments.

    Where its lease may be lost in the middle of a call, what the call may still do is waited for: not for long, then.
    """
    deadline = {"dokploy_timeout_seconds": 2} if lease < LONG else {}
    settings = portal_settings(emulator.url, url, **{**UNHURRIED, "runner_lease_seconds": lease, **deadline, **values})
    async with open_portal(settings) as portal:
        await until(lambda: portal.runner.is_active)
        yield portal


async def deploy(portal: Portal, name: str = "ada") -> str:
    return (await portal.operations.create(DeploymentRequest(name), portal.template, ADA)).deployment_id


async def types(portal: Portal, deployment_id: str) -> list[str]:
    """Types of the events so far."""
    return [event.type for event in await portal.records.events(deployment_id, 0)]


async def finished(portal: Portal, deployment_id: str) -> list[str]:
    """Types of all events, once the deployment has succeeded."""

    async def conclusion() -> Conclusion | None:
        record = await portal.records.deployment(deployment_id)
        return record.conclusion if record else None

    assert await until(conclusion, pause=0.02) is Conclusion.SUCCEEDED
    events = await portal.records.events(deployment_id, 0)
    assert [event.n for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


async def asked(emulator: Emulator, *calls: str) -> None:
    """Wait until Dokploy was asked for these."""
    await until(lambda: set(calls) <= emulator.state()["calls"].keys(), pause=0.02)


def assert_deployed_once(emulator: Emulator) -> None:
    """By Dokploy's own records: a call whose answer took too long is made again where it had no effect."""
    assert len(emulator.state()["deployments"]) == 1


async def leases(portal: Portal) -> dict[str, float]:
    """Every worker in the store, and when its lease runs out."""
    query = select(schema.worker.c.id, schema.worker.c.expires_at)
    return await transact(portal, lambda connection: {row.id: row.expires_at for row in connection.execute(query)})


async def workers(portal: Portal) -> set[str]:
    return set(await leases(portal))


def holds_lease(portal: Portal) -> bool:
    try:
        portal.runner.assert_lease()
    except RunLost:
        return False
    return portal.runner.is_active


def take_long_leases(portal: Portal) -> None:
    """Have the process take the next lease for long, so that it is lost once and no more."""
    settings = portal.settings.model_copy(update={"runner_lease_seconds": LONG})
    portal.runner._deps = replace(portal.runner._deps, settings=settings)


async def transact(portal: Portal, work: Callable[[Connection], T]) -> T:
    """Change or read the store behind the portal's back."""
    database = Database(portal.settings.database_url)
    try:
        return await database.write(work)
    finally:
        await database.close()


async def test_a_lease_is_renewed_so_that_one_worker_holds_it_for_longer_than_it_lasts(
    emulator: Emulator, any_database_url: str
):
    async with opened(emulator, any_database_url, SHORT) as portal:
        first: dict[str, float] = {}

        async def is_extended_by_a_whole_one() -> bool:
            # By one and the same worker: who loses it for once is another one from then on, and is watched anew.
            now = await leases(portal)
            return any(ends - first.setdefault(each, ends) >= SHORT for each, ends in now.items())

        await until(is_extended_by_a_whole_one, tell=lambda: first, pause=0.05)


async def test_a_process_that_was_asleep_may_change_nothing_until_it_is_a_new_worker(
    emulator: Emulator, any_database_url: str
):
    """But on SQLite, where its lock is still its own."""
    async with opened(emulator, any_database_url, SHORT) as portal:
        before = await leases(portal)

        time.sleep(SHORT * 1.2)  # noqa: ASYNC251 - nothing in this process goes on, as after a SIGSTOP

        if portal.settings.sqlite_path:
            portal.runner.assert_lease()

            async def is_renewed() -> bool:
                return (await leases(portal)).items() != before.items()

            await until(is_renewed)
            assert await workers(portal) == before.keys()
        else:
            with pytest.raises(RunLost):
                portal.runner.assert_lease()

            async def is_new() -> bool:
                return await workers(portal) != before.keys() and holds_lease(portal)

            await until(is_new)


async def test_a_process_that_cannot_reach_its_store_holds_no_lease(
    emulator: Emulator, postgres: PostgresServer, postgres_url: str
):
    """However often it tries; and it is there again when the store is."""
    query = text("SELECT current_database()")
    async with opened(emulator, postgres_url, SHORT) as portal:
        name = await transact(portal, lambda connection: connection.scalar(query))
        postgres.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false;")
        postgres.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';")

        await until(lambda: not portal.runner.is_active)
        take_long_leases(portal)
        tries = time.monotonic() + 2 * SHORT  # it tries again every half second; a slow machine only tries less often
        while time.monotonic() < tries:
            with pytest.raises(RunLost):
                portal.runner.assert_lease()
            await anyio.sleep(0.1)
        assert not portal.runner.is_active

        postgres.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true;")
        await until(lambda: holds_lease(portal))
        await finished(portal, await deploy(portal))


async def test_a_run_goes_on_once_after_a_sleep(emulator: Emulator, any_database_url: str):
    emulator.fault("stuck")
    async with opened(emulator, any_database_url, SHORT) as portal:
        deployment = await deploy(portal)
        await asked(emulator, "application.deploy")

        async def resumed_so_far() -> tuple[int] | None:
            """How often, once it runs under a lease that was not lost while that was read."""
            run = portal.runner._runs.get(deployment)
            count = (await types(portal, deployment)).count("deployment_resumed")
            return (count,) if run and portal.runner._runs.get(deployment) is run and holds_lease(portal) else None

        (before,) = await until(resumed_so_far)
        take_long_leases(portal)
        time.sleep(SHORT * 1.2)  # noqa: ASYNC251 - as above

        if not portal.settings.sqlite_path:
            await until(lambda: not holds_lease(portal))
        await until(lambda: holds_lease(portal) and portal.runner.running == 1)
        emulator.release()
        events = await finished(portal, deployment)
        await until(lambda: portal.runner.running == 0)
    # Nobody else took the run, so the same process takes it up as a new worker, once; with the lock it never lost it.
    assert events.count("deployment_resumed") == before + (0 if portal.settings.sqlite_path else 1)
    assert events.count("deployment_completed") == 1
    assert_deployed_once(emulator)


async def test_a_lease_that_somebody_ended_is_noticed_and_the_run_goes_on(emulator: Emulator, any_database_url: str):
    """As when an older state of the database is put back under a running portal."""
    emulator.fault("stuck")
    async with opened(emulator, any_database_url, 3 * SHORT) as portal:
        deployment = await deploy(portal)
        await asked(emulator, "application.deploy")

        await transact(portal, lambda connection: connection.execute(delete(schema.worker)))

        async def is_entered_again() -> bool:
            return bool(await workers(portal)) and holds_lease(portal)

        await until(is_entered_again)
        emulator.release()
        events = await finished(portal, deployment)
    assert events.count("deployment_completed") == 1
    assert_deployed_once(emulator)


async def test_a_cancellation_that_nobody_was_told_of_is_seen(emulator: Emulator, any_database_url: str):
    """On SQLite no process hears of what was asked at another, and on PostgreSQL a notification can be lost."""
    emulator.fault("stuck")
    async with opened(emulator, any_database_url) as portal:
        deployment = await deploy(portal)
        await asked(emulator, "application.deploy")

        asks = update(schema.deployment).values(cancel_requested_at=func.now())
        await transact(portal, lambda connection: connection.execute(asks))

        async def is_seen() -> bool:
            return "cancel_requested" in await types(portal, deployment)

        await until(is_seen, pause=0.02)


async def test_stopping_hands_over_without_waiting_for_dokploy_and_may_be_asked_for_twice(
    emulator: Emulator, any_database_url: str
):
    emulator.fault("stuck")
    emulator.fault("hold", "project.create", match="late")
    async with opened(emulator, any_database_url) as first:
        waiting, calling = await deploy(first, "early"), await deploy(first, "late")
        await until(lambda: emulator.held("application.deploy") and emulator.held("project.create"))

        async with anyio.create_task_group() as stopping:
            stopping.start_soon(first.runner.stop)
            stopping.start_soon(first.runner.stop)

        assert emulator.release() == 2, "neither the deployment in Dokploy nor the call was over"
        assert first.runner.running == 0
        assert await workers(first) == set()
        # So long is a create waited for whose answer was lost.
        async with opened(emulator, any_database_url, dokploy_timeout_seconds=2) as second:
            assert "deployment_resumed" in await finished(second, waiting)
            await finished(second, calling)


async def test_a_run_that_was_claimed_without_anybody_hearing_of_it_is_run(emulator: Emulator, any_database_url: str):
    """The claim was committed and its answer lost: the store says that this worker has the run, and it has not."""
    emulator.fault("stuck")
    async with opened(emulator, any_database_url, runner_concurrency=1) as portal:
        first = await deploy(portal, "ada")
        await until(lambda: portal.runner.running == 1)
        await asked(emulator, "application.deploy")
        second = await deploy(portal, "bob")
        (worker,) = await workers(portal)
        claimed = (
            update(schema.deployment)
            .where(schema.deployment.c.id == second)
            .values(owner=worker, epoch=schema.deployment.c.epoch + 1)
        )
        await transact(portal, lambda connection: connection.execute(claimed))

        emulator.release()
        await finished(portal, first)
        await finished(portal, second)
