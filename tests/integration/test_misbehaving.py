"""Dokploy misbehaving: slow, rate-limited, busy with others, restarting, stuck, or saying 200 to what it did not do."""

import html
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import FAST, ONE_AT_A_TIME, Scenarios, Servers, SideBySide
from tests.integration.holding import UNHURRIED, wait_for_held
from tests.integration.test_failures import assert_undone, assert_whole, deploy, foreign_job, new_name
from tests.integration.test_leftovers import listed
from tests.integration.test_undo import check, delete
from tests.servers import AMPLE_SECONDS, SUFFIX, Emulator, PortalServer
from tests.waiting import wait_until

StartPortal = Callable[..., PortalServer]

# What cannot be removed is left soon, and tried again soon.
IMPATIENT: dict[str, Any] = {**UNHURRIED, "undo_timeout_seconds": 0.8, "leftovers_retry_seconds": 0.4}

scenarios = Scenarios()


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    return IMPATIENT


def calls(emulator: Emulator, name: str) -> int:
    return int(emulator.state()["calls"].get(name, 0))


# Slow, limited


@scenarios.add(FAST.model_copy(update={"LATENCY_MS": 250}), **UNHURRIED)
def every_call_is_slow(servers: Servers) -> None:
    """A quarter of a second a call: nothing is taken for lost, and nothing is done twice."""
    portal, emulator = servers.portal, servers.emulator
    ada, bob = (portal.deploy(name)["deploymentId"] for name in ("ada", "bob"))
    emulator.fault("fail", match=bob)

    for deployment_id in (ada, bob):
        record = portal.wait(deployment_id)
        assert "warning.dokploy_away" not in {event["key"] for event in portal.events(deployment_id)}
    assert (portal.record(ada)["conclusion"], portal.record(ada)["problem"]) == ("succeeded", None)
    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "deploy_failed", [])
    creates = ("project.create", "application.create", "mounts.create", "domain.create", "application.deploy")
    assert {name: calls(emulator, name) for name in creates} == dict.fromkeys(creates, 2)
    assert [project["name"] for project in emulator.state()["projects"]] == ["ada"]


@scenarios.add(**UNHURRIED, dokploy_circuit_seconds=0.5)
def a_key_has_a_limit(servers: Servers) -> None:
    """Several deployments share a key that allows 25 calls, then nothing for a while: all of them come through."""
    portal, emulator = servers.portal, servers.emulator
    portal.wait(portal.deploy("first")["deploymentId"])
    emulator.fault("hold", "project.create", times=6)
    # All are taken in before the limit is met: while the circuit is open nothing new would be.
    deployment_ids = [portal.deploy(f"stack-{number}")["deploymentId"] for number in range(6)]
    wait_for_held(emulator, "project.create", 6)
    before = sum(emulator.state()["calls"].values())
    began = time.monotonic()

    emulator.fault("rate_limit", times=50, seconds=AMPLE_SECONDS)
    emulator.release(6)
    wait_until(lambda: emulator.state()["refused"])
    time.sleep(0.7)  # for so long the limit holds; a slow machine makes it longer
    emulator.clear_faults()

    for deployment_id in deployment_ids:
        record = portal.wait(deployment_id)
        assert (record["conclusion"], record["leftovers"]) == ("succeeded", []), portal.events(deployment_id)
    state, seconds = emulator.state(), time.monotonic() - began
    kinds = ("projects", "applications", "mounts", "domains", "volumes", "services")
    assert {kind: len(state[kind]) for kind in kinds} == dict.fromkeys(kinds, 7)
    # It backs off: the circuit lets one call in two a second find out, beside those under way when the limit was met.
    accepted = sum(state["calls"].values()) - before - state["refused"]
    assert state["refused"] < seconds / 0.5 + accepted, (state["refused"], accepted, seconds)


