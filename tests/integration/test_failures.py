"""What goes wrong while a stack is made: it ends, with a reason, and with one whole stack or with nothing at all."""

import itertools
import time
from typing import Any

import pytest

from app.sandbox import SandboxSettings
from tests.integration.conftest import Servers, SideBySide
from tests.integration.holding import UNHURRIED, connection_of, deadlines
from tests.servers import SUFFIX, Emulator, PortalServer
from tests.waiting import wait_until

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


# How a call can fail: a fault of the emulator, and the name under which the tables below know it.
WAYS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "status", "status": 400},
    "unauthorized": {"kind": "status", "status": 401},
    "forbidden": {"kind": "status", "status": 403},
    "broken": {"kind": "status", "status": 500},
    "broken after": {"kind": "error_after", "status": 500},
    "a page": {"kind": "html"},
    "a proxy's page": {"kind": "html", "status": 502},
    "silence": {"kind": "hang"},
    "cut after": {"kind": "drop_after"},
    "late": {"kind": "late", "seconds": 0.3},
}

# What Dokploy thinks of a call is final; a key that worked before and is refused now has used up its rate limit.
FAILS = {"refused": "dokploy_refused", "forbidden": "dokploy_forbidden"}
# What becomes of a create whose answer was lost: it is looked up, and made again where it is known not to be there.
LOOKED_UP = {**FAILS, "broken": "dokploy_failed"}
# Call -> (step, the ways in which it makes the deployment fail, and with which code). Every other way is survived.
CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "project.all": ("validate", FAILS),
    "dockerVolume.getVolumes": ("validate", FAILS),
    "project.create": ("project", LOOKED_UP),
    "application.create": ("application", LOOKED_UP),
    "application.update": ("configure", FAILS),
    "mounts.create": ("configure", LOOKED_UP),
    "domain.create": ("domain", LOOKED_UP),
    "application.deploy": ("deploy", FAILS),
    "deployment.queueList": ("deploy", FAILS),
    "deployment.all": ("deploy", FAILS),
    "docker.getServiceContainersByAppName": ("verify", FAILS),
}


def new_name() -> str:
    return f"stack-{next(_numbers)}"


