"""Two portals on one SQLite file, as processes, as in a start-first update: the second serves, waits, and takes over."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.replicas import Reader, Replica, lines_of, reading, replica_settings, wait_until_at_work
from tests.servers import ADMIN_TOKEN, Emulator, sqlite_url
from tests.waiting import wait_until

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_second_process_on_a_file_takes_over_without_a_gap(
    start_replica: Callable[..., Replica], emulator: Emulator, tmp_path: Path, ending: int
):
    # Its lease is longer than the test: only the file's lock can tell the second that the first has ended.
    settings = replica_settings(sqlite_url(tmp_path), emulator.url, SSE_HEARTBEAT_SECONDS="0.5")
    emulator.fault("stuck", times=2)
    first = start_replica(settings).ready()
    before = first.deploy("ada")
    wait_until_at_work(emulator, 1)

    # It serves, takes requests in, and is healthy, but the first one has the lock and carries them out.
    second = start_replica(settings).ready()
    assert second.health()["status"] == "healthy"
    assert [second.health()["runner"][name] for name in ("enabled", "active", "running")] == [True, False, 0]
    taken_in = second.deploy("bob")
    wait_until_at_work(emulator, 2)
    unwanted = second.deploy("eve")
    assert second.client.post(f"/api/deployments/{unwanted}/cancel", headers=OPERATOR).status_code == 202
    readers = [
        Reader(deployment, [replica.url, second.url], 0)
        for deployment in (before, taken_in, unwanted)
        for replica in (first, second)
    ]
    with reading(readers):
        over = second.wait_for(unwanted, "deployment_completed")
        assert over["conclusion"] in {"canceled", "succeeded"}
        assert lines_of(second.process, "runner_active") == []
        wait_until(lambda: all(each.conclusion if each.deployment == unwanted else each.numbers for each in readers))

        status = first.process.terminate(ending)

        for deployment in (before, taken_in):
            second.wait_for(deployment, "deployment_resumed")
        assert second.health()["runner"]["active"]
        emulator.release()

    assert status == (0 if ending == signal.SIGTERM else -signal.SIGKILL)
    for reader in readers:
        assert reader.numbers == list(range(1, len(reader.numbers) + 1))
        assert reader.conclusion == (over["conclusion"] if reader.deployment == unwanted else "succeeded")
        # Who reads at the second never notices.
        assert reader.connections == (2 if reader.addresses[0] == first.url and reader.deployment != unwanted else 1)
    for name in ("project.create", "application.create", "application.deploy"):
        assert emulator.state()["calls"][name] in {2, 3}
    assert {service["name"] for service in emulator.state()["services"]} == {
        application["appName"] for application in emulator.state()["applications"]
    }


def test_the_second_process_waits_for_as_long_as_it_takes(
    start_replica: Callable[..., Replica], emulator: Emulator, tmp_path: Path
):
    """A first one that is stopped keeps its lock: nothing of it is taken, and it goes on when it wakes up."""
    settings = replica_settings(sqlite_url(tmp_path), emulator.url, RUNNER_LEASE_SECONDS="1")
    first = start_replica(settings).ready()
    emulator.fault("stuck")
    deployment = first.deploy("ada")
    wait_until_at_work(emulator, 1)
    second = start_replica(settings).ready()

    first.process.send(signal.SIGSTOP)
    # The lease is over, and the second has looked for the lock several times. Nothing tells that it has looked in vain;
    # on a slow machine it has looked less often, which proves less and fails nothing.
    time.sleep(2)
    assert not second.health()["runner"]["active"]
    first.process.send(signal.SIGCONT)
    emulator.release()

    types = [event["type"] for event in second.succeeds(deployment)]
    assert "deployment_resumed" not in types
    assert len(lines_of(first.process, "runner_active")) == 1
    assert emulator.state()["calls"]["application.deploy"] == 1
