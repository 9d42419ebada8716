"""The way back: what is removed, what is listed when it cannot be, and what is never touched because it is not ours."""

from typing import Any

import httpx
import pytest

from app.sandbox import SandboxSettings
from tests.integration.conftest import LEAVES_SOON, Servers, SideBySide
from tests.integration.holding import wait_for_held
from tests.integration.test_failures import WAYS, assert_undone, assert_whole, deploy, foreign_job, new_name
from tests.servers import ADMIN_TOKEN, AMPLE_SECONDS, HERE, SUFFIX, Emulator, PortalServer, fetch, http_client
from tests.waiting import wait_until

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return LEAVES_SOON


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    """What is not answered is soon asked again; what cannot be removed, or is only answered by pages, is left soon."""
    return {**LEAVES_SOON, "dokploy_timeout_seconds": 0.5, "dokploy_patience_seconds": 3}


def delete(portal: PortalServer, name: str, **query: str) -> httpx.Response:
    return portal.client.delete(f"/api/stack/{name}", params=query, headers=OPERATOR)


def kinds_left(record: dict[str, Any]) -> set[str]:
    return {each["kind"] for each in record["leftovers"]}


def check(portal: PortalServer, name: str) -> str | None:
    """The code by which a name is refused; None where it is free."""
    answer = portal.client.get(f"/api/check/{name}").json()
    assert answer["available"] is (answer["code"] is None)
    code: str | None = answer["code"]
    return code


# Step by step

# Failing call -> how far each step is afterwards: s(ucceeded) steps do not exist then, all is u(ndone), f or n(ot begun).
STEPS = ("validate", "project", "application", "configure", "domain", "deploy", "verify")


@pytest.mark.parametrize(
    ("call", "failed", "undone", "removals"),
    [
        ("project.all", "validate", set(), set()),
        ("project.create", "project", set(), set()),
        ("application.create", "application", {"project"}, {"project.remove"}),
        ("mounts.create", "configure", {"project", "application"}, {"project.remove", "application.delete"}),
        ("application.deploy", "deploy", {"project", "application", "configure", "domain"}, None),
    ],
)
def test_only_what_was_begun_is_undone(
    servers: Servers, call: str, failed: str, undone: set[str], removals: set[str] | None
):
    servers.emulator.fault("status", call, status=400)

    name, record, events = deploy(servers)

    code = record["problem"]["code"]
    assert_undone(servers, name, record, events, code, failed)
    states = {step["name"]: step["state"] for step in record["steps"]}
    assert undone <= {step for step, state in states.items() if state == "compensated"}
    later = STEPS[STEPS.index(failed) + 1 :]
    assert {states[step] for step in later if step != "domain"} <= {"pending"}
    removers = {"project.remove", "application.delete", "domain.delete"}
    assert removers & servers.emulator.state()["calls"].keys() >= (removers if removals is None else removals)


# An undo that fails

Fault = dict[str, Any]
ALWAYS: Fault = {"times": -1}
BROKEN: Fault = {"kind": "status", "status": 500, **ALWAYS}
FAILURES_OF_THE_UNDO: dict[str, tuple[list[Fault], str, set[str]]] = {
    "the volume stays in use": (
        [{"kind": "open"}, {"kind": "volume_in_use", **ALWAYS}],
        "open_to_strangers",
        {"volume"},
    ),
    "the route stays": (
        [{"kind": "fail"}, {"call": "domain.delete", **BROKEN}],
        "deploy_failed",
        {"domain", "application", "volume", "project"},
    ),
    "the application stays": (
        [{"kind": "fail"}, {"call": "application.delete", **BROKEN}],
        "deploy_failed",
        {"application", "volume", "project"},
    ),
    "the application is refused": (
        [{"kind": "fail"}, {"call": "application.delete", "kind": "status", "status": 400, **ALWAYS}],
        "deploy_failed",
        {"application", "volume", "project"},
    ),
    "the project stays": ([{"kind": "fail"}, {"call": "project.remove", **BROKEN}], "deploy_failed", {"project"}),
    "the removal of the project is answered by a page": (
        [{"kind": "fail"}, {"call": "project.remove", "kind": "html", **ALWAYS}],
        "deploy_failed",
        {"project"},
    ),
    "the search finds nobody": (
        [{"kind": "fail"}, {"call": "project.search", **BROKEN}],
        "deploy_failed",
        {"project"},
    ),
}


