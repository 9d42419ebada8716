"""What could not be removed is listed, tried again with growing pauses until it is gone, and then frees the name."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import build_app
from tests.integration.holding import wait_for_held
from tests.servers import ADMIN_TOKEN, Emulator, PortalServer
from tests.waiting import wait_until

StartPortal = Callable[..., PortalServer]

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
STAYS: dict[str, Any] = {"kind": "volume_in_use", "times": -1}


def listed(portal: PortalServer, **query: Any) -> list[dict[str, Any]]:
    answer = portal.client.get("/api/leftovers", params=query, headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def leave_something(portal: PortalServer, emulator: Emulator, name: str = "ada") -> dict[str, Any]:
    """A deployment that fails and whose volume stays."""
    emulator.fault("never_ready")
    emulator.fault(**STAYS)
    return portal.wait(portal.deploy(name)["deploymentId"])


def test_a_volume_that_stays_is_tried_again_until_it_is_gone(
    start_portal: StartPortal, emulator: Emulator, any_database_url: str
):
    portal = start_portal(
        database_url=any_database_url,
        leftovers_retry_seconds=0.4,
        undo_timeout_seconds=0.3,
        verify_timeout_seconds=0.3,
    )
    record = leave_something(portal, emulator)
    assert [(each["kind"], each["removedAt"]) for each in record["leftovers"]] == [("volume", None)]

    wait_until(lambda: any(each["attempts"] >= 3 for each in listed(portal)))
    (left,) = listed(portal)
    assert (left["stack"], left["kind"], left["name"], left["code"]) == (
        "ada",
        "volume",
        "portal-ai-workspace-ada",
        "still_in_use",
    )
    assert left["deploymentId"] == record["id"]
    assert left["leftAt"] < left["triedAt"] < left["nextTryAt"]
    assert portal.client.get("/api/check/ada").json()["code"] == "name_cleaning_up"
    emulator.clear_faults()
    wait_until(lambda: not listed(portal))

    (gone,) = listed(portal, removed=True)
    assert gone["removedAt"] is not None
    assert gone["nextTryAt"] is None
    assert [each["removedAt"] is not None for each in portal.record(record["id"])["leftovers"]] == [True]
    assert portal.client.get("/api/check/ada").json()["available"]
    assert emulator.left() == {}
    page = portal.client.get(f"/deployments/{record['id']}", headers={"accept": "text/html"}).text
    assert "Nothing." in page


def removal_of_ada(portal: PortalServer) -> dict[str, Any]:
    """The record of the portal's own removal, which is the newest deployment of the only stack."""
    (stack,) = portal.client.get("/api/stacks", headers=OPERATOR).json()["items"]
    return portal.record(stack["deploymentId"])


def test_retries_are_attempts_of_one_deployment(start_portal: StartPortal, emulator: Emulator, any_database_url: str):
    portal = start_portal(
        database_url=any_database_url,
        leftovers_retry_seconds=0.2,
        undo_timeout_seconds=0.2,
        verify_timeout_seconds=0.2,
    )
    failed = leave_something(portal, emulator)
    wait_until(lambda: listed(portal)[0]["attempts"] >= 4)

    tried = removal_of_ada(portal)
    emulator.clear_faults()
    wait_until(lambda: not listed(portal))
    ended = portal.wait(tried["id"])

    assert (tried["kind"], tried["trigger"], tried["actor"]["id"]) == ("remove", "portal", "portal")
    assert (ended["conclusion"], ended["problem"], ended["leftovers"]) == ("succeeded", None, [])
    latest = portal.client.get("/api/overview", headers=OPERATOR).json()["latest"]
    assert [each["id"] for each in latest] == [tried["id"], failed["id"]]
    # Whoever reads from the start is told of each attempt, and stays until the last one is over.
    events = portal.events(tried["id"])
    assert [event["n"] for event in events] == list(range(1, ended["lastEvent"] + 1))
    retried = [event["params"]["attempt"] for event in events if event["type"] == "deployment_retried"]
    assert retried == list(range(2, len(retried) + 2))
    assert len(retried) >= 2
    conclusions = [event["conclusion"] for event in events if event["type"] == "deployment_completed"]
    assert conclusions == ["failed"] * len(retried) + ["succeeded"]
    assert {step["attempts"] for step in ended["steps"]} == {1}


def test_no_attempt_is_made_while_dokploy_is_away(start_portal: StartPortal, emulator: Emulator):
    """Else an outage of a night would use up all of them."""
    portal = start_portal(
        leftovers_retry_seconds=0.2,
        undo_timeout_seconds=0.2,
        verify_timeout_seconds=0.2,
        dokploy_patience_seconds=0.2,
        dokploy_circuit_seconds=300,
    )
    leave_something(portal, emulator)
    emulator.fault("database_down")
    wait_until(lambda: portal.client.get("/health").json()["dokploy"]["circuit"] == "open")
    portal.wait_until_idle()
    (before,) = listed(portal)

    due = datetime.fromisoformat(before["nextTryAt"]).timestamp() + 1
    wait_until(lambda: time.time() > due)

    assert listed(portal) == [before]
    assert not before["needsOperator"]


