# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The emulated database: what hangs together, and what stays behind."""

import pytest

from app.sandbox.errors import CallError
from app.sandbox.rows import application_row, domain_row, mount_row
from app.sandbox.state import State


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def application(state):
    _, environment = state.create_project("p", None, "")
    row = application_row("web", "Web", environment["environmentId"], None)
    state.add_application(row)
    return row


def route(state, application, host="Web.test", **given):
    row = domain_row(
        {"host": host, "applicationId": application["applicationId"], **given}, state.next_config_key()
    )  # fmt: skip
    state.add_domain(row)
    return row


def test_identifiers_look_like_dokploys(application) -> None:
    assert len(application["applicationId"]) == 21
    assert application["appName"].startswith("web-")
    assert len(application) == 101


def test_a_removed_project_leaves_its_routes(state, application) -> None:
    domain = route(state, application)
    state.add_mount(
        mount_row(
            {
                "type": "volume",
                "mountPath": "/d",
                "serviceId": application["applicationId"],
                "serviceType": "application",
            }
        )
    )
    state.begin_deployment(application, "t", "")
    (project,) = list(state.projects.values())
    state.remove_project(project)
    for rows in (state.projects, state.environments, state.applications, state.domains, state.mounts):
        assert rows == {}
    assert state.deployments == {}
    assert state.route("web.test", "/") == (application["appName"], domain)
    state.erase_routes(application["appName"])
    assert not state.knows_host("web.test")


def test_routes_prefer_the_longer_path_then_the_older(state, application) -> None:
    first = route(state, application)
    route(state, application)
    below = route(state, application, path="/api")
    assert state.route("web.test", "/")[1]["domainId"] == first["domainId"]
    assert state.route("web.test", "/api/x")[1]["domainId"] == below["domainId"]
    state.remove_domain(first)
    assert state.route("web.test", "/") is not None
    assert state.route("other.test", "/") is None


def test_logs_of_one_second_share_a_file(state, application) -> None:
    rows = [state.begin_deployment(application, f"t{n}", "") for n in range(14)]
    kept = state.deployments_of(application["applicationId"])
    assert kept == rows[-11:]
    assert set(state.deployments) == {row["deploymentId"] for row in kept}


@pytest.mark.parametrize(("look_up", "thing"), [("project", "Project"), ("environment", "Environment")])
def test_what_is_not_there(state, look_up, thing) -> None:
    with pytest.raises(CallError, match=f"{thing} not found") as refusal:
        getattr(state, look_up)("nothing")
    assert refusal.value.body("x.one")["data"]["httpStatus"] == 404