def deploy(servers: Servers) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Deploy under a new name and wait for the end; return the name, the record and the events."""
    name = new_name()
    deployment_id = servers.portal.deploy(name)["deploymentId"]
    record = servers.portal.wait(deployment_id)
    return name, record, servers.portal.events(deployment_id)


def assert_whole(servers: Servers, name: str, record: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """It succeeded, and there is one of everything."""
    assert (record["conclusion"], record["problem"], record["leftovers"]) == ("succeeded", None, []), events
    assert_told_whole(record, events)
    state = servers.emulator.state()
    kinds = ("projects", "applications", "mounts", "domains", "volumes", "services")
    assert {kind: len(state[kind]) for kind in kinds} == dict.fromkeys(kinds, 1)
    assert [domain["host"] for domain in state["domains"]] == [f"{name}.{SUFFIX}"]
    assert state["queue"] == []


def assert_undone(
    servers: Servers, name: str, record: dict[str, Any], events: list[dict[str, Any]], code: str, step: str
) -> None:
    """It failed for this reason at this step, nothing of it is left, and the name is free."""
    assert (record["conclusion"], record["problem"]["code"], record["problem"]["step"]) == ("failed", code, step), (
        events
    )
    assert record["leftovers"] == []
    assert_told_whole(record, events)
    failed = [event["params"] for event in events if event["type"] == "step_failed"]
    assert (failed[0]["step"], failed[0]["code"]) == (step, code)
    assert events[-1]["params"]["code"] == code
    assert servers.emulator.left() == {}
    assert servers.portal.client.get(f"/api/check/{name}").json()["available"]


def assert_told_whole(record: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Every event from the first to the last, and only the last one completes."""
    assert [event["n"] for event in events] == list(range(1, record["lastEvent"] + 1))
    assert [event["conclusion"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert (events[-1]["type"], events[-1]["status"]) == ("deployment_completed", "completed")
    assert events[-1]["conclusion"] == record["conclusion"]


READS = {name for name in CALLS if name.endswith(("all", "getVolumes", "queueList", "ByAppName"))}
# To a read these are the same as others; and four jobs that never came are waited for together, below.
SAME = {"broken after", "late", "a proxy's page"}
NEVER_CAME = {"broken", "a page", "a proxy's page", "silence"}


# How long a call may take where that is waited for: for an answer that never comes, and for a create to land whose answer
# was lost. What comes late has to come within it.
CALL_SECONDS = {"silence": 0.5, "a page": 0.5, "a proxy's page": 0.5, "late": 3.0}


def wait_for_dokploy(portal: PortalServer) -> None:
    """Wait until the portal knows that its key is accepted, and leaves Dokploy alone for nothing that was before."""
    connection = connection_of(portal)
    wait_until(lambda: connection.key_accepted and connection.circuit.state == "closed")


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_once_is_survived_or_undone(side_by_side: SideBySide, call: str):
    step, fails = CALLS[call]

    def check(servers: Servers, way: str) -> None:
        wait_for_dokploy(servers.portal)
        servers.emulator.fault(call=call, **WAYS[way])
        soon = {"dokploy_timeout_seconds": CALL_SECONDS[way]} if way in CALL_SECONDS else {}
        with deadlines(servers.portal, **soon):
            name, record, events = deploy(servers)
        if way in fails:
            assert_undone(servers, name, record, events, fails[way], step)
        else:
            assert_whole(servers, name, record, events)

    left_out = SAME if call in READS else NEVER_CAME if call == "application.deploy" else set()
    side_by_side([way for way in WAYS if way not in left_out], check)


def test_jobs_that_never_came_are_asked_for_again(servers: Servers):
    for way in NEVER_CAME:
        servers.emulator.fault(call="application.deploy", **WAYS[way])

    with deadlines(servers.portal, dokploy_timeout_seconds=1):
        deployment_ids = [servers.portal.deploy(new_name())["deploymentId"] for _ in NEVER_CAME]
        for deployment_id in deployment_ids:
            assert servers.portal.wait(deployment_id)["conclusion"] == "succeeded"
            keys = [event["key"] for event in servers.portal.events(deployment_id)]
            assert keys.count("deploy_triggered_again") == 1
    state = servers.emulator.state()
    assert state["calls"]["application.deploy"] == 2 * len(NEVER_CAME)
    assert len(state["services"]) == len(state["deployments"]) == len(NEVER_CAME)


# What becomes of the deployment inside Dokploy, and of the container: fault -> step and code, None where it is survived,
# and the deadline that ends it.
Outcome = tuple[dict[str, Any], tuple[str, str] | None, dict[str, float]]
GATEWAY = {"kind": "gateway", "after": 1, "times": -1}
VERIFY_SOON = {"verify_timeout_seconds": 1.0}
OUTCOMES: dict[str, Outcome] = {
    "fails": ({"kind": "fail"}, ("deploy", "deploy_failed"), {}),
    # Once it is over the other way is waited for as long; it is released soon after it has begun.
    "takes too long": ({"kind": "stuck"}, ("deploy", "deploy_timeout"), {"deploy_timeout_seconds": 4.0}),
    "takes its time": ({"kind": "stuck", "seconds": 1.0}, None, {}),
    "lost once": ({"kind": "lose_queue"}, None, {}),
    "lost twice": (
        {"kind": "lose_queue", "times": 2},
        ("deploy", "deploy_not_found"),
        {"deploy_appear_seconds": 1.0},
    ),
    "untitled": ({"kind": "drop_title"}, None, {}),
    "a new status for ever": (
        {"kind": "unknown_status"},
        ("deploy", "deploy_timeout"),
        {"deploy_timeout_seconds": 1.5},
    ),
    "a new status for a while": ({"kind": "unknown_status", "seconds": 0.5}, None, {}),
    "never ready": ({"kind": "never_ready"}, ("verify", "container_not_ready"), VERIFY_SOON),
    "crashes": ({"kind": "crash"}, ("verify", "container_crashes"), VERIFY_SOON),
    "open": ({"kind": "open"}, ("verify", "open_to_strangers"), {}),
    "no route": ({**GATEWAY, "status": 404}, ("verify", "route_missing"), VERIFY_SOON),
    "wrong port": ({**GATEWAY, "status": 502}, ("verify", "bad_gateway"), VERIFY_SOON),
    "slow proxy": ({**GATEWAY, "status": 504}, ("verify", "bad_gateway"), VERIFY_SOON),
    "broken stack": ({**GATEWAY, "status": 500}, ("verify", "unexpected_answer"), VERIFY_SOON),
    "a proxy that is not ready": ({"kind": "gateway", "after": 1, "times": 4, "status": 502}, None, {}),
    "no database": (
        {"kind": "database_down"},
        ("validate", "dokploy_database_down"),
        {"dokploy_patience_seconds": 1.0},
    ),
}


def test_a_deployment_ends_as_dokploy_and_the_container_fare(side_by_side: SideBySide):
    def check(servers: Servers, outcome: str) -> None:
        fault, ending, soon = OUTCOMES[outcome]
        wait_for_dokploy(servers.portal)
        servers.emulator.fault(**fault)
        name = new_name()
        with deadlines(servers.portal, **soon):
            deployment_id = servers.portal.deploy(name)["deploymentId"]
            if outcome == "takes too long":
                servers.portal.wait_for(deployment_id, "progressed", what="undo_waiting")
                servers.emulator.release()
            record = servers.portal.wait(deployment_id)
        events = servers.portal.events(deployment_id)
        if ending is None:
            assert_whole(servers, name, record, events)
        else:
            step, code = ending
            assert_undone(servers, name, record, events, code, step)
        # A lost job is asked for once more, and the viewer is told; an undo that waits for Dokploy says so.
        keys = [event["key"] for event in events]
        again = outcome.startswith("lost")
        assert servers.emulator.state()["calls"].get("application.deploy", 0) == (outcome != "no database") + again
        assert keys.count("deploy_triggered_again") == again
        assert keys.count("undo_waiting") == (outcome == "takes too long")

    side_by_side(OUTCOMES, check)


def test_a_container_that_stops_again_and_again(portal: PortalServer, emulator: Emulator):
    emulator.fault("crash")

    name, record, events = deploy(Servers(portal, emulator))

    assert_undone(Servers(portal, emulator), name, record, events, "container_crashes", "verify")
    assert "seen: 3" in record["problem"]["detail"]


@pytest.mark.parametrize("seconds", [0.0, 0.9])
def test_dokploy_restarts_in_the_middle(servers: Servers, seconds: float):
    servers.emulator.fault("stuck")
    name = new_name()
    deployment_id = servers.portal.deploy(name)["deploymentId"]
    servers.portal.wait_for(deployment_id, "progressed", what="container_running")

    servers.emulator.restart(seconds)

    record = servers.portal.wait(deployment_id)
    events = servers.portal.events(deployment_id)
    assert_whole(servers, name, record, events)
    assert [row["status"] for row in servers.emulator.state()["deployments"]] == ["cancelled", "done"]


def test_dokploy_restarts_again_and_again(servers: Servers):
    servers.emulator.fault("stuck", times=2)
    name = new_name()
    deployment_id = servers.portal.deploy(name)["deploymentId"]
    for rows in (1, 2):
        wait_until(lambda: len(servers.emulator.state()["deployments"]) == rows)  # noqa: B023 - called at once
        servers.emulator.restart(0)

    record = servers.portal.wait(deployment_id)

    assert_undone(servers, name, record, servers.portal.events(deployment_id), "deploy_cancelled", "deploy")


def test_dokploy_goes_down_and_stays_down(servers: Servers):
    """What was made cannot be removed: it is listed, the name is held, and a later delete finishes the work."""
    servers.emulator.fault("stuck")
    name = new_name()
    accepted = servers.portal.deploy(name)
    servers.portal.wait_for(accepted["deploymentId"], "progressed", what="container_running")

    with deadlines(servers.portal, dokploy_patience_seconds=1):
        servers.emulator.restart(600)
        record = servers.portal.wait(accepted["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_unreachable")
    assert {each["kind"] for each in record["leftovers"]} == {"project", "application", "mount", "volume", "domain"}
    assert servers.portal.client.get(f"/api/check/{name}").json()["code"] == "name_cleaning_up"
    servers.emulator.restart(0)
    removed = servers.portal.client.delete(
        f"/api/stack/{name}", headers={"authorization": f"Bearer {accepted['manageKey']}", "prefer": "wait=300"}
    )
    assert (removed.status_code, removed.json()["removed"]) == (200, True)
    assert servers.emulator.left() == {}


def test_dokploy_is_not_there_at_all(start_portal):
    portal = start_portal(dokploy_url="http://127.0.0.1:9", dokploy_patience_seconds=1)

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_unreachable")
    assert record["problem"]["whoCanMend"] == "operator"
    assert record["leftovers"] == []
    assert portal.client.get("/health").json()["dokploy"]["reachable"] is False
    assert portal.client.get("/api/check/ada").json()["available"]


# Dokploy's line


@pytest.fixture
def sandbox_settings() -> SandboxSettings:
    """One deployment at a time, as Dokploy's own default is."""
    return SandboxSettings(DEPLOY_SECONDS=0.1, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=1)


def foreign_job(emulator: Emulator, seconds: float | None = None) -> str:
    """Somebody else's deployment, which takes so long, or until it is released; return its application's id."""
    environment_id = emulator.call("project.create", name="theirs")["environment"]["environmentId"]
    row = emulator.call("application.create", name="theirs", environmentId=environment_id)
    emulator.call("application.update", applicationId=row["applicationId"], sourceType="docker", dockerImage="nginx")
    lasts: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
    emulator.fault("stuck", **lasts)
    emulator.call("application.deploy", applicationId=row["applicationId"], title="theirs")
    return str(row["applicationId"])


def places(portal: PortalServer, deployment_id: str) -> list[tuple[int, int]]:
    events = portal.events(deployment_id)
    return [(e["params"]["position"], e["params"]["total"]) for e in events if e["type"] == "queue_position"]


def test_the_place_in_line_is_told_and_the_wait_is_not_counted(start_portal, emulator: Emulator):
    portal = start_portal(**UNHURRIED)
    portal.wait(portal.deploy("first")["deploymentId"])
    foreign_job(emulator)
    emulator.fault("stuck")
    ada = portal.deploy("ada")["deploymentId"]
    portal.wait_for(ada, "queue_position")
    bob = portal.deploy("bob")["deploymentId"]
    portal.wait_for(bob, "queue_position")

    with deadlines(portal, deploy_timeout_seconds=0.1, deploy_appear_seconds=0.1):
        time.sleep(0.8)  # they wait for longer than they may run; a slow machine makes it longer yet
        assert {portal.record(each)["conclusion"] for each in (ada, bob)} == {None}
    emulator.release()
    portal.wait_for(bob, "queue_position", position=1)
    emulator.release()

    assert portal.wait(ada)["conclusion"] == "succeeded"
    assert portal.wait(bob)["conclusion"] == "succeeded"

    assert places(portal, ada)[0] == (1, 1)
    assert [place for place, _ in places(portal, ada)] == [1]
    assert [place for place, _ in places(portal, bob)] == [2, 1]
    told = [event for event in portal.events(bob) if event["type"] == "queue_position"]
    assert told[0]["params"]["estimate_seconds"] >= told[1]["params"]["estimate_seconds"] > 0
    assert "2 of 2" in told[0]["message"]


def test_a_wait_in_line_has_an_end(start_portal, emulator: Emulator):
    portal = start_portal(**UNHURRIED, queue_timeout_seconds=0.5)
    foreign_job(emulator)

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "queue_timeout", [])
    assert [job["data"]["titleLog"] for job in emulator.state()["queue"]] == ["theirs"]
    assert [project["name"] for project in emulator.state()["projects"]] == ["theirs"]
