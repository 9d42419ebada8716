"""The record against Dokploy, over the wire and by the command line: seen without a change, and repaired when asked."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.bootstrap import open_portal
from app.cli import build_app
from app.errors import PortalError
from app.operations.redeploy import REDEPLOY
from tests.servers import ADMIN_TOKEN, SUFFIX, TOKEN, Emulator, PortalServer, portal_settings, requester

StartPortal = Callable[..., PortalServer]

KINDS = ("projects", "applications", "domains", "mounts", "volumes", "services")


@pytest.fixture
def reconcile(
    emulator: Emulator, any_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, list[dict[str, Any]]]]:
    """Run the command against the same store and Dokploy as the portal's, as JSON."""
    for name, value in {
        "DATABASE_URL": any_database_url,
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "STACK_DOMAIN_SUFFIX": SUFFIX,
        "STACK_IMAGE": "x:1",
        "SECRET_KEY": "a-key-that-is-only-for-tests",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[Result, list[dict[str, Any]]]:
        result = CliRunner().invoke(build_app(), ["reconcile", "--json", *arguments])
        return result, json.loads(result.stdout)

    return run


@pytest.fixture
def stacks(start_portal: StartPortal, any_database_url: str) -> PortalServer:
    """A portal with two stacks."""
    portal = start_portal(database_url=any_database_url)
    for accepted in [portal.deploy(name) for name in ("ada", "bob")]:
        assert portal.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    return portal


def counts(emulator: Emulator) -> dict[str, int]:
    state = emulator.state()
    return {kind: len(state[kind]) for kind in KINDS}


def configured(emulator: Emulator) -> dict[str, Any]:
    """What Dokploy holds, without the tasks of services, which tell how long ago they changed."""
    state = {kind: emulator.state()[kind] for kind in KINDS}
    return {**state, "services": [{**service, "tasks": None} for service in state["services"]]}


def the_one(emulator: Emulator, kind: str, **values: str) -> dict[str, Any]:
    (row,) = [row for row in emulator.state()[kind] if values.items() <= row.items()]
    found: dict[str, Any] = row
    return found


def wait_until_running(portal: PortalServer, deployment_id: str) -> None:
    assert portal.wait(deployment_id)["conclusion"] == "succeeded"


def test_nothing_differs_and_nothing_is_changed(stacks: PortalServer, emulator: Emulator, reconcile):
    before = configured(emulator)

    result, found = reconcile()
    repaired, nothing = reconcile("--repair")

    assert (result.exit_code, found, repaired.exit_code, nothing) == (0, [], 0, [])
    assert configured(emulator) == before


def test_a_stack_that_lost_its_application_is_deployed_again_with_its_files(
    stacks: PortalServer, emulator: Emulator, reconcile
):
    lost = the_one(emulator, "applications", name="ada")
    emulator.call("application.delete", applicationId=lost["applicationId"])

    result, found = reconcile()
    assert result.exit_code == 1
    assert [(each["code"], each["stack"], each["repair"]) for each in found] == [
        ("application_missing", "ada", "redeploy")
    ]
    assert counts(emulator)["applications"] == 1, "looking changes nothing"

    result, done = reconcile("--repair")
    assert result.exit_code == 0
    deployment_id = done[0]["outcome"].removeprefix("deployment ")
    wait_until_running(stacks, deployment_id)

    record = stacks.record(deployment_id)
    assert (record["kind"], record["actor"]["id"], record["trigger"]) == ("redeploy", "operator", "cli")
    assert counts(emulator) == dict.fromkeys(KINDS, 2)
    assert the_one(emulator, "applications", name="ada")["env"] == lost["env"], "the password stays"
    assert reconcile()[1] == []
    events = stacks.events(deployment_id)
    assert events[-1]["message"].startswith("ada is ready again at ")
    page = stacks.client.get(f"/deployments/{deployment_id}", headers={"accept": "text/html"})
    assert page.status_code == 200


def test_everything_of_a_stack_is_gone(stacks: PortalServer, emulator: Emulator, reconcile):
    emulator.call("application.delete", applicationId=the_one(emulator, "applications", name="ada")["applicationId"])
    emulator.call("project.remove", projectId=the_one(emulator, "projects", name="ada")["projectId"])

    result, done = reconcile("--repair")

    assert result.exit_code == 0
    assert {each["code"] for each in done} == {"application_missing", "project_missing"}
    assert len({each["outcome"] for each in done}) == 1, "one deployment makes both again"
    wait_until_running(stacks, done[0]["outcome"].removeprefix("deployment "))
    assert counts(emulator) == dict.fromkeys(KINDS, 2)


def test_a_route_that_is_lost_or_strays(stacks: PortalServer, emulator: Emulator, reconcile):
    ada = the_one(emulator, "domains", host=f"ada.{SUFFIX}")
    emulator.call("domain.delete", domainId=ada["domainId"])
    bob = the_one(emulator, "applications", name="bob")["applicationId"]
    emulator.call("domain.create", host="elsewhere.example", applicationId=bob, port=8080)

    _, found = reconcile()
    assert {(each["code"], each["stack"], each["name"]) for each in found} == {
        ("domain_missing", "ada", f"ada.{SUFFIX}"),
        ("domain_stray", "bob", "elsewhere.example"),
    }

    _, done = reconcile("--repair")
    for each in done:
        if each["code"] == "domain_missing":
            wait_until_running(stacks, each["outcome"].removeprefix("deployment "))
    assert {row["host"] for row in emulator.state()["domains"]} == {f"ada.{SUFFIX}", f"bob.{SUFFIX}"}
    assert reconcile()[1] == []


@pytest.mark.parametrize("server", ["", "main:"], ids=["older", "with the server"])
def test_what_belongs_to_no_stack_and_what_is_there_twice(
    stacks: PortalServer, emulator: Emulator, reconcile, server: str
):
    ada = the_one(emulator, "projects", name="ada")
    _, installation, stack_id = ada["description"].split(":")
    stray = emulator.call(
        "project.create", name="lost", description=f"asd:{installation}:{server}01ARZ3NDEKTSV4RRFFQ69G5FAV"
    )
    emulator.call(
        "application.create",
        name="lost",
        environmentId=stray["environment"]["environmentId"],
        description=stray["project"]["description"],
    )
    emulator.call("project.create", name="ada", description=f"asd:{installation}:{server}{stack_id}")
    theirs = emulator.call("project.create", name="theirs", description="asd:another-portal:01ARZ3NDEKTSV4RRFFQ69G5FAV")
    elsewhere = f"asd:{installation}:eu-2:01ARZ3NDEKTSV4RRFFQ69G5FAV"
    emulator.call("project.create", name="on another server", description=elsewhere)
    emulator.call("project.create", name="nobody's")

    result, found = reconcile()
    assert result.exit_code == 1
    assert [each["code"] for each in found] == ["project_double", "application_without_stack", "project_without_stack"]

    result, _ = reconcile("--repair")
    assert result.exit_code == 0
    assert {row["name"] for row in emulator.state()["projects"]} == {
        *("ada", "bob", "theirs", "on another server", "nobody's")
    }
    assert the_one(emulator, "projects", name="ada")["projectId"] == ada["projectId"]
    assert theirs["project"]["projectId"] in {row["projectId"] for row in emulator.state()["projects"]}


def test_what_only_contains_a_marker_is_somebody_s_own(stacks: PortalServer, emulator: Emulator, reconcile):
    marker = the_one(emulator, "projects", name="ada")["description"]
    for description in (f"{marker} (do not delete)", f"copy of {marker}", f"{marker}:more", f"{marker}\n"):
        made = emulator.call("project.create", name="theirs", description=description)
        environment_id = made["environment"]["environmentId"]
        emulator.call("application.create", name="theirs", environmentId=environment_id, description=description)
    before = configured(emulator)

    result, found = reconcile("--repair")

    assert (result.exit_code, found) == (0, [])
    assert configured(emulator) == before


def test_a_project_of_no_stack_with_something_of_somebody_in_it_stays(
    stacks: PortalServer, emulator: Emulator, reconcile
):
    installation = the_one(emulator, "projects", name="ada")["description"].split(":")[1]
    stray = emulator.call("project.create", name="lost", description=f"asd:{installation}:01ARZ3NDEKTSV4RRFFQ69G5FAV")
    emulator.call("application.create", name="theirs", environmentId=stray["environment"]["environmentId"])

    result, done = reconcile("--repair")

    assert (result.exit_code, [each["outcome"] for each in done]) == (1, ["failed: project_not_empty"])
    assert "theirs" in {row["name"] for row in emulator.state()["applications"]}


def test_a_stack_that_is_being_made_is_left_alone(stacks: PortalServer, emulator: Emulator, reconcile):
    emulator.fault("stuck")
    deployment_id = stacks.deploy("eve")["deploymentId"]
    stacks.wait_for(deployment_id, "progressed", what="container_running")

    assert reconcile()[1] == []

    emulator.release()
    wait_until_running(stacks, deployment_id)


def test_a_redeployment_that_fails_leaves_what_is_there(stacks: PortalServer, emulator: Emulator, reconcile):
    emulator.call("domain.delete", domainId=the_one(emulator, "domains", host=f"ada.{SUFFIX}")["domainId"])
    emulator.fault("fail")

    _, done = reconcile("--repair")
    record = stacks.wait(done[0]["outcome"].removeprefix("deployment "))

    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "deploy_failed", [])
    assert counts(emulator) == dict.fromkeys(KINDS, 2)
    assert stacks.client.get("/api/check/ada").json()["code"] == "name_taken"
    page = stacks.client.get(f"/deployments/{record['id']}", headers={"accept": "text/html"}).text
    assert "What is there was left as it is." in page