def test_what_cannot_be_removed_is_listed_and_holds_the_name(side_by_side: SideBySide):
    def check_failure(servers: Servers, failure: str) -> None:
        faults, code, left = FAILURES_OF_THE_UNDO[failure]
        portal, emulator = servers.portal, servers.emulator
        for fault in faults:
            emulator.fault(**fault)

        name, record, events = deploy(servers)

        # The reason stays what it was: an undo never turns a failure into a success, nor into another failure.
        assert (record["conclusion"], record["problem"]["code"]) == ("failed", code)
        assert kinds_left(record) == left
        assert events[-1]["params"]["leftovers"] == [
            {"kind": each["kind"], "name": each["name"]} for each in record["leftovers"]
        ]
        assert events[-1]["key"] == "deployment_completed.create.failed.leftovers"
        assert check(portal, name) == "name_cleaning_up"
        refused = portal.client.post("/api/deploy", json={"name": name})
        assert (refused.status_code, refused.json()["code"]) == (409, "name_cleaning_up")

        if failure in {"the volume stays in use", "the project stays"}:
            # As long as it does not work the stack stays on record, with what is left of it.
            again = delete(portal, name)
            assert (again.status_code, again.json()["code"]) == (502, "removal_incomplete")
            assert left <= {each["kind"] for each in again.json()["leftovers"]}
            assert portal.record(again.json()["statusUrl"].rpartition("/")[2])["conclusion"] == "failed"
            assert check(portal, name) == "name_cleaning_up"

        emulator.clear_faults()
        last = delete(portal, name)
        assert (last.status_code, last.json()["removed"]) == (200, True), last.text
        assert emulator.left() == {}
        assert check(portal, name) is None
        assert delete(portal, name).status_code == 404

    side_by_side(FAILURES_OF_THE_UNDO, check_failure)


def test_a_deployment_that_dokploy_never_ends_is_left_until_it_restarts(start_portal, emulator: Emulator):
    servers = Servers(start_portal(deploy_timeout_seconds=0.5, dokploy_patience_seconds=AMPLE_SECONDS), emulator)
    emulator.fault("stuck")

    name, record, events = deploy(servers)

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "deploy_timeout")
    assert kinds_left(record) == {"project", "application", "mount", "domain", "volume"}
    failed = [event["params"] for event in events if event["type"] == "step_compensation_failed"]
    assert [(each["step"], each["code"]) for each in failed] == [("deploy", "still_deploying")]
    servers.emulator.restart(0)
    assert delete(servers.portal, name).json()["removed"]
    assert servers.emulator.left() == {}


REMOVING = (
    "application.search",
    "domain.byApplicationId",
    "domain.delete",
    "application.delete",
    "docker.getContainersByAppNameMatch",
    "dockerVolume.removeVolume",
    "project.search",
    "project.one",
    "project.remove",
)


def test_an_undo_outlasts_what_passes(side_by_side: SideBySide):
    """Every call of the undo fails once, in every way that is not a refusal."""

    def check_way(servers: Servers, way: str) -> None:
        servers.emulator.fault("open")
        for call in REMOVING:
            servers.emulator.fault(call=call, **WAYS[way])
        name, record, events = deploy(servers)
        assert_undone(servers, name, record, events, "open_to_strangers", "verify")
        assert servers.portal.client.get("/api/stacks", headers=OPERATOR).json()["items"] == []

    side_by_side([way for way in WAYS if way not in {"refused", "forbidden"}], check_way)


def test_dokploy_restarts_during_an_undo(servers: Servers):
    servers.emulator.fault("open")
    servers.emulator.fault("hold", "dockerVolume.removeVolume")
    deployment_id = servers.portal.deploy(name := new_name())["deploymentId"]
    wait_for_held(servers.emulator, "dockerVolume.removeVolume")

    servers.emulator.restart(0.5)
    servers.emulator.release()

    record = servers.portal.wait(deployment_id)
    assert_undone(servers, name, record, servers.portal.events(deployment_id), "open_to_strangers", "verify")


