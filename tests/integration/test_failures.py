"""What goes wrong while a stack is made: it ends, with a reason, and with one whole stack or with nothing at all."""

import itertools
import time
from typing import Any

import pytest

from tests.integration.conftest import Servers
from tests.servers import SUFFIX, Emulator, PortalServer

_numbers = itertools.count(1)

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

FAILS = {"refused": "dokploy_refused", "unauthorized": "dokploy_key_refused", "forbidden": "dokploy_forbidden"}
# What becomes of a create whose answer was lost: it is looked up, and made again where it is known not to be there.
LOOKED_UP = {**FAILS, "broken": "dokploy_failed"}
SET_ONCE = {
    **FAILS,
    "broken": "dokploy_failed",
    "broken after": "dokploy_failed",
    "a page": "dokploy_unreadable",
    "a proxy's page": "dokploy_unreadable",
    "silence": "dokploy_timeout",
    "cut after": "dokploy_unreachable",
    "late": "dokploy_unreachable",
}
# A read that fails once is read again where the trouble may be over by then.
READ_AGAIN = {**FAILS, "a page": "dokploy_unreadable", "a proxy's page": "dokploy_unreadable"}
# While a deployment is followed, more can be waited out: only a refusal is final.
FOLLOWED = {"refused": "dokploy_refused", "forbidden": "dokploy_forbidden"}
# Call -> (step, the ways in which it makes the deployment fail, and with which code). Every other way is survived.
CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "project.all": ("validate", READ_AGAIN),
    "dockerVolume.getVolumes": ("validate", READ_AGAIN),
    "project.create": ("project", LOOKED_UP),
    "application.create": ("application", LOOKED_UP),
    "application.update": ("configure", SET_ONCE),
    "mounts.create": ("configure", LOOKED_UP),
    "domain.create": ("domain", LOOKED_UP),
    "application.deploy": ("deploy", FAILS),
    "deployment.queueList": ("deploy", FOLLOWED),
    "deployment.all": ("deploy", FOLLOWED),
    "docker.getServiceContainersByAppName": ("verify", FOLLOWED),
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
    assert (record["conclusion"], record["problem"]["code"], record["problem"]["step"]) == ("failed", code, step), events
    assert record["leftovers"] == []
    assert_told_whole(record, events)
    failed = [event["params"] for event in events if event["type"] == "step_failed"]
    assert [(params["step"], params["code"]) for params in failed][0] == (step, code)
    assert events[-1]["params"]["code"] == code
    assert servers.emulator.left() == {}
    assert servers.portal.client.get(f"/api/check/{name}").json()["available"]


def assert_told_whole(record: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Every event from the first to the last, and only the last one completes."""
    assert [event["n"] for event in events] == list(range(1, record["lastEvent"] + 1))
    assert [event["conclusion"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert (events[-1]["type"], events[-1]["status"]) == ("deployment_completed", "completed")
    assert events[-1]["conclusion"] == record["conclusion"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_once(servers: Servers, call: str, way: str):
    step, fails = CALLS[call]
    servers.emulator.fault(call=call, **WAYS[way])

    name, record, events = deploy(servers)

    if way in fails:
        assert_undone(servers, name, record, events, fails[way], step)
    else:
        assert_whole(servers, name, record, events)