def test_a_leftover_that_stays_is_left_to_an_operator(
    start_portal: StartPortal, emulator: Emulator, capfd: pytest.CaptureFixture[str]
):
    portal = start_portal(
        leftovers_retry_seconds=0.1, leftovers_attempts=3, undo_timeout_seconds=0.1, verify_timeout_seconds=0.2
    )
    failed = leave_something(portal, emulator)
    wait_until(lambda: listed(portal)[0]["needsOperator"])
    (left,) = listed(portal)
    assert (left["attempts"], left["nextTryAt"], left["removedAt"]) == (3, None, None)
    wait_until(lambda: "leftover_needs_operator" in capfd.readouterr().out)
    page = portal.client.get("/operator", headers={**OPERATOR, "accept": "text/html"}).text
    assert "Needs an operator" in page
    calls = emulator.state()["calls"]["dockerVolume.removeVolume"]

    # Another stack's leftover goes through all of its attempts meanwhile: the janitor has looked that often.
    leave_something(portal, emulator, "bob")
    wait_until(lambda: all(each["needsOperator"] for each in listed(portal)))
    emulator.clear_faults()

    bobs = [call for call in listed(portal) if call["stack"] == "bob"]
    assert [each["attempts"] for each in bobs] == [3]
    assert {each["stack"]: each["attempts"] for each in listed(portal)} == {"ada": 3, "bob": 3}
    assert emulator.state()["calls"]["dockerVolume.removeVolume"] > calls
    assert portal.record(failed["id"])["leftovers"][0]["removedAt"] is None


def test_pauses_between_tries_grow(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal(leftovers_retry_seconds=0.2, undo_timeout_seconds=0.1, verify_timeout_seconds=0.2)
    leave_something(portal, emulator)
    pauses: dict[int, float] = {}

    def seen() -> bool:
        (left,) = listed(portal)
        tried, following = (datetime.fromisoformat(left[key]) for key in ("triedAt", "nextTryAt"))
        pauses[left["attempts"]] = round((following - tried).total_seconds(), 6)
        return len(pauses) >= 4

    wait_until(seen)

    assert pauses == {number: 0.2 * 2 ** (number - 1) for number in pauses}


def test_a_volume_that_was_there_before_is_not_erased_by_a_new_try(start_portal: StartPortal, emulator: Emulator):
    """The creation took up a kept volume and failed; cleaning up after it must leave the volume as it found it."""
    portal = start_portal(leftovers_retry_seconds=0.3, undo_timeout_seconds=0.3, verify_timeout_seconds=0.3)
    portal.client.post("/deploy", data={"name": "ada"})
    portal.client.get("/")
    (stack,) = portal.client.get("/api/stacks").json()["items"]
    portal.wait(stack["deploymentId"])
    assert portal.client.delete("/api/stack/ada?volume=keep").json()["removed"]
    emulator.fault("never_ready")
    emulator.fault("status", "project.remove", status=500, times=-1)
    answer = portal.client.post("/deploy", data={"name": "ada"})
    failed = portal.wait(answer.headers["location"].rpartition("/")[2])
    assert {each["kind"] for each in failed["leftovers"]} == {"project"}
    emulator.clear_faults()

    wait_until(lambda: not listed(portal))

    assert {kind: len(things) for kind, things in emulator.left().items()} == {"volumes": 1}


def test_two_portals_try_once(start_portal: StartPortal, emulator: Emulator, any_database_url: str):
    settings = {
        "database_url": any_database_url,
        "leftovers_retry_seconds": 0.3,
        "undo_timeout_seconds": 0.3,
        "verify_timeout_seconds": 0.3,
    }
    portal = start_portal(**settings)
    start_portal(**settings)
    leave_something(portal, emulator)
    wait_until(lambda: listed(portal)[0]["attempts"] >= 2)
    before = emulator.state()["calls"]["dockerVolume.removeVolume"]
    emulator.clear_faults()

    wait_until(lambda: not listed(portal))

    after = emulator.state()["calls"]["dockerVolume.removeVolume"]
    assert after - before >= 1
    assert emulator.left() == {}


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"authorization": "Bearer wrong"}, 403)], ids=["stranger", "wrong token"]
)
def test_the_list_is_for_operators(portal: PortalServer, headers: dict[str, str], status: int):
    assert portal.client.get("/api/leftovers", headers=headers).status_code == status