@scenarios.add(**UNHURRIED)
def one_observer_asks_for_all_runs(servers: Servers) -> None:
    portal, emulator = servers.portal, servers.emulator
    emulator.fault("stuck", times=12, seconds=1.5)
    began = time.monotonic()

    deployment_ids = [portal.deploy(f"stack-{number}")["deploymentId"] for number in range(12)]

    for deployment_id in deployment_ids:
        assert portal.wait(deployment_id)["conclusion"] == "succeeded"
    # At most one call in 0.1 s, whatever the number of runs; each on its own would have asked about ten times.
    assert calls(emulator, "deployment.queueList") <= (time.monotonic() - began) / 0.1 + 2


CREATES = ("project.create", "application.create", "mounts.create", "domain.create", "application.deploy")


def test_a_5xx_after_the_effect_is_looked_up_and_not_repeated(side_by_side: SideBySide):
    def check_call(servers: Servers, call: str) -> None:
        servers.emulator.fault("error_after", call, status=503)
        name, record, events = deploy(servers)
        assert_whole(servers, name, record, events)
        assert calls(servers.emulator, call) == 1

    side_by_side(CREATES, check_call)


# Removals that are none


def leftovers(portal: PortalServer, name: str) -> dict[str, str]:
    """What is left of a stack, and why."""
    return {each["kind"]: each["code"] for each in listed(portal) if each["stack"] == name}


ALWAYS: dict[str, Any] = {"times": -1}
# What Dokploy says 200 to and does not do -> what is left, and why.
NOT_DONE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "the route stays": ({"kind": "keep_route", **ALWAYS}, {"domain": "route_stays"}),
    "the route stays until the application goes": ({"kind": "keep_route", "call": "domain.delete"}, {}),
    "the container stays": (
        {"kind": "keep_service"},
        dict.fromkeys(("project", "application", "volume"), "still_running"),
    ),
}


def test_an_undo_that_says_200_and_leaves_something(side_by_side: SideBySide):
    def check_case(servers: Servers, case: str) -> None:
        fault, left = NOT_DONE[case]
        portal, emulator = servers.portal, servers.emulator
        emulator.fault("open")
        emulator.fault(**fault)

        name, record, events = deploy(servers)

        if not left:
            assert_undone(servers, name, record, events, "open_to_strangers", "verify")
            return
        assert (record["conclusion"], record["problem"]["code"]) == ("failed", "open_to_strangers")
        assert leftovers(portal, name) == left
        assert ("route_left" in {event["key"] for event in events}) is ("domain" in left)
        assert check(portal, name) == "name_cleaning_up"
        if "domain" in left:
            state = emulator.state()
            assert [state[kind] for kind in ("projects", "applications", "domains", "volumes")] == [[], [], [], []]
            assert [route["host"] for route in state["routes"]] == [f"{name}.{SUFFIX}"]
        wait_until(lambda: any(each["attempts"] >= 2 for each in listed(portal) if each["stack"] == name))
        assert "domain" not in left or leftovers(portal, name) == left, "nothing else is left by looking again"
        emulator.reset()  # as if the operator had removed it by hand
        wait_until(lambda: not leftovers(portal, name))
        assert check(portal, name) is None

    side_by_side(NOT_DONE, check_case)


def test_a_removal_that_says_200_and_leaves_the_route(side_by_side: SideBySide):
    def check_volume(servers: Servers, volume: str) -> None:
        portal, emulator = servers.portal, servers.emulator
        name, _, _ = deploy(servers)
        emulator.fault("keep_route", **ALWAYS)

        answer = delete(portal, name, volume=volume)

        assert (answer.status_code, answer.json()["code"]) == (502, "removal_incomplete")
        assert [each["kind"] for each in answer.json()["leftovers"]] == ["domain"]
        record = portal.record(answer.json()["statusUrl"].rpartition("/")[2])
        assert (record["problem"]["code"], record["problem"]["step"]) == ("route_stays", "domain")
        assert record["problem"]["whoCanMend"] == "operator"
        assert len(emulator.left().get("volumes", ())) == (volume == "keep")
        emulator.clear_faults()
        emulator.reset()
        wait_until(lambda: check(portal, name) == ("name_kept" if volume == "keep" else None))

    side_by_side(("erase", "keep"), check_volume)


