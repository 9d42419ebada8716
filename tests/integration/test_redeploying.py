"""A stack that is deployed again because somebody asks for it: it stays what its plan says, with its files and password."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.conftest import LEAVES_SOON, Servers
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR, WRONG, assert_problem, key_of
from tests.integration.test_outages import LEFT_ALONE, take_dokploy_away, wait_for_circuit
from tests.servers import Emulator, PortalServer


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return LEAVES_SOON


def ready(servers: Servers) -> dict[str, Any]:
    accepted = servers.portal.deploy(new_name())
    assert servers.portal.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    return accepted


def redeploy(servers: Servers, accepted: dict[str, Any], **headers: str) -> httpx.Response:
    return servers.portal.client.post(
        f"/api/stack/{accepted['stackName']}/redeploy", headers={**key_of(accepted), **headers}
    )


def test_a_stack_is_deployed_again(servers: Servers):
    accepted = ready(servers)
    (before,) = servers.emulator.state()["applications"]
    servers.emulator.call("domain.delete", domainId=servers.emulator.state()["domains"][0]["domainId"])

    answer = redeploy(servers, accepted)

    assert answer.status_code == 202
    again = answer.json()
    assert again.keys() == {"deploymentId", "statusUrl", "eventsUrl"}
    assert answer.headers["location"] == again["statusUrl"] == f"/api/deployments/{again['deploymentId']}"
    assert answer.headers["cache-control"] == "no-store"
    record = servers.portal.wait(again["deploymentId"])
    assert (record["kind"], record["conclusion"], record["trigger"], record["actor"]["id"]) == (
        "redeploy",
        "succeeded",
        "api",
        "key",
    )
    assert record["steps"][0]["name"] == "project"
    (after,) = servers.emulator.state()["applications"]
    assert (after["applicationId"], after["env"]) == (before["applicationId"], before["env"]), "the password stays"
    assert [each["host"] for each in servers.emulator.state()["domains"]] == [f"{accepted['stackName']}.stacks.example"]
    assert len(servers.emulator.state()["volumes"]) == 1, "the files stay"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "credential_missing"),
        (WRONG, 403, "credential_wrong"),
        ({**OPERATOR, "sec-fetch-site": "cross-site"}, 202, ""),
        ({"sec-fetch-site": "cross-site"}, 403, "cross_site"),
    ],
)
def test_only_whoever_manages_a_stack_deploys_it_again(
    servers: Servers, headers: dict[str, str], status: int, code: str
):
    accepted = ready(servers)

    answer = servers.portal.client.post(f"/api/stack/{accepted['stackName']}/redeploy", headers=headers)

    if code:
        assert_problem(answer, status, code)
        return
    assert answer.status_code == status
    assert servers.portal.wait(answer.json()["deploymentId"])["actor"] == {
        "id": "operator",
        "email": None,
        "role": "operator",
    }


def test_a_stack_that_is_being_deployed_is_neither_deployed_again_nor_deleted(servers: Servers):
    accepted = ready(servers)
    servers.emulator.fault("stuck")
    again = redeploy(servers, accepted).json()

    assert_problem(redeploy(servers, accepted), 409, "stack_busy")
    removal = servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert_problem(removal, 409, "stack_busy")

    servers.emulator.release()
    assert servers.portal.wait(again["deploymentId"])["conclusion"] == "succeeded"
    assert redeploy(servers, accepted).status_code == 202


def test_a_stack_that_is_being_created_or_deleted_is_not_deployed_again(servers: Servers):
    servers.emulator.fault("stuck")
    accepted = servers.portal.deploy(new_name())
    assert_problem(redeploy(servers, accepted), 409, "stack_busy")
    servers.emulator.release()
    servers.portal.wait(accepted["deploymentId"])

    servers.emulator.fault("volume_in_use", times=-1)
    servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert_problem(redeploy(servers, accepted), 409, "name_cleaning_up")

    servers.emulator.clear_faults()
    removed = servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert removed.status_code == 200
    assert_problem(redeploy(servers, accepted), 404, "stack_not_found")


def test_one_that_is_cancelled_leaves_what_is_there(start_portal: Callable[..., PortalServer], emulator: Emulator):
    servers = Servers(start_portal(), emulator)  # what is there is counted, so nobody else may be at work
    accepted = ready(servers)
    servers.emulator.fault("stuck")
    again = redeploy(servers, accepted).json()
    servers.portal.wait_for(again["deploymentId"], "progressed")

    cancel = servers.portal.client.post(f"{again['statusUrl']}/cancel", headers=key_of(accepted))

    assert cancel.status_code == 202
    record = servers.portal.wait(again["deploymentId"])
    assert (record["conclusion"], record["undoing"], record["leftovers"]) == ("canceled", False, [])
    assert {name: len(rows) for name, rows in servers.emulator.left().items() if name != "queue"} == dict.fromkeys(
        ("projects", "applications", "domains", "mounts", "volumes", "services"), 1
    )
    assert redeploy(servers, accepted).status_code == 202


def test_no_redeployment_is_begun_while_dokploy_is_away(start_portal, emulator):
    servers = Servers(start_portal(**LEFT_ALONE), emulator)
    accepted = ready(servers)
    take_dokploy_away(servers.portal, emulator, kind="database_down")
    wait_for_circuit(servers.portal, "open")

    refused = redeploy(servers, accepted)

    assert_problem(refused, 503, "dokploy_away")
    assert int(refused.headers["retry-after"]) >= 1
    emulator.clear_faults()
    servers.portal.ask_dokploy_again()
    wait_for_circuit(servers.portal, "closed")
    assert redeploy(servers, accepted).status_code == 202
