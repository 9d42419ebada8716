"""Whose a project or an application in Dokploy is: ours is found in each form of its marker, another's never touched."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.holding import wait_for_held
from tests.servers import ADMIN_TOKEN, Emulator, PortalServer
from tests.waiting import wait_until

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
ELSEWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

FORMS: dict[str, Callable[[str, str], str]] = {
    "older": lambda portal, stack: f"asd:{portal}:{stack}",
    "with the server": lambda portal, stack: f"asd:{portal}:main:{stack}",
}

FOREIGN: dict[str, Callable[[str, str], str | None]] = {
    "nothing": lambda _portal, _stack: None,
    "an empty text": lambda _portal, _stack: "",
    "the stack's id alone": lambda _portal, stack: stack,
    "another portal, older": lambda _portal, stack: f"asd:{ELSEWHERE}:{stack}",
    "another portal": lambda _portal, stack: f"asd:{ELSEWHERE}:main:{stack}",
    "another server": lambda portal, stack: f"asd:{portal}:eu-2:{stack}",
    "another server in capitals": lambda portal, stack: f"asd:{portal}:MAIN:{stack}",
    "another stack": lambda portal, _stack: f"asd:{portal}:{ELSEWHERE}",
    "no server": lambda portal, stack: f"asd:{portal}::{stack}",
    "no portal": lambda _portal, stack: f"asd:main:{stack}",
    "a part too many": lambda portal, stack: f"asd:{portal}:main:{stack}:x",
    "in small letters": lambda portal, stack: f"asd:{portal}:{stack}".lower(),
    "words of their own": lambda portal, stack: f"copied from asd:{portal}:{stack}",
    "more words": lambda portal, stack: f"asd:{portal}:main:{stack} (keep)",
    "another line": lambda portal, stack: f"asd:{portal}:{stack}\n",
}


def ids_of(emulator: Emulator, name: str) -> tuple[str, str]:
    """The ids of the portal and of a stack, out of the marker of its project."""
    (description,) = [row["description"] for row in emulator.state()["projects"] if row["name"] == name]
    mark, portal, stack = description.split(":")
    assert mark == "asd"
    return portal, stack


def deploy(portal: PortalServer, name: str = "ada") -> None:
    assert portal.wait(portal.deploy(name)["deploymentId"])["conclusion"] == "succeeded"


def redeploy(portal: PortalServer, name: str = "ada") -> dict[str, Any]:
    answer = portal.client.post(f"/api/stack/{name}/redeploy", headers=OPERATOR)
    assert answer.status_code == 202, answer.text
    return portal.wait(answer.json()["deploymentId"])


def remove(portal: PortalServer, name: str = "ada") -> int:
    return portal.client.delete(f"/api/stack/{name}", headers=OPERATOR).status_code


def mark_anew(emulator: Emulator, description: str) -> None:
    """Give the one project and the one application this description, as if they had been created with it."""
    (project,), (application,) = emulator.state()["projects"], emulator.state()["applications"]
    emulator.call("project.update", projectId=project["projectId"], description=description)
    emulator.call("application.update", applicationId=application["applicationId"], description=description)


def add_foreign(emulator: Emulator, portal: str, stack: str) -> set[str]:
    """Add a project of each foreign description, with an application of it inside; return Dokploy's ids of all."""
    added = set()
    for name, describe in FOREIGN.items():
        description = describe(portal, stack)
        made = emulator.call("project.create", name=name, description=description)
        environment_id = made["environment"]["environmentId"]
        row = emulator.call("application.create", name=name, environmentId=environment_id, description=description)
        added |= {made["project"]["projectId"], row["applicationId"]}
    return added


def rows(emulator: Emulator) -> dict[str, Any]:
    """Projects and applications by their ids."""
    state = emulator.state()
    projects = {row["projectId"]: row for row in state["projects"]}
    return projects | {row["applicationId"]: row for row in state["applications"]}


def test_a_project_and_an_application_are_marked_as_an_older_portal_compares_them(
    portal: PortalServer, emulator: Emulator
):
    deploy(portal)
    (project,), (application,) = emulator.state()["projects"], emulator.state()["applications"]

    assert project["description"] == application["description"] == FORMS["older"](*ids_of(emulator, "ada"))


@pytest.mark.parametrize("form", FORMS)
def test_a_stack_is_found_by_each_form_of_its_marker(portal: PortalServer, emulator: Emulator, form: str):
    deploy(portal)
    mark_anew(emulator, FORMS[form](*ids_of(emulator, "ada")))
    before = rows(emulator).keys()

    assert redeploy(portal)["conclusion"] == "succeeded"
    assert rows(emulator).keys() == before, "nothing was created beside it"

    assert remove(portal) == 200
    assert emulator.left() == {}