def test_an_address_that_never_answers_holds_no_removal_up(start_portal: StartPortal, emulator: Emulator):
    """The portal cannot reach the addresses at all, so it cannot tell; what it can see is gone."""
    portal = start_portal(stack_probe_address="127.0.0.1:9", verify_timeout_seconds=0.3)

    name, record, events = deploy(Servers(portal, emulator))

    assert_undone(Servers(portal, emulator), name, record, events, "address_refused", "verify")


def test_an_address_that_never_was_ours_is_not_waited_for(servers: Servers):
    """Somebody else takes the address between our look and our route; our undo has nothing to do with it."""
    portal, emulator = servers.portal, servers.emulator
    name = new_name()
    emulator.fault("hold", "project.create", match=name)
    emulator.fault("status", "application.create", status=400, match=name)
    deployment_id = portal.deploy(name)["deploymentId"]
    wait_for_held(emulator, "project.create")
    theirs = emulator.call("project.create", name="theirs")["environment"]["environmentId"]
    row = emulator.call("application.create", name="site", environmentId=theirs)
    emulator.call("domain.create", applicationId=row["applicationId"], host=f"{name}.{SUFFIX}", port=80)
    emulator.release()

    record = portal.wait(deployment_id)

    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "dokploy_refused", [])
    assert [project["name"] for project in emulator.state()["projects"]] == ["theirs"]
    assert check(portal, name) is None


# Stuck


@scenarios.add(**{**IMPATIENT, "deploy_timeout_seconds": 1.0})
def what_is_stuck_is_removed_once_dokploy_lets_go(servers: Servers) -> None:
    """Its own deadline, then that of the undo, then the list, and then the background."""
    portal, emulator = servers.portal, servers.emulator
    emulator.fault("stuck")

    name, record, _ = deploy(servers)

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "deploy_timeout")
    kinds = ("project", "application", "mount", "volume", "domain")
    assert leftovers(portal, name) == dict.fromkeys(kinds, "still_deploying")
    assert check(portal, name) == "name_cleaning_up"
    assert len(emulator.state()["applications"]) == 1, "it is not removed while Dokploy would make its container"
    emulator.release()
    wait_until(lambda: not leftovers(portal, name))
    assert emulator.left() == {}
    assert check(portal, name) is None


# Restarts


@scenarios.add(ONE_AT_A_TIME, **UNHURRIED)
def dokploy_restarts_in_a_blink_while_ours_waits_in_its_line(servers: Servers) -> None:
    restart_while_ours_waits_in_line(servers, 0.0)


@scenarios.add(ONE_AT_A_TIME, **UNHURRIED)
def dokploy_restarts_slowly_while_ours_waits_in_its_line(servers: Servers) -> None:
    restart_while_ours_waits_in_line(servers, 0.9)


def restart_while_ours_waits_in_line(servers: Servers, seconds: float) -> None:
    portal, emulator = servers.portal, servers.emulator
    foreign_job(emulator, 3600)
    ada = portal.deploy("ada")["deploymentId"]
    portal.wait_for(ada, "queue_position")

    emulator.restart(seconds)

    record = portal.wait(ada)
    assert (record["conclusion"], record["leftovers"]) == ("succeeded", []), portal.events(ada)
    keys = [event["key"] for event in portal.events(ada)]
    assert keys.count("deploy_triggered_again") == 1
    assert calls(emulator, "application.deploy") == 1 + 2
    assert len(emulator.state()["services"]) == 1


@scenarios.add(**UNHURRIED)
def dokploy_restarts_while_ours_is_verified(servers: Servers) -> None:
    """Docker goes on without Dokploy, and so does the deployment once Dokploy is back."""
    portal, emulator = servers.portal, servers.emulator
    emulator.fault("gateway", times=-1, after=1, status=502)
    ada = portal.deploy("ada")["deploymentId"]
    portal.wait_for(ada, "progressed", what="container_answering")

    emulator.restart(0.9)
    emulator.clear_faults()

    record = portal.wait(ada)
    assert_whole(servers, "ada", record, portal.events(ada))
    assert calls(emulator, "application.deploy") == 1


