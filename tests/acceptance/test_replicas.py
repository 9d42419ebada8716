"""Several portals on one PostgreSQL, as processes: any of them serves any stream, and no run is lost with one of them."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from tests.acceptance.process import ForkingLauncher
from tests.acceptance.replicas import (
    Command,
    Reader,
    Replica,
    lines_of,
    reading,
    replica_settings,
    wait_for_count,
    wait_until_at_work,
)
from tests.ports import reserve_port
from tests.servers import ADMIN_TOKEN, Emulator
from tests.waiting import until, wait_until

MUTATIONS = ("project.create", "application.create", "domain.create", "mounts.create", "application.deploy")

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}

StartReplica = Callable[..., Replica]


@pytest.fixture(scope="module")
def dokploy_process(forking_launcher: ForkingLauncher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulated Dokploy in a process of its own, for the module."""
    folder = tmp_path_factory.mktemp("dokploy")
    port = reserve_port()
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SANDBOX_DEPLOY_SECONDS": "0.2",
        "SANDBOX_START_SECONDS": "0.05",
        "SANDBOX_CONCURRENCY": "0",
    }
    process = forking_launcher.start(["emulator"], folder, folder / "log", **environment)
    try:
        process.answers(f"http://127.0.0.1:{port}/sandbox/state")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


@pytest.fixture
def dokploy(dokploy_process: str) -> Iterator[Emulator]:
    emulated = Emulator(dokploy_process)
    emulated.reset()
    yield emulated
    emulated.close()


@pytest.fixture
def settings(postgres_url: str, dokploy: Emulator) -> dict[str, str]:
    return replica_settings(postgres_url, dokploy.url)


@pytest.fixture
def add_replica(start_replica: StartReplica, settings: dict[str, str]) -> StartReplica:
    """Starts a replica with the settings that all share."""
    return partial(start_replica, settings)


def calls(dokploy: Emulator, *names: str) -> dict[str, int]:
    made = dokploy.state()["calls"]
    return {name: made.get(name, 0) for name in names}


def has_read(reader: Reader, number: int) -> bool:
    return number in reader.numbers


def test_a_replica_streams_what_another_runs_without_polling(add_replica: StartReplica, dokploy: Emulator):
    poll = 10.0
    dokploy.fault("slow", "*", seconds=0.1, times=-1)
    dokploy.fault("stuck", times=-1)
    web, running = (add_replica(*more, SSE_HEARTBEAT_SECONDS=str(poll)) for more in (("--web-only",), ()))
    web.ready()
    running.ready()

    # Requested at the one, run by the other, and read at both once they no longer wait in line, which is polled for.
    deployments = [web.deploy(f"ada-{number}") for number in range(3)]
    for deployment in deployments:
        web.wait_for(deployment, "deployment_started")
    readers = [Reader(deployment, [replica.url], 0) for deployment in deployments for replica in (web, running)]
    with reading(readers):
        # Whatever comes last before the release has been read by then, so that the rest is news.
        for reader in readers:
            progressed = web.wait_for(reader.deployment, "progressed", what="container_running")
            wait_until(partial(has_read, reader, progressed["n"]))
        dokploy.release()

    for reader in readers:
        assert reader.conclusion == "succeeded"
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
        # A poll comes no sooner than this after what was read before it.
        news = [came - before for (_, before), (recorded, came) in pairwise(reader.moments) if recorded > before]
        assert min(news) < poll, news
    assert [web.health()["runner"][name] for name in ("enabled", "active", "running")] == [False, False, 0]


def test_a_killed_replicas_runs_go_on_at_another(add_replica: StartReplica, dokploy: Emulator):
    dokploy.fault("stuck", times=4)
    killed = add_replica(RUNNER_LEASE_SECONDS="3").ready()
    deployments = [killed.deploy(f"ada-{number}") for number in range(4)]
    wait_until_at_work(dokploy, 4)
    other = add_replica().ready()

    killed.process.send(signal.SIGKILL)
    for deployment in deployments:
        other.wait_for(deployment, "deployment_resumed")
    dokploy.release()

    for deployment in deployments:
        other.succeeds(deployment)
    assert set(calls(dokploy, *MUTATIONS).values()) == {4}