def test_dokploy_away_is_one_line_and_not_waited_for(
    stacks: PortalServer, emulator: Emulator, reconcile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOKPLOY_PATIENCE_SECONDS", "3600")  # longer than any test may take
    emulator.fault("database_down")

    result = CliRunner().invoke(build_app(), ["reconcile"])

    assert result.exit_code == 1
    assert str(result.exception).startswith("Dokploy cannot be asked: ")


def test_people_read_a_table(stacks: PortalServer, emulator: Emulator, reconcile):
    result = CliRunner().invoke(build_app(), ["reconcile"])
    assert (result.exit_code, result.stdout) == (0, "Dokploy holds what the record says.\n")
    emulator.call("domain.delete", domainId=the_one(emulator, "domains", host=f"ada.{SUFFIX}")["domainId"])

    lines = CliRunner().invoke(build_app(), ["reconcile"]).stdout.splitlines()

    assert lines[0].split() == ["STACK", "WHAT", "NAME", "ID", "IN", "DOKPLOY", "REPAIR"]
    assert lines[1].split() == ["ada", "domain_missing", f"ada.{SUFFIX}", "-", "redeploy"]


def test_most_stacks_are_not_repaired_at_once(
    start_portal: StartPortal, emulator: Emulator, stacks: PortalServer, reconcile
):
    """Another server's address, rather than that many mishaps."""
    for accepted in [stacks.deploy(name) for name in ("eve", "joe")]:
        stacks.wait(accepted["deploymentId"])
    for row in emulator.state()["applications"][:3]:
        emulator.call("application.delete", applicationId=row["applicationId"])

    refused = CliRunner().invoke(build_app(), ["reconcile", "--repair"])
    assert refused.exit_code == 1
    assert str(refused.exception).startswith("most stacks differ")
    assert len(emulator.state()["applications"]) == 1

    _, done = reconcile("--repair", "--force")
    for each in done:
        wait_until_running(stacks, each["outcome"].removeprefix("deployment "))
    assert len(emulator.state()["applications"]) == 4


def test_a_stack_that_is_to_go_is_not_deployed_again(
    start_portal: StartPortal, emulator: Emulator, any_database_url: str
):
    """Its removal has left something, so it still holds its name, and nothing changes it now."""
    stacks = start_portal(database_url=any_database_url, undo_timeout_seconds=0.5)
    stacks.wait(stacks.deploy("ada")["deploymentId"])
    emulator.fault("status", "project.remove", status=500, times=-1)
    operator = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    assert stacks.client.delete("/api/stack/ada", headers=operator).status_code == 502

    async def redeploy() -> None:
        async with open_portal(portal_settings(emulator.url, any_database_url), runs=False) as portal:
            stack = await portal.records.find_stack("ada")
            assert stack is not None
            await portal.operations.change(REDEPLOY, stack, requester(stack.owner))

    with pytest.raises(PortalError, match="name_cleaning_up"):
        asyncio.run(redeploy())