# What is not ours


def foreign_project(emulator: Emulator, name: str, description: str | None) -> str:
    """A project that somebody else made, with an application in it; return its environment's id."""
    made = emulator.call("project.create", name=name, description=description)
    environment_id = str(made["environment"]["environmentId"])
    emulator.call("application.create", name="theirs", environmentId=environment_id)
    return environment_id


@pytest.mark.parametrize("description", [None, "", "our web site", "asd:01ANOTHERINSTALLATION:01ASTACKOFITS"])
def test_a_foreign_project_of_that_name(servers: Servers, description: str | None):
    name = new_name()
    foreign_project(servers.emulator, name, description)
    before = servers.emulator.left()

    record = servers.portal.wait(servers.portal.deploy(name)["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "project_conflict")
    assert servers.emulator.left() == before
    assert check(servers.portal, name) is None


def test_another_portal_on_the_same_dokploy(servers: Servers, start_portal, emulator: Emulator):
    """Two installations, one name: the second one meets what the first has made, and leaves it as it is."""
    first, second = servers.portal, start_portal(dokploy_url=servers.emulator.url)
    name, record, events = deploy(servers)

    theirs = second.wait(second.deploy(name)["deploymentId"])

    assert (theirs["conclusion"], theirs["problem"]["code"]) == ("failed", "project_conflict")
    assert_whole(servers, name, record, events)
    assert delete(second, name).status_code == 404
    assert delete(first, name).json()["removed"]


def test_a_foreign_service_in_our_project_keeps_the_project(servers: Servers):
    portal, emulator = servers.portal, servers.emulator
    name, _, _ = deploy(servers)
    environment_id = emulator.state()["environments"][0]["environmentId"]
    row = emulator.call("application.create", name="theirs", environmentId=environment_id)

    refused = delete(portal, name)

    assert (refused.status_code, refused.json()["code"]) == (502, "removal_incomplete")
    assert [each["kind"] for each in refused.json()["leftovers"]] == ["project"]
    record = portal.record(refused.json()["statusUrl"].rpartition("/")[2])
    assert record["problem"]["code"] == "project_not_empty"
    assert [each["name"] for each in emulator.state()["applications"]] == ["theirs"]
    emulator.call("application.delete", applicationId=row["applicationId"])
    assert delete(portal, name).json()["removed"]
    assert emulator.left() == {}


def foreign_volume(emulator: Emulator, volume: str) -> None:
    """A volume that an application of somebody else's has left behind."""
    environment_id = emulator.call("project.create", name="theirs")["environment"]["environmentId"]
    application_id = emulator.call("application.create", name="theirs", environmentId=environment_id)["applicationId"]
    emulator.call("application.update", applicationId=application_id, sourceType="docker", dockerImage="nginx")
    mount = {"type": "volume", "volumeName": volume, "mountPath": "/data"}
    emulator.call("mounts.create", serviceId=application_id, serviceType="application", **mount)
    emulator.call("application.deploy", applicationId=application_id)
    wait_until(lambda: emulator.state()["volumes"])
    emulator.call("application.delete", applicationId=application_id)
    wait_until(lambda: [(each["name"], each["inUseBy"]) for each in emulator.state()["volumes"]] == [(volume, None)])


def test_a_foreign_volume(servers: Servers):
    name = new_name()
    foreign_volume(servers.emulator, f"portal-ai-workspace-{name}")
    before = servers.emulator.left()

    record = servers.portal.wait(servers.portal.deploy(name)["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "volume_exists")
    assert servers.emulator.left() == before


@pytest.mark.parametrize("status", [None, 401, 500])
def test_an_address_that_answers_already(servers: Servers, status: int | None):
    """A route of somebody else's, with or without a server behind it."""
    name = new_name()
    environment_id = foreign_project(servers.emulator, "theirs", None)
    row = servers.emulator.call("application.create", name="site", environmentId=environment_id)
    servers.emulator.call("domain.create", applicationId=row["applicationId"], host=f"{name}.{SUFFIX}", port=80)
    if status == 401:
        env = {"env": "OPENCODE_SERVER_PASSWORD=theirs", "sourceType": "docker", "dockerImage": "nginx"}
        servers.emulator.call("application.update", applicationId=row["applicationId"], **env)
        servers.emulator.call("application.deploy", applicationId=row["applicationId"])
        wait_until(lambda: fetch(servers.emulator.url, headers={"host": f"{name}.{SUFFIX}"}).status_code == 401)
    elif status == 500:
        servers.emulator.fault("gateway", status=500)
    before = servers.emulator.left()

    record = servers.portal.wait(servers.portal.deploy(name)["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "address_in_use")
    assert servers.emulator.left() == before


# The volume that is kept


def browser(portal: PortalServer) -> httpx.Client:
    return http_client(base_url=portal.url, headers=HERE)


def deploy_by_form(portal: PortalServer, client: httpx.Client, name: str) -> dict[str, Any]:
    answer = client.post("/deploy", data={"name": name})
    assert answer.status_code == 303, answer.text
    return portal.wait(answer.headers["location"].rpartition("/")[2])


def test_a_kept_volume_is_for_the_same_owner_only(servers: Servers):
    portal, emulator, name = servers.portal, servers.emulator, new_name()
    volume = f"portal-ai-workspace-{name}"
    with browser(portal) as owner, browser(portal) as other:
        deploy_by_form(portal, owner, name)
        removed = owner.delete(f"/api/stack/{name}", params={"volume": "keep"})
        assert (removed.status_code, "volume" in removed.json()["resources"]) == (200, False)
        assert {kind: len(left) for kind, left in emulator.left().items()} == {"volumes": 1}

        refused = other.post("/api/deploy", json={"name": name})
        assert (refused.status_code, refused.json()["code"]) == (409, "name_kept")
        assert [each["name"] for each in emulator.state()["volumes"]] == [volume]

        # A try of the owner's that fails does not cost him his files either.
        emulator.fault("open")
        failed = deploy_by_form(portal, owner, name)
        assert (failed["conclusion"], failed["leftovers"]) == ("failed", [])
        assert {kind: len(left) for kind, left in emulator.left().items()} == {"volumes": 1}

        assert deploy_by_form(portal, owner, name)["conclusion"] == "succeeded"
        assert [each["name"] for each in emulator.state()["volumes"]] == [volume]
        assert owner.delete(f"/api/stack/{name}").json()["removed"]
        assert emulator.left() == {}
        assert deploy_by_form(portal, other, name)["conclusion"] == "succeeded"


def test_the_container_that_docker_keeps_is_not_forgotten(servers: Servers):
    """Dokploy's row is gone but its service runs on: no delete may call that removed, not even one that keeps files."""
    portal, emulator = servers.portal, servers.emulator
    emulator.fault("keep_service")
    name, _, _ = deploy(servers)

    for _ in range(2):
        answer = delete(portal, name, volume="keep")
        assert (answer.status_code, answer.json().get("code")) == (502, "removal_incomplete")
        record = portal.record(answer.json()["statusUrl"].rpartition("/")[2])
        assert record["problem"]["code"] == "still_running"
        assert "application" in kinds_left(record)
    assert check(portal, name) == "name_cleaning_up"
    emulator.reset()  # as if the operator had removed the service by hand
    assert delete(portal, name, volume="keep").json()["removed"]
    assert check(portal, name) == "name_kept", "it is anybody else who asks"


# Cancelling


@pytest.fixture
def sandbox_settings() -> SandboxSettings:
    """One deployment at a time, as Dokploy's own default is; for tests with an emulator of their own."""
    return SandboxSettings(DEPLOY_SECONDS=0.1, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=1)


def cancel(portal: PortalServer, accepted: dict[str, Any]) -> httpx.Response:
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    return portal.client.post(f"/api/deployments/{accepted['deploymentId']}/cancel", headers=key)


def assert_canceled(servers: Servers, accepted: dict[str, Any]) -> dict[str, Any]:
    """It ends as cancelled, with nothing left; return the record."""
    record = servers.portal.wait(accepted["deploymentId"])
    events = servers.portal.events(accepted["deploymentId"])
    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("canceled", "canceled", [])
    assert [event["type"] for event in events].count("cancel_requested") == 1
    assert {event["params"]["code"] for event in events if event["type"] == "step_failed"} <= {"canceled"}
    assert events[-1]["key"] == "deployment_completed.create.canceled"
    assert check(servers.portal, accepted["stackName"]) is None
    return record


def test_a_cancel_takes_a_job_that_only_waits_out_of_dokploys_queue(start_portal, emulator: Emulator):
    servers = Servers(start_portal(), emulator)
    foreign_job(emulator, 3600)
    accepted = servers.portal.deploy("ada")
    servers.portal.wait_for(accepted["deploymentId"], "queue_position")

    assert cancel(servers.portal, accepted).status_code == 202

    assert_canceled(servers, accepted)
    assert [job["data"]["titleLog"] for job in emulator.state()["queue"]] == ["theirs"]
    assert [project["name"] for project in emulator.state()["projects"]] == ["theirs"]


def test_cancel_while_dokploy_works_on_it(servers: Servers):
    servers.emulator.fault("stuck")
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait_for(accepted["deploymentId"], "progressed", what="container_running")

    for _ in range(2):  # the second one changes nothing
        assert cancel(servers.portal, accepted).status_code == 202
    servers.portal.wait_for(accepted["deploymentId"], "progressed", what="undo_waiting")
    servers.emulator.release()

    record = assert_canceled(servers, accepted)
    assert record["problem"]["step"] == "deploy"
    assert "undo_waiting" in {event["key"] for event in servers.portal.events(accepted["deploymentId"])}
    assert servers.emulator.left() == {}
    over = cancel(servers.portal, accepted)
    assert (over.status_code, over.json()["code"]) == (409, "deployment_over")


@pytest.mark.parametrize(
    ("fault", "started"),
    [
        ({"kind": "hold", "call": "project.all"}, "validate"),
        ({"kind": "hold", "call": "project.create"}, "project"),
        # Two steps follow it side by side.
        ({"kind": "hold", "call": "application.create"}, "application"),
        ({"kind": "hold", "call": "mounts.create"}, "configure"),
        ({"kind": "never_ready"}, "verify"),
    ],
)
def test_cancel_at_a_step(servers: Servers, fault: Fault, started: str):
    servers.emulator.fault(**fault)
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait_for(accepted["deploymentId"], "step_started", step=started)
    if call := fault.get("call"):
        wait_for_held(servers.emulator, call)

    assert cancel(servers.portal, accepted).status_code == 202

    if fault["kind"] in {"hold", "stuck"}:
        servers.emulator.release()
    assert_canceled(servers, accepted)
    assert servers.emulator.left() == {}


def test_cancel_before_it_has_begun(start_portal, emulator: Emulator):
    servers = Servers(start_portal(runner_concurrency=1), emulator)
    emulator.fault("stuck")
    first = servers.portal.deploy("first")
    second = servers.portal.deploy("second")

    assert cancel(servers.portal, second).status_code == 202

    emulator.release()
    record = assert_canceled(servers, second)
    assert record["problem"]["step"] == "validate"
    assert servers.portal.wait(first["deploymentId"])["conclusion"] == "succeeded"
    assert emulator.state()["calls"]["project.create"] == 1


def test_cancel_during_an_undo_changes_nothing(servers: Servers):
    servers.emulator.fault("open")
    servers.emulator.fault("hold", "dockerVolume.removeVolume")
    accepted = servers.portal.deploy(new_name())
    wait_for_held(servers.emulator, "dockerVolume.removeVolume")

    for _ in range(2):
        assert cancel(servers.portal, accepted).status_code == 202

    servers.emulator.release()
    record = servers.portal.wait(accepted["deploymentId"])
    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "open_to_strangers", [])
    assert not record["cancelRequested"]
    assert "cancel_requested" not in {event["type"] for event in servers.portal.events(accepted["deploymentId"])}
    assert servers.emulator.left() == {}