def test_a_replica_that_was_stopped_and_wakes_up_is_fenced(add_replica: StartReplica, dokploy: Emulator):
    # When it wakes up, its lease has run out, and so has the deadline of its call; not before it is stopped, though.
    settings = {"RUNNER_LEASE_SECONDS": "16", "DOKPLOY_TIMEOUT_SECONDS": "15"}
    # One run waits for Dokploy, the other is in the middle of its calls.
    dokploy.fault("stuck")
    sleeper = add_replica(**settings).ready()
    waiting = sleeper.deploy("ada")
    wait_until_at_work(dokploy, 1)
    dokploy.fault("hold", "application.create", match="bob")
    calling = sleeper.deploy("bob")
    wait_until(lambda: dokploy.held("application.create") == 1, tell=dokploy.state)

    sleeper.process.send(signal.SIGSTOP)
    # The call lands without it, and before its runs are taken over.
    dokploy.release(match="bob")
    wait_until(lambda: len(dokploy.state()["applications"]) == 2)
    taker = add_replica(**settings).ready()
    for deployment in (waiting, calling):
        taker.wait_for(deployment, "deployment_resumed")
    sleeper.process.send(signal.SIGCONT)

    # It learns that it is late, and comes back under another name.
    wait_until(lambda: len(lines_of(sleeper.process, "runner_active")) >= 2, tell=lambda: sleeper.process.output)
    workers = [line["worker"] for line in lines_of(sleeper.process, "runner_active")]
    assert len(set(workers)) == len(workers)
    assert lines_of(sleeper.process, "lease_lost")[0]["worker"] == workers[0]
    dokploy.release()
    for deployment in (waiting, calling):
        types = [event["type"] for event in taker.succeeds(deployment)]
        assert types.count("deployment_resumed") == 1
    assert set(calls(dokploy, *MUTATIONS).values()) == {2}
    assert len(dokploy.state()["services"]) == 2
    # And runs deployments again, alone where it has to.
    taker.process.terminate()
    sleeper.succeeds(sleeper.deploy("eve"))
    assert lines_of(sleeper.process, "deployment_completed")


def test_a_replica_that_is_told_to_stop_hands_over_and_ends(add_replica: StartReplica, dokploy: Emulator):
    # No lease runs out, and no run ends, before the one that leaves has ended.
    dokploy.fault("stuck", times=5)
    # Who takes up a call that was cut off waits for this long before looking whether it has landed.
    leaving = add_replica(DOKPLOY_TIMEOUT_SECONDS="4").ready()
    deployments = [leaving.deploy(f"ada-{number}") for number in range(4)]
    wait_until_at_work(dokploy, 4)
    staying = add_replica(DOKPLOY_TIMEOUT_SECONDS="4").ready()
    # One is in the middle of a call, which lands without it and within its deadline; unless the other has claimed it.
    dokploy.fault("slow", "project.create", seconds=2)
    deployments.append(leaving.deploy("late"))
    wait_until(lambda: calls(dokploy, "project.create")["project.create"] == 5)
    readers = [Reader(deployment, [leaving.url, staying.url], 0) for deployment in deployments]
    with reading(readers):
        wait_until(lambda: all(reader.numbers for reader in readers))
        assert leaving.process.terminate() == 0
        for deployment in deployments[:4]:
            staying.wait_for(deployment, "deployment_resumed")
        wait_until_at_work(dokploy, 5)
        dokploy.release()

    for reader in readers:
        assert (reader.conclusion, reader.pauses, reader.connections) == ("succeeded", 1, 2)
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
    assert len(dokploy.state()["projects"]) == 5
    assert "Traceback" not in leaving.process.output


@pytest.mark.anyio
async def test_a_stream_that_is_late_at_a_stop_still_tells_when_to_come_back(
    add_replica: StartReplica, postgres_url: str
):
    replica = add_replica("--web-only").ready()
    reader = Reader(replica.deploy("ada"), [replica.url], 0)
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    with ThreadPoolExecutor(1) as pool, reading([reader]):
        await until(lambda: replica.health()["runner"]["watchers"] == 1)
        async with holder.transaction():
            # At the signal a stream looks once more for what there is to send, which here takes a while.
            await holder.execute("LOCK TABLE event")
            stopped = pool.submit(replica.process.terminate)

            async def it_looks() -> bool:
                return bool(await holder.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))

            await until(it_looks)
            # Longer than the library that sends the stream takes to see that the server is to stop.
            await asyncio.sleep(0.7)
        assert stopped.result() == 0
        reader.given_up = True
    await holder.close()

    assert (reader.pauses, reader.connections) == (1, 1)


@pytest.mark.anyio
async def test_a_request_that_outlasts_a_stop_is_told_to_come_back(add_replica: StartReplica, postgres_url: str):
    replica = add_replica(APP_ENV="production", PORTAL_URL="https://portal.example", ALLOW_OPEN_PORTAL="true").ready()
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    with ThreadPoolExecutor(2) as pool:
        async with holder.transaction():
            # What both read waits for this transaction, longer than the process waits for them.
            await holder.execute("LOCK TABLE audit")
            api = pool.submit(replica.client.get, "/api/audit", headers=OPERATOR)
            page = pool.submit(replica.client.get, "/operator/audit", headers={**OPERATOR, "accept": "text/html"})

            async def both_wait() -> bool:
                return bool(await holder.fetchval("SELECT count(*) = 2 FROM pg_locks WHERE NOT granted"))

            await until(both_wait)
            assert replica.process.terminate() == 0

        document, shown = api.result(), page.result()
    await holder.close()

    assert (document.status_code, document.json()["code"]) == (503, "portal_stopping")
    assert (shown.status_code, "The portal is restarting" in shown.text) == (503, True)
    for answer in (document, shown):
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["strict-transport-security"]
    assert len(lines_of(replica.process, "request_cut")) == 2
    assert "Traceback" not in replica.process.output


