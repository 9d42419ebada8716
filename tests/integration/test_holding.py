"""What the emulator holds goes on when it is told to, and what it held is gone when it begins anew."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.holding import wait_for_held
from tests.servers import Emulator


def test_a_call_that_is_held_is_done_and_answered_once_it_is_released(emulator: Emulator):
    emulator.fault("hold", "project.create")
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(emulator.call, "project.create", name="ada")
        wait_for_held(emulator, "project.create")
        assert emulator.state()["projects"] == []

        assert emulator.release() == 1

        assert creating.result()["project"]["name"] == "ada"
    assert [project["name"] for project in emulator.state()["projects"]] == ["ada"]
    assert emulator.held() == 0
    assert emulator.release(0) == 0


def test_a_call_that_is_held_is_dropped_when_the_emulator_begins_anew(emulator: Emulator):
    emulator.fault("hold", "project.create")
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(emulator.call, "project.create", name="ada")
        wait_for_held(emulator, "project.create")

        emulator.reset()

        with pytest.raises(httpx.RemoteProtocolError):
            creating.result()
    assert emulator.left() == {}


def test_a_deployment_that_is_stuck_ends_as_it_was_to_once_it_is_released(emulator: Emulator):
    environment = emulator.call("project.create", name="ada")["environment"]["environmentId"]
    application = emulator.call("application.create", name="ada", environmentId=environment)["applicationId"]
    emulator.call("application.update", applicationId=application, sourceType="docker", dockerImage="nginx")
    emulator.fault("stuck", times=2)
    for _ in range(2):
        emulator.call("application.deploy", applicationId=application, title="ours")

    wait_for_held(emulator, "application.deploy", 2)
    assert {row["status"] for row in emulator.state()["deployments"]} == {"running"}
    assert emulator.release(2) == 2

    assert [row["status"] for row in emulator.state()["deployments"]] == ["done", "done"]
    assert emulator.state()["queue"] == []
