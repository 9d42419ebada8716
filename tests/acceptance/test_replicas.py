"""Several portals on one PostgreSQL, as processes: any of them serves any stream, and no run is lost with one of them."""

import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.acceptance.conftest import ROOT, Process
from tests.acceptance.replicas import (
    Command,
    Reader,
    Replica,
    free_port,
    lines_of,
    reading,
    replica_settings,
    seconds_since,
)
from tests.servers import ADMIN_TOKEN, Emulator

MUTATIONS = ("project.create", "application.create", "domain.create", "mounts.create", "application.deploy")

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}

StartReplica = Callable[..., Replica]


@pytest.fixture(scope="module")
def dokploy_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An emulated Dokploy in a process of its own, for the module."""
    folder = tmp_path_factory.mktemp("dokploy")
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SANDBOX_DEPLOY_SECONDS": "0.2",
        "SANDBOX_START_SECONDS": "0.05",
        "SANDBOX_CONCURRENCY": "0",
    }
    process = Process([sys.executable, "-m", "app", "emulator"], folder, environment, folder)
    try:
        process.answers(f"http://127.0.0.1:{port}/sandbox/state")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.end()


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


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> float:
    """Wait; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come to that"
        time.sleep(0.02)
    return time.monotonic() - began


def deployed(dokploy: Emulator, count: int) -> Callable[[], bool]:
    """Whether so many deployments wait for Dokploy."""
    return lambda: calls(dokploy, "application.deploy")["application.deploy"] >= count


def test_a_replica_streams_at_once_what_another_runs(
    add_replica: StartReplica, dokploy: Emulator, record_property: Callable[[str, Any], None]
):
    dokploy.fault("slow", "*", seconds=0.1, times=-1)
    web, running = add_replica("--web-only"), add_replica()
    web.ready()
    running.ready()
    names = [f"ada-{number}" for number in range(3)]

    # Taken in by the one, run by the other, and read at both.
    readers = [
        Reader(deployment, [replica.url], 0) for deployment in map(web.deploy, names) for replica in (web, running)
    ]
    with reading(readers, 30):
        pass

    for reader in readers:
        assert reader.conclusion == "succeeded"
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
    # Those that were there before a reader was are no measure.
    there, here = ([late for reader in readers[place::2] for late in reader.late[3:]] for place in (0, 1))
    report("event on another replica's stream, ms", [1000 * late for late in there], record_property)
    report("event on its own replica's stream, ms", [1000 * late for late in here], record_property)
    assert statistics.median(there) < 1
    assert [web.health()["runner"][name] for name in ("enabled", "active", "running")] == [False, False, 0]


def test_a_killed_replicas_runs_go_on_at_another(
    add_replica: StartReplica, dokploy: Emulator, record_property: Callable[[str, Any], None]
):
    dokploy.fault("stuck", seconds=7, times=4)
    killed = add_replica().ready()
    deployments = [killed.deploy(f"ada-{number}") for number in range(4)]
    wait_until(deployed(dokploy, 4))
    other = add_replica().ready()

    killed.process.send(signal.SIGKILL)
    moment = time.time()
    resumed = [other.wait_for(deployment, "deployment_resumed") for deployment in deployments]

    taken = [seconds_since(event, moment) for event in resumed]
    report("a killed replica's run on another, s", taken, record_property)
    assert max(taken) < 5
    for deployment in deployments:
        other.succeeds(deployment)
    assert set(calls(dokploy, *MUTATIONS).values()) == {4}


def test_a_replica_that_was_stopped_and_wakes_up_is_fenced(add_replica: StartReplica, dokploy: Emulator):
    # One waits for Dokploy, the other is in the middle of its calls.
    dokploy.fault("stuck", seconds=7)
    sleeper = add_replica().ready()
    waiting = sleeper.deploy("ada")
    wait_until(deployed(dokploy, 1))
    dokploy.fault("slow", "application.create", seconds=1)
    calling = sleeper.deploy("bob")
    wait_until(lambda: calls(dokploy, "application.create")["application.create"] == 2)

    sleeper.process.send(signal.SIGSTOP)
    taker = add_replica().ready()
    for deployment in (waiting, calling):
        taker.wait_for(deployment, "deployment_resumed")
    sleeper.process.send(signal.SIGCONT)

    # It learns that it is late, and comes back under another name.
    wait_until(lambda: len(lines_of(sleeper.process, "runner_active")) == 2, 5)
    assert len(lines_of(sleeper.process, "lease_lost")) == 1
    workers = [line["worker"] for line in lines_of(sleeper.process, "runner_active")]
    assert workers[0] != workers[1]
    for deployment in (waiting, calling):
        types = [event["type"] for event in taker.succeeds(deployment)]
        assert types.count("deployment_resumed") == 1
    assert set(calls(dokploy, *MUTATIONS).values()) == {2}
    assert len(dokploy.state()["services"]) == 2
    # And runs deployments again, alone where it has to.
    taker.process.terminate()
    sleeper.succeeds(sleeper.deploy("eve"))
    assert lines_of(sleeper.process, "deployment_completed")


