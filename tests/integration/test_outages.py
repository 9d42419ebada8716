"""Dokploy away for a while: nothing new is begun, what is under way waits, says so, and goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.holding import wait_for_held
from tests.servers import AMPLE_SECONDS, Emulator, PortalServer
from tests.waiting import wait_until

StartPortal = Callable[..., PortalServer]

# How Dokploy is away, as its callers see it.
AWAY: dict[str, dict[str, Any]] = {
    "its database is down": {"kind": "database_down"},
    "the key's limit is used up": {"kind": "status", "call": "*", "status": 401, "times": -1},
    "a proxy answers": {"kind": "html", "call": "*", "status": 502, "times": -1},
    "a proxy answers with a page": {"kind": "html", "call": "*", "times": -1},
}


# A portal that waits for Dokploy, and leaves it alone until the test says otherwise.
LEFT_ALONE: dict[str, Any] = {"dokploy_patience_seconds": AMPLE_SECONDS, "dokploy_circuit_seconds": AMPLE_SECONDS}


def wait_for_circuit(portal: PortalServer, state: str) -> None:
    def dokploy() -> dict[str, Any]:
        told: dict[str, Any] = portal.client.get("/health").json()["dokploy"]
        return told

    wait_until(lambda: dokploy()["circuit"] == state, tell=dokploy)


def take_dokploy_away(
    portal: PortalServer, emulator: Emulator, name: str = "bob", during: str = "project.create", **how: Any
) -> dict[str, Any]:
    """Take Dokploy away while a deployment waits for the answer to a call: the next call is the first that fails."""
    emulator.fault("hold", during)
    accepted = portal.deploy(name)
    wait_for_held(emulator, during)
    emulator.fault(**how)
    emulator.release()
    return accepted


@pytest.mark.parametrize("how", AWAY)
def test_a_deployment_waits_for_dokploy_and_goes_on(start_portal: StartPortal, emulator: Emulator, how: str):
    # A create that a proxy answers may still land, and is looked up when its deadline is over.
    portal = start_portal(dokploy_patience_seconds=AMPLE_SECONDS, dokploy_timeout_seconds=1)

    deployment_id = take_dokploy_away(portal, emulator, "ada", "application.create", **AWAY[how])["deploymentId"]
    portal.wait_for(deployment_id, "warning", code="dokploy_away")
    emulator.clear_faults()

    record = portal.wait(deployment_id)
    assert (record["conclusion"], record["leftovers"]) == ("succeeded", [])
    keys = [event["key"] for event in portal.events(deployment_id)]
    assert keys.count("warning.dokploy_away") == 1
    state = emulator.state()
    assert [len(state[kind]) for kind in ("projects", "applications", "domains", "mounts")] == [1, 1, 1, 1]


def test_nothing_new_is_begun_while_the_circuit_is_open(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(**LEFT_ALONE)
    key = {"Idempotency-Key": "a-key-of-sixteen-characters"}
    first = portal.deploy("ada", **key)
    portal.wait(first["deploymentId"])
    running = take_dokploy_away(portal, emulator, kind="database_down")["deploymentId"]
    wait_for_circuit(portal, "open")

    refused = portal.client.post("/api/deploy", json={"name": "eve"})
    assert (refused.status_code, refused.json()["code"]) == (503, "dokploy_away")
    assert refused.json()["whoCanMend"] == "operator"
    assert 1 <= int(refused.headers["retry-after"]) <= AMPLE_SECONDS + 1
    page = portal.client.post("/deploy", data={"name": "eve"}, headers={"accept": "text/html"})
    assert (page.status_code, int(page.headers["retry-after"]) >= 1) == (503, True)
    assert portal.client.get("/api/check/eve").json()["available"]
    assert portal.deploy("ada", **key) == first, "an answer that was given is given again"
    assert portal.client.get("/health").status_code == 200

    emulator.clear_faults()
    portal.ask_dokploy_again()
    wait_for_circuit(portal, "closed")
    assert portal.wait(running)["conclusion"] == "succeeded"
    assert portal.wait(portal.deploy("eve")["deploymentId"])["conclusion"] == "succeeded"


def test_what_waits_can_be_cancelled(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(dokploy_patience_seconds=AMPLE_SECONDS)
    accepted = take_dokploy_away(portal, emulator, "ada", "application.create", kind="database_down")
    deployment_id = accepted["deploymentId"]
    portal.wait_for(deployment_id, "warning", code="dokploy_away")

    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    assert portal.client.post(f"/api/deployments/{deployment_id}/cancel", headers=headers).status_code == 202
    portal.wait_for(deployment_id, "undo_started")
    emulator.clear_faults()

    assert portal.wait(deployment_id)["conclusion"] == "canceled"
    assert emulator.left() == {}


def test_a_deployment_fails_when_its_patience_with_dokploy_is_over(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(dokploy_patience_seconds=0.5)
    emulator.fault("database_down")

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_database_down")


def test_a_key_that_never_worked_is_not_waited_for(start_portal: StartPortal):
    portal = start_portal(dokploy_api_token="a-wrong-one", **LEFT_ALONE)

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_key_refused")
