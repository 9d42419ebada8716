"""Cancelling and deleting at any moment: it ends as cancelled with nothing left, or it had succeeded whole before."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.integration.conftest import ONE_AT_A_TIME, Scenarios, Servers, SideBySide
from tests.integration.holding import UNHURRIED, wait_for_held
from tests.integration.test_failures import CALLS, assert_whole, foreign_job, new_name
from tests.integration.test_undo import OPERATOR, assert_canceled, cancel, check, delete
from tests.waiting import WAIT_SECONDS, wait_until

scenarios = Scenarios()


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    return UNHURRIED


def hold(servers: Servers, call: str) -> dict[str, Any]:
    """Begin a deployment and wait until this call of it is under way; it is not answered before it is released."""
    servers.emulator.fault("hold", call)
    accepted = servers.portal.deploy(new_name())
    wait_for_held(servers.emulator, call)
    return accepted


def test_cancel_during_each_call(side_by_side: SideBySide):
    def check_call(servers: Servers, call: str) -> None:
        accepted = hold(servers, call)

        assert cancel(servers.portal, accepted).status_code == 202
        assert servers.emulator.release() == 1

        record = assert_canceled(servers, accepted)
        assert record["cancelRequested"]
        assert servers.emulator.left() == {}

    side_by_side(CALLS, check_call)


@scenarios.add(ONE_AT_A_TIME, **UNHURRIED)
def a_cancel_takes_our_job_out_of_the_line_at_once_and_nobody_elses(servers: Servers) -> None:
    emulator = servers.emulator
    theirs = foreign_job(emulator)
    emulator.call("application.deploy", applicationId=theirs, title="theirs, too")
    ada = servers.portal.deploy("ada")
    servers.portal.wait_for(ada["deploymentId"], "queue_position")
    bob = servers.portal.deploy("bob")
    servers.portal.wait_for(bob["deploymentId"], "queue_position")

    def titles(state: str) -> set[str]:
        return {job["data"]["titleLog"] for job in emulator.state()["queue"] if job["state"] == state}

    assert cancel(servers.portal, ada).status_code == 202

    wait_until(lambda: ada["deploymentId"] not in titles("waiting"))
    assert titles("active") == {"theirs"}, "it was taken out of the line before its turn came"
    assert titles("waiting") == {"theirs, too", bob["deploymentId"]}
    assert_canceled(servers, ada)
    keys = [event["key"] for event in servers.portal.events(ada["deploymentId"])]
    assert "undo_waiting" not in keys, "a job that only waits holds nothing up"
    emulator.release()
    assert servers.portal.wait(bob["deploymentId"])["conclusion"] == "succeeded"


@scenarios.add(**UNHURRIED)
def a_cancel_waits_for_what_dokploy_works_on_and_the_page_says_so(servers: Servers) -> None:
    servers.emulator.fault("stuck")
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait_for(accepted["deploymentId"], "progressed", what="container_running")

    assert cancel(servers.portal, accepted).status_code == 202
    event = servers.portal.wait_for(accepted["deploymentId"], "progressed", what="undo_waiting")
    page = servers.portal.client.get(f"/deployments/{accepted['deploymentId']}", headers={"accept": "text/html"})
    before = servers.portal.record(accepted["deploymentId"])
    assert cancel(servers.portal, accepted).status_code == 202
    servers.emulator.release()

    assert event["undoing"]
    assert event["message"] in page.text
    assert f'action="/deployments/{accepted["deploymentId"]}/cancel"' not in page.text
    record = assert_canceled(servers, accepted)
    assert (before["cancelRequested"], record["cancelRequested"]) == (True, True)
    assert servers.emulator.left() == {}


@scenarios.add(**UNHURRIED)
def a_removal_cannot_be_cancelled(servers: Servers) -> None:
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait(accepted["deploymentId"])
    servers.emulator.fault("volume_in_use", times=-1)
    removal = servers.portal.client.delete(
        f"/api/stack/{accepted['stackName']}", headers={**OPERATOR, "prefer": "wait=0"}
    )
    removing = {"deploymentId": removal.json()["deploymentId"], "manageKey": accepted["manageKey"]}

    refused = cancel(servers.portal, removing)
    servers.emulator.clear_faults()

    assert (removal.status_code, refused.status_code, refused.json()["code"]) == (202, 409, "removal_goes_on")
    assert servers.portal.wait(removing["deploymentId"])["conclusion"] == "succeeded"
    assert servers.emulator.left() == {}
    over = cancel(servers.portal, removing)
    assert (over.status_code, over.json()["code"]) == (409, "deployment_over")


def test_a_cancel_ends_what_is_ours_alone_and_no_removal(tmp_path: Path):
    scenarios.check(tmp_path)


# In the very moment in which it succeeds: seconds from the end of the last call to the request.
MOMENTS = ("-0.06", "-0.02", "-0.01", "-0.005", "0", "0.005", "0.01", "0.03")


def twice_around_success(servers: Servers, moment: str, make: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Make a request from two threads, so long after the last call is answered, or before.

    A busy machine moves the moment, and whatever it is moved to is right as well.
    """
    barrier = Barrier(3)

    def make_it(_: int) -> httpx.Response:
        barrier.wait(WAIT_SECONDS)
        time.sleep(max(0.0, float(moment)))
        return make()

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(make_it, each) for each in range(2)]
        barrier.wait(WAIT_SECONDS)
        time.sleep(max(0.0, -float(moment)))
        servers.emulator.release()
        return [answer.result() for answer in answers]


def test_a_cancel_in_the_moment_of_success(side_by_side: SideBySide):
    """Whoever was told 202 gets everything removed; whoever was told that it is over has a whole stack."""

    def check_moment(servers: Servers, moment: str) -> None:
        accepted = hold(servers, "docker.getServiceContainersByAppName")

        answers = twice_around_success(servers, moment, lambda: cancel(servers.portal, accepted))

        record = servers.portal.wait(accepted["deploymentId"])
        if any(answer.status_code == 202 for answer in answers):
            assert_canceled(servers, accepted)
            assert servers.emulator.left() == {}
        else:
            assert [answer.json()["code"] for answer in answers] == ["deployment_over"] * 2
            assert_whole(servers, accepted["stackName"], record, servers.portal.events(accepted["deploymentId"]))

    side_by_side(MOMENTS, check_moment)


def test_a_delete_from_the_page_in_the_moment_of_success(side_by_side: SideBySide):
    """The creation is cancelled, or its stack is removed: either way nothing is left, and the page leads there."""

    def check_moment(servers: Servers, moment: str) -> None:
        accepted = hold(servers, "docker.getServiceContainersByAppName")
        path = f"/stacks/{accepted['stackName']}/delete"

        answers = twice_around_success(
            servers, moment, lambda: servers.portal.client.post(path, data={"volume": "erase"}, headers=OPERATOR)
        )

        assert 303 in {answer.status_code for answer in answers}
        for answer in answers:
            assert answer.status_code in {303, 404}, answer.text  # the faster one may have removed it already
            if answer.status_code == 303:
                record = servers.portal.wait(answer.headers["location"].rpartition("/")[2])
                assert (record["kind"], record["conclusion"]) in {("create", "canceled"), ("remove", "succeeded")}
        assert servers.emulator.left() == {}
        assert check(servers.portal, accepted["stackName"]) is None
        assert delete(servers.portal, accepted["stackName"]).status_code == 404

    side_by_side(MOMENTS, check_moment)
