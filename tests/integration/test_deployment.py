"""A deployment from the request to the address that answers, and back when a step fails."""

from tests.servers import SUFFIX, Emulator, PortalServer, fetch


def test_a_stack_is_deployed_and_answers_only_to_its_password(portal: PortalServer, emulator: Emulator):
    accepted = portal.deploy("ada")

    record = portal.wait(accepted["deploymentId"])

    assert record["conclusion"] == "succeeded"
    assert accepted["url"] == f"http://ada.{SUFFIX}"
    stack = portal.client.get("/api/stack/ada", headers={"authorization": f"Bearer {accepted['manageKey']}"}).json()
    host = {"host": f"ada.{SUFFIX}"}
    assert fetch(emulator.url, headers=host).status_code == 401
    assert fetch(emulator.url, headers=host, auth=("opencode", stack["password"])).status_code == 200


def test_a_failed_deployment_leaves_nothing(portal: PortalServer, emulator: Emulator):
    emulator.fault("fail")

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert (record["conclusion"], record["problem"]["code"], record["leftovers"]) == ("failed", "deploy_failed", [])
    assert emulator.left() == {}
    assert portal.client.get("/api/check/ada").json()["available"]


def test_postgresql_runs_it_too(start_portal, any_database_url: str):
    portal = start_portal(database_url=any_database_url)

    assert portal.wait(portal.deploy("ada")["deploymentId"])["conclusion"] == "succeeded"


def test_a_restart_in_the_middle_goes_on_and_loses_no_event(start_portal, emulator: Emulator, any_database_url: str):
    emulator.fault("stuck")
    first = start_portal(database_url=any_database_url)
    deployment_id = first.deploy("ada")["deploymentId"]
    first.wait_for(deployment_id, "progressed", what="container_running")
    first.stop()

    second = start_portal(database_url=any_database_url)
    second.wait_for(deployment_id, "deployment_resumed")
    emulator.release()
    record = second.wait(deployment_id)

    assert record["conclusion"] == "succeeded"
    numbers = [event["n"] for event in second.events(deployment_id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert emulator.state()["calls"]["project.create"] == 1
    assert emulator.state()["calls"]["application.deploy"] == 1