def test_the_web_and_the_runner_are_processes_of_their_own(
    add_replica: StartReplica, portal_command: Command, settings: dict[str, str], dokploy: Emulator
):
    # Health checks are of the same host, of which there is only one here: no other runner may be on this database.
    empty = portal_command("check-runner", **settings)
    assert (empty.wait(), len(empty.output.splitlines())) == (1, 1)
    web = add_replica("--web-only").ready()
    waiting = web.deploy("ada")
    assert portal_command("check-runner", **settings).wait() == 1
    assert web.health()["status"] == "healthy"
    # How long it waits in line is told beside what happened.
    happened = [event["type"] for event in web.events(waiting) if event["type"] != "waiting"]
    assert happened == ["deployment_queued"]

    first = portal_command("runner", **settings)
    web.succeeds(waiting)
    assert portal_command("check-runner", **settings).wait() == 0

    dokploy.fault("stuck")
    handed_over = web.deploy("bob")
    wait_until_at_work(dokploy, 1)
    assert first.terminate() == 0
    check = portal_command("check-runner", **settings)
    assert (check.wait(), check.output) == (1, "error: no runner of this host holds a lease\n")
    second = portal_command("runner", **settings)
    web.wait_for(handed_over, "deployment_resumed")
    dokploy.release()
    types = [event["type"] for event in web.succeeds(handed_over)]
    assert types.count("deployment_resumed") == 1

    # Nothing is served by it, and it is cancelled through the store.
    dokploy.fault("stuck")
    cancelled = web.deploy("eve")
    wait_until_at_work(dokploy, 1)
    assert web.client.post(f"/api/deployments/{cancelled}/cancel", headers=OPERATOR).status_code == 202
    web.wait_for(cancelled, "cancel_requested")
    dokploy.release()
    assert web.wait_for(cancelled, "deployment_completed")["conclusion"] == "canceled"
    assert second.terminate(signal.SIGINT) == 0
    assert "Traceback" not in first.output + second.output


@pytest.mark.parametrize("command", [("serve", "--web-only"), ("runner",), ("check-runner",)])
def test_sides_apart_need_postgresql(portal_command: Command, tmp_path: Any, command: Sequence[str]):
    settings = replica_settings(f"sqlite+aiosqlite:///{tmp_path / 'portal.db'}", "http://127.0.0.1:9")

    process = portal_command(*command, **settings)

    assert process.wait() == 1
    (line,) = process.output.splitlines()
    assert line.startswith(f"error: `{' '.join(command)}` needs PostgreSQL")
    assert "DATABASE_URL=postgresql+asyncpg://" in line
    assert not (tmp_path / "portal.db").exists()


def test_a_check_without_the_store_says_so(portal_command: Command):
    url = f"postgresql+asyncpg://portal:hunter2@127.0.0.1:{reserve_port()}/portal"

    process = portal_command("check-runner", **replica_settings(url, "http://127.0.0.1:9"))

    assert process.wait() == 1
    assert process.output.splitlines()[-1].startswith("error: the store does not answer")
    assert "Traceback" not in process.output
    assert "hunter2" not in process.output


def test_a_runner_waits_for_its_store_until_it_is_told_to_stop(portal_command: Command):
    url = f"postgresql+asyncpg://portal:hunter2@127.0.0.1:{reserve_port()}/portal"
    process = portal_command("runner", **replica_settings(url, "http://127.0.0.1:9"))
    process.says("store_awaited")

    assert process.terminate() == 0
    assert "Traceback" not in process.output
    assert "hunter2" not in process.output


def test_a_rolling_restart_loses_nothing(add_replica: StartReplica, dokploy: Emulator):
    """Three replicas one after the other, under 100 deployments that run and 300 streams that are open."""
    many = 100
    dokploy.fault("stuck", times=many)
    replicas = [add_replica(RUNNER_CONCURRENCY="60") for _ in range(3)]
    for replica in replicas:
        replica.ready()
    with ThreadPoolExecutor(8) as pool:
        deployments = list(pool.map(lambda number: replicas[number % 3].deploy(f"ada-{number}"), range(many)))
    addresses = [replica.url for replica in replicas]
    readers = [Reader(each, addresses, place) for each in deployments for place in range(3)]
    with reading(readers):
        # Most wait for Dokploy by now, some are still in the middle of their calls.
        wait_until_at_work(dokploy, many * 2 // 3)
        wait_for_count(lambda: sum(replica.health()["runner"]["watchers"] for replica in replicas), len(readers))
        for replica in replicas:
            assert replica.process.terminate() == 0
            assert "Traceback" not in replica.process.output
            replica.start()
            replica.ready()
        wait_until_at_work(dokploy, many)
        dokploy.release()

    for reader in readers:
        assert reader.conclusion == "succeeded"
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
    assert all(reader.pauses <= 3 for reader in readers)
    for deployment in deployments:
        replicas[0].succeeds(deployment)
    state = dokploy.state()
    for kind in ("projects", "applications", "domains", "mounts", "volumes", "services"):
        assert len(state[kind]) == many, kind
    assert state["queue"] == []
    # A call that was cut off before it was read counts as a call, so it is Dokploy's own records that are counted.
    for application in state["applications"]:
        assert len(dokploy.ask("deployment.all", applicationId=application["applicationId"])) == 1