@pytest.mark.parametrize("form", FORMS)
def test_leftovers_are_found_by_each_form_of_their_marker(
    start_portal: Callable[..., PortalServer], emulator: Emulator, form: str
):
    portal = start_portal(leftovers_retry_seconds=0.2, undo_timeout_seconds=0.3)
    deploy(portal)
    emulator.fault("status", "application.delete", status=500, times=-1)
    mark_anew(emulator, FORMS[form](*ids_of(emulator, "ada")))
    assert remove(portal) == 502
    assert emulator.left().keys() >= {"projects", "applications"}

    emulator.clear_faults()

    wait_until(lambda: emulator.left() == {}, tell=emulator.left)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["project", "application"])
def test_a_create_whose_answer_is_lost_is_found_by_each_form(
    portal: PortalServer, emulator: Emulator, form: str, kind: str
):
    deploy(portal)
    portal_id, stack_id = ids_of(emulator, "ada")
    application = emulator.state()["applications"][0]["applicationId"]
    emulator.call("application.delete", applicationId=application)
    if kind == "project":
        emulator.call("project.remove", projectId=emulator.state()["projects"][0]["projectId"])
    foreign = add_foreign(emulator, portal_id, stack_id)
    emulator.fault("drop_after", f"{kind}.create")
    emulator.fault("hold", f"{kind}.search", times=2)
    answer = portal.client.post("/api/stack/ada/redeploy", headers=OPERATOR)
    emulator.release()  # it looks for what is on record, and then creates it
    wait_for_held(emulator, f"{kind}.search")
    (created,) = (row[f"{kind}Id"] for row in emulator.state()[f"{kind}s"] if row[f"{kind}Id"] not in foreign)
    emulator.call(f"{kind}.update", description=FORMS[form](portal_id, stack_id), **{f"{kind}Id": created})

    emulator.release()

    assert portal.wait(answer.json()["deploymentId"])["conclusion"] == "succeeded"
    assert len(ours := rows(emulator).keys() - foreign) == 2
    assert created in ours


def test_what_bears_another_s_marker_or_none_is_never_touched(portal: PortalServer, emulator: Emulator):
    deploy(portal)
    portal_id, stack_id = ids_of(emulator, "ada")
    (project,), (application,) = emulator.state()["projects"], emulator.state()["applications"]
    foreign = add_foreign(emulator, portal_id, stack_id)
    before = {key: row for key, row in rows(emulator).items() if key in foreign}

    # While ours is there, and once nothing but theirs is.
    assert redeploy(portal)["conclusion"] == "succeeded"
    assert rows(emulator).keys() == foreign | {project["projectId"], application["applicationId"]}
    emulator.call("application.delete", applicationId=application["applicationId"])
    emulator.call("project.remove", projectId=project["projectId"])
    assert redeploy(portal)["conclusion"] == "succeeded"
    created = rows(emulator).keys() - foreign
    assert len(created) == 2
    assert created.isdisjoint({project["projectId"], application["applicationId"]})

    assert remove(portal) == 200
    assert rows(emulator) == before


def test_a_name_whose_project_bears_another_s_marker_is_refused(portal: PortalServer, emulator: Emulator):
    deploy(portal)
    descriptions = [describe(*ids_of(emulator, "ada")) for describe in (*FOREIGN.values(), *FORMS.values())]
    for number, description in enumerate(descriptions):
        emulator.call("project.create", name=f"bob-{number}", description=description)
    before = rows(emulator)

    accepted = [portal.deploy(f"bob-{number}") for number in range(len(descriptions))]

    for each in accepted:
        record = portal.wait(each["deploymentId"])
        assert (record["conclusion"], record["problem"]["code"]) == ("failed", "project_conflict")
    assert rows(emulator) == before


def test_a_failed_creation_undoes_nothing_of_another_s(portal: PortalServer, emulator: Emulator):
    emulator.fault("stuck")
    deployment_id = portal.deploy("ada")["deploymentId"]
    portal.wait_for(deployment_id, "progressed", what="container_running")
    foreign = add_foreign(emulator, *ids_of(emulator, "ada"))
    before = {key: row for key, row in rows(emulator).items() if key in foreign}

    portal.client.post(f"/api/deployments/{deployment_id}/cancel", headers=OPERATOR)
    emulator.release()

    record = portal.wait(deployment_id)
    assert (record["conclusion"], record["leftovers"]) == ("canceled", [])
    assert rows(emulator) == before