def test_the_command_line_lists_and_hurries(
    start_portal: StartPortal, emulator: Emulator, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    portal = start_portal(leftovers_retry_seconds=3600, undo_timeout_seconds=0.3, verify_timeout_seconds=0.3)
    for name, value in {
        "DATABASE_URL": database_url,
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_API_TOKEN": "sandbox-token",
        "STACK_DOMAIN_SUFFIX": "stacks.example",
        "STACK_IMAGE": "x:1",
        "SECRET_KEY": "a-key-that-is-only-for-tests",
    }.items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    assert run(build_app(), ["leftovers"]).stdout == "Nothing is left over.\n"
    leave_something(portal, emulator)

    table = run(build_app(), ["leftovers"]).stdout.splitlines()
    assert table[0].split() == ["STACK", "WHAT", "NAME", "WHY", "TRIES", "NEXT"]
    assert table[1].split()[:5] == ["ada", "volume", "portal-ai-workspace-ada", "still_in_use", "1"]
    (row,) = json.loads(run(build_app(), ["leftovers", "--json"]).stdout)
    assert (row["stack"], row["removed_at"]) == ("ada", None)

    emulator.clear_faults()
    assert run(build_app(), ["leftovers", "--now"]).exit_code == 0
    wait_until(lambda: not listed(portal))
    assert "removed" in run(build_app(), ["leftovers", "--removed"]).stdout


def stack_of_a_browser(portal: PortalServer, name: str = "ada") -> str:
    """A stack that this client's cookie owns; return its deployment's id."""
    deployment_id = portal.client.post("/deploy", data={"name": name}).headers["location"].rpartition("/")[2]
    assert portal.wait(deployment_id)["conclusion"] == "succeeded"
    return deployment_id


def test_a_kept_volume_that_is_to_go_after_all_and_stays_is_left_over(start_portal: StartPortal, emulator: Emulator):
    """The second stack took the first one's volume up; erasing it fails for a while, and must not be forgotten."""
    portal = start_portal(leftovers_retry_seconds=0.3, undo_timeout_seconds=0.3)
    stack_of_a_browser(portal)
    assert portal.client.delete("/api/stack/ada?volume=keep").json()["removed"]
    stack_of_a_browser(portal)
    emulator.fault(**STAYS)

    refused = portal.client.delete("/api/stack/ada?volume=erase")

    assert (refused.status_code, [each["kind"] for each in refused.json()["leftovers"]]) == (502, ["volume"])
    emulator.clear_faults()
    wait_until(lambda: not listed(portal))
    assert emulator.left() == {}
    assert portal.client.get("/api/check/ada").json()["available"]


def test_a_volume_that_this_stack_never_made_is_not_touched(start_portal: StartPortal, emulator: Emulator):
    """The creation failed before its volume, and somebody else made one of that name since."""
    portal = start_portal(leftovers_retry_seconds=0.5, undo_timeout_seconds=0.3)
    emulator.fault("status", "application.create", status=400)
    emulator.fault("status", "project.remove", status=500, times=-1)
    failed = portal.wait(portal.deploy("ada")["deploymentId"])
    assert {each["kind"] for each in failed["leftovers"]} == {"project"}
    theirs = emulator.call("project.create", name="theirs")["environment"]["environmentId"]
    application = emulator.call("application.create", name="theirs", environmentId=theirs)
    emulator.call(
        "mounts.create",
        type="volume",
        volumeName="portal-ai-workspace-ada",
        mountPath="/data",
        serviceId=application["applicationId"],
        serviceType="application",
    )
    emulator.call(
        "application.update", applicationId=application["applicationId"], sourceType="docker", dockerImage="x"
    )
    emulator.call("application.deploy", applicationId=application["applicationId"])
    wait_until(lambda: bool(emulator.state()["volumes"]))
    emulator.call("application.delete", applicationId=application["applicationId"])

    emulator.clear_faults()
    wait_until(lambda: not listed(portal))

    assert [volume["name"] for volume in emulator.state()["volumes"]] == ["portal-ai-workspace-ada"]


def test_another_choice_is_not_answered_with_a_removal_that_does_not_keep_it(
    start_portal: StartPortal, emulator: Emulator
):
    portal = start_portal()
    stack_of_a_browser(portal)
    emulator.fault("hold", "application.delete")
    none = {"prefer": "wait=0"}
    erasing = portal.client.delete("/api/stack/ada?volume=erase", headers=none)
    assert erasing.status_code == 202

    again = portal.client.delete("/api/stack/ada?volume=erase", headers=none)
    other = portal.client.delete("/api/stack/ada?volume=keep", headers=none)

    wait_for_held(emulator, "application.delete")
    emulator.release()
    assert again.json()["deploymentId"] == erasing.json()["deploymentId"]
    assert (other.status_code, other.json()["code"]) == (409, "stack_busy")


def test_a_creation_cannot_be_removed_and_leave_its_volume(start_portal: StartPortal, emulator: Emulator):
    portal = start_portal()
    emulator.fault("stuck")
    deployment_id = portal.client.post("/deploy", data={"name": "ada"}).headers["location"].rpartition("/")[2]

    refused = portal.client.delete("/api/stack/ada?volume=keep")

    assert (refused.status_code, refused.json()["code"]) == (409, "stack_busy")
    portal.wait_for(deployment_id, "progressed", what="container_running")
    emulator.release()
    assert portal.wait(deployment_id)["conclusion"] == "succeeded"