@scenarios.add(**UNHURRIED)
def dokploy_restarts_while_a_cancel_waits_for_it(servers: Servers) -> None:
    """What is stuck in Dokploy ends with Dokploy, and the undo goes on."""
    portal, emulator = servers.portal, servers.emulator
    emulator.fault("stuck")
    accepted = portal.deploy("ada")
    portal.wait_for(accepted["deploymentId"], "progressed", what="container_running")
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    portal.client.post(f"/api/deployments/{accepted['deploymentId']}/cancel", headers=key).raise_for_status()
    portal.wait_for(accepted["deploymentId"], "progressed", what="undo_waiting")

    emulator.restart(0.5)

    record = portal.wait(accepted["deploymentId"])
    assert (record["conclusion"], record["leftovers"]) == ("canceled", [])
    assert emulator.left() == {}


# Dokploy's line


@scenarios.add(ONE_AT_A_TIME, **{**UNHURRIED, "deploy_timeout_seconds": 3.0})
def thirty_are_in_front_of_us(servers: Servers) -> None:
    portal, emulator = servers.portal, servers.emulator
    theirs = foreign_job(emulator, 1.0)
    first = portal.deploy("first")["deploymentId"]
    portal.wait(first)
    emulator.fault("stuck", times=5)
    for number in range(30):
        emulator.call("application.deploy", applicationId=theirs, title=f"theirs {number}")

    ada = portal.deploy("ada")["deploymentId"]
    place = portal.wait_for(ada, "queue_position")["params"]["position"]
    page = html.unescape(portal.client.get(f"/deployments/{ada}", headers={"accept": "text/html"}).text)
    time.sleep(portal.settings.deploy_timeout_seconds)
    for moves in range(1, 6):
        emulator.release()
        if moves < 5:  # from then on nothing holds them
            portal.wait_for(ada, "queue_position", position=place - moves)
    record = portal.wait(ada)

    # Nothing had been measured when the first one waited; its own time is what the next one is told.
    told = {
        which: [event for event in portal.events(which) if event["type"] == "queue_position"] for which in (first, ada)
    }
    assert {event["params"]["estimate_seconds"] for event in told[first]} <= {None}
    places = [event["params"]["position"] for event in told[ada]]
    assert 20 < places[0] <= 30
    assert told[ada][0]["params"]["total"] == places[0]
    assert places == sorted(places, reverse=True)
    assert len(places) == len(set(places)) >= 5
    # That nothing was measured counts for a second; each move came later than that.
    estimated = [event["params"] for event in told[ada] if event["params"]["estimate_seconds"] is not None]
    assert len(estimated) >= 5
    usual = estimated[0]["estimate_seconds"] / estimated[0]["position"]
    assert usual >= 0.1
    for params in estimated:
        assert params["estimate_seconds"] == pytest.approx(usual * params["position"], abs=0.11)
    assert any(event["message"] in page for event in told[ada])
    # It waited for longer than the deadline, which begins when the job does.
    assert (record["conclusion"], record["problem"]) == ("succeeded", None)
    waited = [step["seconds"] for step in record["steps"] if step["name"] == "deploy"]
    assert waited[0] > portal.settings.deploy_timeout_seconds


@scenarios.add(ONE_AT_A_TIME, **UNHURRIED)
def a_job_without_its_title_waits_in_line(servers: Servers) -> None:
    portal, emulator = servers.portal, servers.emulator
    theirs = foreign_job(emulator, 0)
    emulator.fault("stuck")
    emulator.call("application.deploy", applicationId=theirs, title="theirs, too")
    emulator.fault("drop_title")

    ada = portal.deploy("ada")["deploymentId"]

    assert portal.wait_for(ada, "queue_position")["params"]["position"] == 1
    emulator.release()
    assert portal.wait(ada)["conclusion"] == "succeeded"
    assert calls(emulator, "application.deploy") == 3


def test_a_deployment_comes_through_whatever_dokploy_does_meanwhile(tmp_path: Path):
    scenarios.check(tmp_path)
