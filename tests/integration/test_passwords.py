"""The password of a stack is changed: when the new one counts, what is known while it does not, and who gets to see it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.deployments.states import Conclusion, StepState
from app.engine.saga import Checkpoint, StepChange
from app.errors import PortalError
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.stacks.templates import StackSecrets
from app.store.migrations import migrate
from tests.integration.conftest import LEAVES_SOON, Servers, SideBySide
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR, WRONG, assert_problem, key_of
from tests.integration.test_pages import Page, password_of, submit
from tests.integration.test_redeploying import ready, redeploy
from tests.integration.test_stack_pages import deploy, id_of, new_browser
from tests.integration.test_store import ADA, Store
from tests.servers import Emulator, PortalServer, http_client


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return LEAVES_SOON


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    return UNHURRIED


def change(servers: Servers, accepted: dict[str, Any], **headers: str) -> httpx.Response:
    return servers.portal.client.post(
        f"/api/stack/{accepted['stackName']}/password", headers={**key_of(accepted), **headers}
    )


def shown(servers: Servers, accepted: dict[str, Any]) -> tuple[str, bool]:
    """The password that the owner sees, and whether another is to take its place."""
    answer = servers.portal.client.get(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["password"], answer.json()["passwordPending"]


def opens(servers: Servers, accepted: dict[str, Any], password: str) -> bool:
    """Whether the container that runs lets somebody with this password in."""
    host = f"{accepted['stackName']}.stacks.example"
    with http_client(base_url=servers.emulator.url) as client:
        answer = client.get("/", headers={"host": host}, auth=("opencode", password))
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


def test_the_new_password_opens_the_stack_and_the_old_one_no_longer_does(servers: Servers):
    accepted = ready(servers)
    old, pending = shown(servers, accepted)
    assert (opens(servers, accepted, old), pending) == (True, False)
    servers.emulator.fault("stuck")

    answer = change(servers, accepted)

    assert answer.status_code == 202
    again = answer.json()
    assert again.keys() == {"deploymentId", "statusUrl", "eventsUrl"}
    assert answer.headers["location"] == again["statusUrl"] == f"/api/deployments/{again['deploymentId']}"
    assert answer.headers["cache-control"] == "no-store"
    assert shown(servers, accepted) == (old, True), "as long as it is not the container's"
    assert_problem(change(servers, accepted), 409, "stack_busy")
    servers.emulator.release()
    record = servers.portal.wait(again["deploymentId"])
    assert (record["kind"], record["conclusion"], record["changesPassword"]) == ("password", "succeeded", True)
    new, pending = shown(servers, accepted)
    assert (new != old, len(new), pending) == (True, len(old), False)
    assert new == password_of(servers.emulator, accepted["stackName"])
    assert (opens(servers, accepted, old), opens(servers, accepted, new)) == (False, True)
    assert len(servers.emulator.state()["volumes"]) >= 1, "the files stay"

    later = redeploy(servers, accepted).json()
    assert not servers.portal.wait(later["deploymentId"])["changesPassword"]
    assert shown(servers, accepted) == (new, False)


# What keeps each step from succeeding, and what is true of the password then.
FAILURES: dict[str, tuple[dict[str, Any], bool]] = {
    "project": ({"kind": "status", "call": "project.search", "status": 400}, False),
    "application": ({"kind": "status", "call": "application.search", "status": 400}, False),
    "configure": ({"kind": "status", "call": "application.update", "status": 400}, False),
    "domain": ({"kind": "status", "call": "domain.byApplicationId", "status": 400}, False),
    "deploy": ({"kind": "fail"}, False),
    "verify": ({"kind": "open"}, True),
}


def test_a_change_that_fails_is_finished_by_the_next_redeployment(side_by_side: SideBySide):
    def check(servers: Servers, step: str) -> None:
        fault, changed = FAILURES[step]
        accepted = ready(servers)
        old, _ = shown(servers, accepted)
        servers.emulator.fault(**fault, times=-1)

        record = servers.portal.wait(change(servers, accepted).json()["deploymentId"])

        assert (record["conclusion"], record["problem"]["step"]) == ("failed", step)
        now, pending = shown(servers, accepted)
        assert ((now != old), pending) == (changed, not changed)
        assert opens(servers, accepted, now), "what is shown is true"
        servers.emulator.clear_faults()
        again = servers.portal.wait(redeploy(servers, accepted).json()["deploymentId"])
        assert (again["conclusion"], again["changesPassword"]) == ("succeeded", not changed)
        new, pending = shown(servers, accepted)
        assert (new != old, pending, opens(servers, accepted, new)) == (True, False, True)
        assert changed == (new == now)

    side_by_side(FAILURES, check)


def test_a_password_that_a_container_may_have_is_never_dropped_for_another(servers: Servers):
    """Cancelled in the middle: Dokploy goes on, and starts the container with what nobody has been shown yet."""
    accepted = ready(servers)
    old, _ = shown(servers, accepted)
    servers.emulator.fault("stuck")
    first = change(servers, accepted).json()
    servers.portal.wait_for(first["deploymentId"], "progressed")
    given = password_of(servers.emulator, accepted["stackName"])

    canceled = servers.portal.client.post(f"{first['statusUrl']}/cancel", headers=key_of(accepted))

    assert canceled.status_code == 202
    assert servers.portal.wait(first["deploymentId"])["conclusion"] == "canceled"
    servers.emulator.release()
    assert shown(servers, accepted) == (old, True)
    assert given != old
    # Asked for anew it is the same change, not a third password.
    assert servers.portal.wait(change(servers, accepted).json()["deploymentId"])["conclusion"] == "succeeded"
    assert shown(servers, accepted) == (given, False)
    assert opens(servers, accepted, given)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "credential_missing"),
        (WRONG, 403, "credential_wrong"),
        ({**OPERATOR, "sec-fetch-site": "cross-site"}, 202, ""),
        ({"sec-fetch-site": "cross-site"}, 403, "cross_site"),
    ],
)
def test_only_whoever_manages_a_stack_changes_its_password(
    servers: Servers, headers: dict[str, str], status: int, code: str
):
    accepted = ready(servers)

    answer = servers.portal.client.post(f"/api/stack/{accepted['stackName']}/password", headers=headers)

    if code:
        assert_problem(answer, status, code)
        assert not shown(servers, accepted)[1]
        return
    assert answer.status_code == status
    assert servers.portal.wait(answer.json()["deploymentId"])["actor"]["id"] == "operator"


def test_what_is_being_made_or_is_to_go_gets_no_other_password(servers: Servers):
    servers.emulator.fault("stuck")
    accepted = servers.portal.deploy(new_name())
    assert_problem(change(servers, accepted), 409, "stack_busy")
    servers.emulator.release()
    servers.portal.wait(accepted["deploymentId"])
    servers.emulator.fault("volume_in_use", times=-1)
    servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert_problem(change(servers, accepted), 409, "name_cleaning_up")
    servers.emulator.clear_faults()
    servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted))
    assert_problem(change(servers, accepted), 404, "stack_not_found")


def test_by_the_page(servers: Servers):
    with new_browser(servers.portal) as browser, new_browser(servers.portal) as stranger:
        name, _ = deploy(servers, browser)
        old = password_of(servers.emulator, name)
        assert Page(browser.get(f"/stacks/{name}")).all("form", action=f"/stacks/{name}/password", method="get")
        question = Page(browser.get(f"/stacks/{name}/password"))
        assert f"Change the password of {name}?" in question.words
        assert stranger.get(f"/stacks/{name}/password").status_code == 404
        assert stranger.post(f"/stacks/{name}/password").status_code == 401
        assert browser.post(f"/stacks/{name}/password", headers={"sec-fetch-site": "cross-site"}).status_code == 403

        servers.emulator.fault("fail")
        failed = submit(browser, f"/stacks/{name}/password")
        assert servers.portal.wait(id_of(failed))["conclusion"] == "failed"
        assert "The change may be half done. Deploy again to finish it." in Page(browser.get(failed)).words
        page = Page(browser.get(f"/stacks/{name}"))
        assert "A change of the password was not finished." in page.words
        assert old in page.words
        assert "Change of password" in page.words, "the list of deployments"
        assert not page.all("form", action=f"/stacks/{name}/password")
        assert "the change of the password is finished" in Page(browser.get(f"/stacks/{name}/redeploy")).words

        servers.emulator.fault("stuck")
        again = submit(browser, f"/stacks/{name}/redeploy")
        servers.portal.wait_for(id_of(again), "progressed")
        assert f"Changing the password of {name}" in Page(browser.get(again)).words
        busy = Page(browser.get(f"/stacks/{name}"))
        assert "The password is being changed." in busy.words
        assert Page(browser.get(f"/stacks/{name}/password")).status == 409
        servers.emulator.release()
        servers.portal.wait(id_of(again))
        new = password_of(servers.emulator, name)
        assert new != old
        for here in (f"/stacks/{name}", again):
            page = Page(browser.get(here))
            assert new in page.words
            assert old not in page.words
        assert f"The password of {name} is changed" in page.words
        assert "The old one opens nothing now." in page.words


# In the store, on both databases


@pytest.mark.anyio
async def test_the_new_password_is_the_stack_s_in_the_very_transaction_of_the_step(any_database_url: str):
    store = Store(any_database_url)
    await migrate(store.database)
    await store.deploy()
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("ada")
    assert stack is not None
    old = await store.secrets(stack.id)
    deployment_id = await store.operations.change(PASSWORD, stack, ADA)
    run = await store.claim_one()
    assert run.next_secrets is not None
    new = StackSecrets.decrypt(run.next_secrets, store.vault)
    assert new == replace(old, password=new.password)
    assert new.password != old.password
    for text in (repr(run), repr(stack), str(await store.records.deployment(deployment_id))):
        assert old.password not in text
        assert new.password not in text
        assert "gAAAA" not in text, "not even sealed"

    done = Checkpoint(steps={"deploy": StepChange(StepState.SUCCEEDED, {})}, secrets=run.next_secrets)
    store.database.fail = 1  # nothing of it is written, and then all of it
    await store.journal.record(run, done)
    after = await store.records.find_stack("ada")
    assert after is not None
    assert (await store.secrets(stack.id), after.is_password_pending) == (new, False)
    assert run.secrets == await store.records.sealed_secrets(stack.id)
    assert run.next_secrets is None

    # Another process that has taken the run up meanwhile is not written over.
    await store.conclude(run, Conclusion.SUCCEEDED)
    await store.operations.change(PASSWORD, after, ADA)
    late = await store.claim_one(lease=-1)
    taken = await store.claim_one()
    assert taken.id == late.id
    with pytest.raises(Exception, match=late.id):
        await store.journal.record(late, Checkpoint(steps=done.steps, secrets=late.next_secrets))
    still = await store.records.find_stack("ada")
    assert still is not None
    assert (await store.secrets(still.id), still.is_password_pending) == (new, True)
    await store.database.close()


@pytest.mark.anyio
async def test_two_who_ask_at_once_get_one_change(any_database_url: str):
    store, peer = Store(any_database_url), Store(any_database_url)
    await migrate(store.database)
    await store.deploy()
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("ada")
    assert stack is not None

    asked = [each.operations.change(PASSWORD, stack, ADA) for each in [store, peer] * 4]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(each, str) for each in answers) == 1
    assert {each.code for each in answers if isinstance(each, PortalError)} == {"stack_busy"}
    assert sum(isinstance(each, PortalError) for each in answers) == 7
    run = await store.claim_one()
    given = run.next_secrets
    await store.conclude(run, Conclusion.FAILED)
    await store.operations.change(REDEPLOY, stack, ADA)
    assert (await store.claim_one()).next_secrets == given, "the next goes on with it"
    for each in (store, peer):
        await each.database.close()


def test_a_portal_that_is_stopped_in_the_middle_goes_on_with_the_new_password(
    start_portal: Callable[..., PortalServer], emulator: Emulator
):
    portal = start_portal()
    servers = Servers(portal, emulator)
    accepted = ready(servers)
    emulator.fault("stuck")
    again = change(servers, accepted).json()
    portal.wait_for(again["deploymentId"], "progressed")
    portal.stop()

    servers = Servers(start_portal(), emulator)

    emulator.release()
    assert servers.portal.wait(again["deploymentId"])["conclusion"] == "succeeded"
    new, pending = shown(servers, accepted)
    assert (new, pending) == (password_of(emulator, accepted["stackName"]), False)
    assert opens(servers, accepted, new)