def test_a_replica_that_is_told_to_stop_hands_over_at_once(
    add_replica: StartReplica, dokploy: Emulator, record_property: Callable[[str, Any], None]
):
    dokploy.fault("stuck", seconds=6, times=4)
    leaving = add_replica().ready()
    deployments = [leaving.deploy(f"ada-{number}") for number in range(4)]
    wait_until(deployed(dokploy, 4))
    staying = add_replica().ready()
    # One is in the middle of a call, which lands without it and within its deadline.
    dokploy.fault("slow", "project.create", seconds=2)
    deployments.append(leaving.deploy("late"))
    readers = [Reader(deployment, [leaving.url, staying.url], 0) for deployment in deployments]
    with reading(readers, 40):
        wait_until(lambda: all(reader.numbers for reader in readers))
        moment = time.time()
        status, seconds = leaving.process.terminate()
        resumed = [staying.wait_for(deployment, "deployment_resumed") for deployment in deployments[:4]]

    taken = [seconds_since(event, moment) for event in resumed]
    report("a stopping replica's run on another, s", taken, record_property)
    report("a stopping replica's end, s", [seconds], record_property)
    assert status == 0
    assert max(taken) < 2.5
    assert seconds < 4
    for reader in readers:
        assert (reader.conclusion, reader.pauses, reader.connections) == ("succeeded", 1, 2)
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
    assert len(dokploy.state()["projects"]) == 5
    assert "Traceback" not in leaving.process.output


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

    dokploy.fault("stuck", seconds=3)
    handed_over = web.deploy("bob")
    wait_until(deployed(dokploy, 2))
    assert first.terminate()[0] == 0
    check = portal_command("check-runner", **settings)
    assert (check.wait(), check.output) == (1, "error: no runner of this host holds a lease\n")
    second = portal_command("runner", **settings)
    types = [event["type"] for event in web.succeeds(handed_over)]
    assert types.count("deployment_resumed") == 1

    # Nothing is served by it, and it is cancelled through the store.
    dokploy.fault("stuck", seconds=1)
    cancelled = web.deploy("eve")
    wait_until(deployed(dokploy, 3))
    assert web.client.post(f"/api/deployments/{cancelled}/cancel", headers=OPERATOR).status_code == 202
    assert web.wait_for(cancelled, "deployment_completed")["conclusion"] == "canceled"
    assert second.terminate(number=signal.SIGINT)[0] == 0
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
    url = f"postgresql+asyncpg://portal:hunter2@127.0.0.1:{free_port()}/portal"

    process = portal_command("check-runner", **replica_settings(url, "http://127.0.0.1:9"))

    assert process.wait() == 1
    assert process.output.splitlines()[-1].startswith("error: the store does not answer")
    assert "Traceback" not in process.output
    assert "hunter2" not in process.output


def test_a_runner_waits_for_its_store_until_it_is_told_to_stop(portal_command: Command):
    url = f"postgresql+asyncpg://portal:hunter2@127.0.0.1:{free_port()}/portal"
    process = portal_command("runner", **replica_settings(url, "http://127.0.0.1:9"))
    deadline = time.monotonic() + 30
    while "store_awaited" not in process.output:
        assert time.monotonic() < deadline, process.output
        time.sleep(0.05)

    status, _ = process.terminate()

    assert status == 0
    assert "Traceback" not in process.output
    assert "hunter2" not in process.output


def test_a_rolling_restart_loses_nothing(
    add_replica: StartReplica, dokploy: Emulator, record_property: Callable[[str, Any], None]
):
    """Three replicas one after the other, under 100 deployments that run and 300 streams that are open."""
    many = 100
    dokploy.fault("stuck", seconds=10, times=many)
    replicas = [add_replica(RUNNER_CONCURRENCY="60") for _ in range(3)]
    for replica in replicas:
        replica.ready()
    with ThreadPoolExecutor(8) as pool:
        deployments = list(pool.map(lambda number: replicas[number % 3].deploy(f"ada-{number}"), range(many)))
    addresses = [replica.url for replica in replicas]
    readers = [Reader(deployment, addresses, place) for deployment in deployments for place in range(3)]
    ends: list[float] = []
    handed_over: list[float] = []
    with reading(readers, 90):
        # Most wait for Dokploy by now, some are still in the middle of their calls.
        wait_until(deployed(dokploy, many * 2 // 3), 40)
        wait_until(lambda: sum(replica.health()["runner"]["watchers"] for replica in replicas) == len(readers))
        for replica in replicas:
            status, seconds = replica.process.terminate(15)
            assert (status, "Traceback" in replica.process.output) == (0, False), replica.process.output
            ends.append(seconds)
            handed_over.extend(line["seconds"] for line in lines_of(replica.process, "runs_handed_over"))
            replica.start()
            replica.ready()

    report("a replica's end under load, s", ends, record_property)
    report("a replica's hand-over under load, s", handed_over, record_property)
    for reader in readers:
        assert reader.conclusion == "succeeded"
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
    assert all(reader.pauses <= 3 for reader in readers)
    report("connections of a reader", [reader.connections for reader in readers], record_property)
    for deployment in deployments:
        replicas[0].succeeds(deployment)
    state = dokploy.state()
    for kind in ("projects", "applications", "domains", "mounts", "volumes", "services"):
        assert len(state[kind]) == many, kind
    assert state["queue"] == []
    # A call that was cut off before it was read counts as a call, so it is Dokploy's own records that are counted.
    for application in state["applications"]:
        assert len(dokploy.ask("deployment.all", applicationId=application["applicationId"])) == 1


def report(what: str, values: Sequence[float], record_property: Callable[[str, Any], None]) -> None:
    """Keep what was measured with the test's result; `pytest -s` shows it."""
    ordered = sorted(values)
    text = (
        f"median {statistics.median(ordered):.3f}, p95 {ordered[int(len(ordered) * 0.95)]:.3f}, most {ordered[-1]:.3f}"
    )
    record_property(what, text)
    print(f"\n{what}: {text} of {len(ordered)}")
