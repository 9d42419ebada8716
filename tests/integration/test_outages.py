"""Dokploy away for a while: nothing new is begun, what is under way waits, says so, and goes on."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers import Emulator, PortalServer

StartPortal = Callable[..., PortalServer]

# How Dokploy is away, as its callers see it.
AWAY: dict[str, dict[str, Any]] = {
    "its database is down": {"kind": "database_down"},
    "the key's limit is used up": {"kind": "status", "call": "*", "status": 401, "times": -1},
    "a proxy answers": {"kind": "html", "call": "*", "status": 502, "times": -1},
    "a proxy answers with a page": {"kind": "html", "call": "*", "times": -1},
}


def wait_for_circuit(portal: PortalServer, state: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while portal.client.get("/health").json()["dokploy"]["circuit"] != state:
        assert time.monotonic() < deadline, portal.client.get("/health").json()
        time.sleep(0.02)


@pytest.mark.parametrize("how", AWAY)
def test_a_deployment_waits_for_dokploy_and_goes_on(start_portal: StartPortal, emulator: Emulator, how: str):
    portal = start_portal(dokploy_patience_seconds=30)
    emulator.fault("slow", "application.create", seconds=0.3)
    deployment_id = portal.deploy("ada")["deploymentId"]
    portal.wait_for(deployment_id, "step_started", step="application")

    emulator.fault(**AWAY[how])
    portal.wait_for(deployment_id, "warning", code="dokploy_away")
    emulator.clear_faults()

    record = portal.wait(deployment_id)
    assert (record["conclusion"], record["leftovers"]) == ("succeeded", [])
    keys = [event["key"] for event in portal.events(deployment_id)]
    assert keys.count("warning.dokploy_away") == 1
    state = emulator.state()
    assert [len(state[kind]) for kind in ("projects", "applications", "domains", "mounts")] == [1, 1, 1, 1]


def test_nothing_new_is_begun_while_the_circuit_is_open(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(dokploy_patience_seconds=30, dokploy_circuit_seconds=1)
    key = {"Idempotency-Key": "a-key-of-sixteen-characters"}
    first = portal.deploy("ada", **key)
    portal.wait(first["deploymentId"])
    emulator.fault("slow", "project.create", seconds=0.3)
    running = portal.deploy("bob")["deploymentId"]
    emulator.fault("database_down")
    wait_for_circuit(portal, "open")

    refused = portal.client.post("/api/deploy", json={"name": "eve"})
    assert (refused.status_code, refused.json()["code"]) == (503, "dokploy_away")
    assert refused.json()["whoCanMend"] == "operator"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    page = portal.client.post("/deploy", data={"name": "eve"}, headers={"accept": "text/html"})
    assert (page.status_code, int(page.headers["retry-after"]) >= 1) == (503, True)
    assert portal.client.get("/api/check/eve").json()["available"]
    assert portal.deploy("ada", **key) == first, "an answer that was given is given again"
    assert portal.client.get("/health").status_code == 200

    emulator.clear_faults()
    wait_for_circuit(portal, "closed")
    assert portal.wait(running)["conclusion"] == "succeeded"
    assert portal.wait(portal.deploy("eve")["deploymentId"])["conclusion"] == "succeeded"


def test_what_waits_can_be_cancelled(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(dokploy_patience_seconds=60)
    emulator.fault("slow", "application.create", seconds=0.2)
    accepted = portal.deploy("ada")
    deployment_id = accepted["deploymentId"]
    portal.wait_for(deployment_id, "step_started", step="application")
    emulator.fault("database_down")
    portal.wait_for(deployment_id, "warning", code="dokploy_away")

    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    assert portal.client.post(f"/api/deployments/{deployment_id}/cancel", headers=headers).status_code == 202
    portal.wait_for(deployment_id, "undo_started")
    emulator.clear_faults()

    assert portal.wait(deployment_id)["conclusion"] == "canceled"
    assert emulator.left() == {}


def test_patience_has_an_end(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(dokploy_patience_seconds=0.5)
    emulator.fault("html", "mounts.create", status=502, times=-1)
    emulator.fault("database_down", seconds=2.5)

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_database_down")


def test_a_key_that_never_worked_is_no_outage(start_portal: StartPortal):
    portal = start_portal(dokploy_api_token="a-wrong-one", dokploy_patience_seconds=30, dokploy_circuit_seconds=30)
    began = time.monotonic()

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_key_refused")
    assert time.monotonic() - began < 5
