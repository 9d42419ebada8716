"""A freed name: files that were kept are for the same owner only, and nobody else has the name before they are erased."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.deployments.states import Conclusion, ResourceState
from app.engine.saga import Checkpoint, ResourceChange
from app.errors import PortalError
from app.security.vault import fingerprint
from app.stacks.model import EVERYBODY
from app.stacks.requester import Requester
from app.stacks.templates import built_in_template
from app.store import schema
from app.store.migrations import migrate
from app.store.paging import PageRequest
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR, WRONG, assert_problem, key_of
from tests.integration.test_pages import Page, assert_nothing_inline, submit
from tests.integration.test_stack_pages import id_of, new_browser
from tests.integration.test_store import Store
from tests.servers import PortalServer, requester


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


def deploy(servers: Servers, browser: httpx.Client, name: str) -> dict[str, Any]:
    return servers.portal.wait(id_of(submit(browser, "/deploy", name=name)))


def keep(servers: Servers, browser: httpx.Client, name: str) -> str:
    """Have a stack and remove it but for its files; return the address of the removal's page."""
    assert deploy(servers, browser, name)["conclusion"] == "succeeded"
    removal = submit(browser, f"/stacks/{name}/delete", volume="keep")
    assert servers.portal.wait(id_of(removal))["conclusion"] == "succeeded"
    return removal


def volumes(servers: Servers) -> list[str]:
    return [each["name"] for each in servers.emulator.state()["volumes"]]


def check(client: httpx.Client, name: str, **headers: str) -> dict[str, Any]:
    answer = client.get(f"/api/check/{name}", headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    verdict: dict[str, Any] = answer.json()
    return verdict


def plan(client: httpx.Client, name: str, **headers: str) -> tuple[list[str], list[str]]:
    """What a plan warns of, and what blocks it."""
    answer = client.post("/api/plan", json={"name": name}, headers=headers).json()
    return answer["warnings"], [each["code"] for each in answer["blocked"]]


# Whose the name is meanwhile


def test_a_name_is_kept_with_the_files_for_whoever_had_it(servers: Servers):
    name = new_name()
    volume = f"portal-ai-workspace-{name}"
    with new_browser(servers.portal) as owner, new_browser(servers.portal) as other:
        keep(servers, owner, name)
        before = servers.emulator.left()

        # Everybody else is told at once, by every way in, and of nobody.
        told = check(other, name)
        assert (told["valid"], told["available"], told["code"], told["filesKept"]) == (True, False, "name_kept", False)
        assert "still there" in told["message"]
        assert told["suggestions"]
        assert "browser" not in str(told)
        assert plan(other, name)[1] == ["name_kept"]
        for headers in ({}, OPERATOR):
            refused = servers.portal.client.post("/api/deploy", json={"name": name}, headers=headers)
            assert_problem(refused, 409, "name_kept")
            assert refused.json()["whoCanMend"] == "user"
            assert refused.json()["suggestions"]
        form = Page(other.post("/deploy", data={"name": name}))
        assert form.status == 409
        assert "still there" in form.words
        assert_nothing_inline(form)
        assert servers.emulator.left() == before

        # He himself is told that they are there, and gets them.
        told = check(owner, name)
        assert (told["available"], told["code"], told["filesKept"]) == (True, None, True)
        assert "Your files from before are there" in told["message"]
        assert plan(owner, name) == (["plain_http", "files_kept"], [])
        assert "were kept, and are used again" in Page(owner.get(f"/?name={name}&plan=1")).words
        record = deploy(servers, owner, name)
        assert record["conclusion"] == "succeeded"
        assert "files_kept" in record["plan"]["warnings"]
        assert {"code": "files_kept"} in [each["params"] for each in servers.portal.events(record["id"])]
        assert volumes(servers).count(volume) == 1
        assert check(other, name)["code"] == "name_taken"


def test_the_manage_key_of_the_stack_that_is_gone_takes_its_files_up(servers: Servers):
    client = servers.portal.client
    accepted = servers.portal.deploy(new_name())
    name, key = accepted["stackName"], key_of(accepted)
    servers.portal.wait(accepted["deploymentId"])
    assert client.delete(f"/api/stack/{name}", params={"volume": "keep"}, headers=key).json()["removed"]

    assert (check(client, name)["code"], check(client, name, **key)["filesKept"]) == ("name_kept", True)
    assert plan(client, name, **key)[1] == []
    with new_browser(servers.portal) as browser:
        browser.headers["accept"] = "application/json"
        again = browser.post("/api/deploy", json={"name": name}, headers=key)
    assert again.status_code == 202
    record = servers.portal.wait(again.json()["deploymentId"])
    assert (record["conclusion"], record["problem"]) == ("succeeded", None)
    assert volumes(servers).count(f"portal-ai-workspace-{name}") == 1
    assert_problem(client.get(f"/api/stack/{name}", headers=key), 404, "stack_not_found")
    assert client.get(f"/api/stack/{name}", headers=key_of(again.json())).status_code == 200


def test_names_that_are_kept_are_not_suggested(servers: Servers):
    name = new_name()
    with new_browser(servers.portal) as owner, new_browser(servers.portal) as other:
        keep(servers, owner, f"{name}-2")
        deploy(servers, owner, name)

        assert f"{name}-2" not in check(other, name)["suggestions"]


# Erasing


def test_kept_files_are_erased_later_and_then_the_name_is_anybody_s(servers: Servers):
    name = new_name()
    volume = f"portal-ai-workspace-{name}"
    with new_browser(servers.portal) as owner, new_browser(servers.portal) as other:
        removal = keep(servers, owner, name)
        listed = owner.get("/api/kept-files").json()["items"]
        assert [(each["name"], each["volume"]) for each in listed] == [(name, volume)]
        assert other.get("/api/kept-files").json()["items"] == []
        page = Page(owner.get("/stacks"))
        assert page.all("a", href=f"/stacks/{name}/erase")
        assert page.all("a", href=f"/?name={name}")
        assert "Removed, files kept" in page.words
        assert "Removed completely" not in page.words
        assert "Kept files" not in Page(other.get("/stacks")).words
        assert Page(other.get("/stacks", headers=OPERATOR)).all("a", href=f"/stacks/{name}/erase")
        for browser, offered in ((owner, 1), (other, 0)):
            page = Page(browser.get(removal))
            assert "Its files are kept, and so is the name." in page.words
            assert ("You can use or erase them." in page.words) == bool(offered)
            assert ("Whoever had the stack can use or erase them." in page.words) != bool(offered)
            assert "The name is free again." not in page.words
            assert len(page.all("a", href=f"/stacks/{name}/erase")) == offered
        for method in ("GET", "POST"):
            assert other.request(method, f"/stacks/{name}/erase").status_code == 404
        assert_problem(other.delete(f"/api/stack/{name}", params={"volume": "erase"}), 404, "stack_not_found")
        assert owner.post(f"/stacks/{name}/erase", headers={"sec-fetch-site": "cross-site"}).status_code == 403
        question = Page(owner.get(f"/stacks/{name}/erase"))
        assert f"Erase the files of {name}?" in question.words
        assert_nothing_inline(question)
        assert volumes(servers).count(volume) == 1

        erasing = submit(owner, f"/stacks/{name}/erase")

        record = servers.portal.wait(id_of(erasing))
        assert (record["kind"], record["conclusion"], record["actor"]["id"]) == ("remove", "succeeded", "browser")
        (step,) = (each for each in record["steps"] if each["name"] == "volume")
        assert step["seen"] == {"volumeListed": False}
        assert "removed, and seen to be gone" in Page(owner.get(f"{erasing}/record")).words
        assert volume not in volumes(servers)
        over = Page(owner.get(erasing))
        assert f"The files of {name} are erased" in over.words
        assert f"The volume {volume}" in over.words
        assert "with its settings and password" not in over.words, "which had gone before"
        assert owner.get("/api/kept-files").json()["items"] == []
        assert "are kept" not in Page(owner.get(removal)).words
        assert owner.get(f"/stacks/{name}/erase").status_code == 404
        assert check(other, name)["available"]
        assert deploy(servers, other, name)["conclusion"] == "succeeded"


@pytest.mark.parametrize("who", ["key", "operator"])
def test_by_the_api(servers: Servers, who: str):
    client = servers.portal.client
    accepted = servers.portal.deploy(new_name())
    path = f"/api/stack/{accepted['stackName']}"
    headers = key_of(accepted) if who == "key" else OPERATOR
    servers.portal.wait(accepted["deploymentId"])
    assert client.delete(path, params={"volume": "keep"}, headers=headers).status_code == 200

    # What somebody chose to keep is not lost to what a request leaves out, nor to a second try of the same.
    for params in ({}, {"volume": "keep"}):
        assert_problem(client.delete(path, params=params, headers=headers), 404, "stack_not_found")
    for strange in ({}, WRONG):
        assert_problem(client.delete(path, params={"volume": "erase"}, headers=strange), 404, "stack_not_found")
    assert volumes(servers).count(f"portal-ai-workspace-{accepted['stackName']}") == 1
    assert [each["name"] for each in client.get("/api/kept-files", headers=headers).json()["items"]].count(
        accepted["stackName"]
    ) == 1

    erased = client.delete(path, params={"volume": "erase"}, headers=headers)

    assert (erased.status_code, erased.json()["removed"], "volume" in erased.json()["resources"]) == (200, True, True)
    assert f"portal-ai-workspace-{accepted['stackName']}" not in volumes(servers)
    assert_problem(client.delete(path, params={"volume": "erase"}, headers=headers), 404, "stack_not_found")


@pytest.mark.parametrize(("fault", "code"), [("volume_in_use", "still_in_use"), ("keep_volume", "volume_stays")])
def test_nobody_has_the_name_before_the_files_were_seen_to_be_gone(
    start_portal: Callable[..., PortalServer], emulator: Any, fault: str, code: str
):
    servers = Servers(start_portal(undo_timeout_seconds=0.5, leftovers_retry_seconds=3600), emulator)
    with new_browser(servers.portal) as owner, new_browser(servers.portal) as other:
        keep(servers, owner, "ada")
        emulator.fault(fault, times=-1)
        refused = owner.delete("/api/stack/ada", params={"volume": "erase"}, headers={"accept": "application/json"})
        assert_problem(refused, 502, "removal_incomplete")
        assert refused.json()["leftovers"] == [{"kind": "volume", "name": "portal-ai-workspace-ada"}]
        record = servers.portal.record(id_of(refused.json()["statusUrl"]))
        assert record["problem"]["code"] == code
        for browser in (owner, other):
            assert check(browser, "ada")["code"] == "name_cleaning_up"
        (left,) = servers.portal.client.get("/api/leftovers", headers=OPERATOR).json()["items"]
        assert (left["stack"], left["kind"], left["code"]) == ("ada", "volume", code)

        emulator.clear_faults()
        assert owner.delete("/api/stack/ada", params={"volume": "erase"}).json()["removed"]
        assert emulator.left() == {}
        assert deploy(servers, other, "ada")["conclusion"] == "succeeded"


def test_a_volume_that_dokploy_only_says_it_removed_is_not_taken_for_gone(servers: Servers):
    name = new_name()
    with new_browser(servers.portal) as owner:
        deploy(servers, owner, name)
        servers.emulator.fault("keep_volume", times=2)

        removed = owner.delete(f"/api/stack/{name}")

        assert removed.json()["removed"]
        assert f"portal-ai-workspace-{name}" not in volumes(servers)


# In the store: what is decided when two ask at once


ADA, BOB = requester("browser:ada"), requester("browser:bob")
NAME, VOLUME = "shared", "portal-ai-workspace-shared"


async def live_and_keep(store: Store, requester: Requester, state: ResourceState = ResourceState.KEPT) -> None:
    await store.deploy(NAME, requester=requester)
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", state)]))
    await store.conclude(run, frees_name=True)


async def opened(url: str) -> Store:
    store = Store(url)
    await migrate(store.database)
    return store


async def kept_by(store: Store) -> list[str]:
    return [each.owner for each in (await store.records.kept_files(EVERYBODY, PageRequest())).items]


async def code_of(refused: Any) -> str:
    with pytest.raises(PortalError) as error:
        await refused
    return error.value.code


@pytest.mark.anyio
async def test_of_several_in_turn_the_last_one_says_what_is_kept(any_database_url: str):
    store = await opened(any_database_url)
    template = built_in_template(store.settings)
    await live_and_keep(store, ADA)
    (kept,) = await store.records.kept_under(NAME)
    assert (kept.name, kept.volume, kept.owner) == (NAME, VOLUME, ADA.owner)
    assert await store.records.kept_under("another") == []
    assert (await store.names.look(NAME, template, ADA)).files_kept
    assert await code_of(store.deploy(NAME, requester=BOB)) == "name_kept"
    assert (
        await code_of(store.deploy(NAME, requester=replace(requester(""), key_hash=fingerprint("wrong"))))
        == "name_kept"
    )
    assert await store.count(schema.stack) == 1, "nothing of what was refused is there"

    # Taken up again they are no longer listed, and cannot be erased from under the stack that uses them.
    await store.deploy(NAME, requester=ADA)
    assert await kept_by(store) == []
    assert await code_of(store.operations.erase(kept, ADA)) == "name_taken"
    run = await store.claim_one()
    assert "files_kept" in run.plan["warnings"]
    await store.conclude(run, frees_name=True)
    assert await kept_by(store) == [ADA.owner], "it came to an end before it had a volume"
    await live_and_keep(store, ADA, ResourceState.REMOVED)
    assert await kept_by(store) == []
    assert await code_of(store.operations.erase(kept, ADA)) == "stack_not_found"
    await live_and_keep(store, BOB)
    assert await kept_by(store) == [BOB.owner]
    await store.database.close()


@pytest.mark.anyio
async def test_whoever_has_the_key_takes_them_up_for_their_owner(any_database_url: str):
    store = await opened(any_database_url)
    accepted = await store.deploy(NAME, requester=requester(""))
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", ResourceState.KEPT)]))
    await store.conclude(run, frees_name=True)
    (kept,) = (await store.records.kept_files(EVERYBODY, PageRequest())).items

    await store.deploy(NAME, requester=replace(BOB, key_hash=fingerprint(accepted.manage_key)))

    stack = await store.records.find_stack(NAME)
    assert stack is not None
    assert stack.owner == kept.owner == f"key:{run.stack_id}"
    assert await store.records.is_kept_volume(VOLUME, stack.owner), "so that its run may use it"
    await store.database.close()


@pytest.mark.anyio
async def test_files_are_erased_once_whatever_is_asked_at_the_same_time(any_database_url: str):
    """Whatever comes first: erased once, or taken up, or refused; and never two that hold the name."""
    store, peer = await opened(any_database_url), Store(any_database_url)
    for _ in range(6):
        await live_and_keep(store, ADA)
        (kept,) = (await store.records.kept_files(EVERYBODY, PageRequest())).items
        asked = [
            store.operations.erase(kept, ADA),
            peer.operations.erase(kept, ADA),
            store.deploy(NAME, requester=BOB),
            peer.deploy(NAME, requester=ADA),
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        codes = [each.code if isinstance(each, PortalError) else "" for each in answers]
        assert codes[2] in {"name_kept", "name_cleaning_up", "name_taken"}
        run = await store.claim_one()
        if run.operation.kind == "remove":
            assert answers[0] == answers[1] == run.id
            assert codes[3] == "name_cleaning_up"
        else:
            assert codes[3] == ""
            assert set(codes[:2]) <= {"name_taken", "name_cleaning_up", "stack_not_found"}
        gone = Checkpoint(resources=[ResourceChange("volume", ResourceState.REMOVED)])
        await store.journal.record(run, gone)
        await store.conclude(run, Conclusion.SUCCEEDED, frees_name=True)
        assert (await store.records.kept_files(EVERYBODY, PageRequest())).items == []
    for each in (store, peer):
        await each.database.close()


@pytest.mark.anyio
async def test_a_stack_that_is_being_asked_for_sees_a_removal_end_in_between(any_database_url: str):
    """The name is free because a removal has just ended; that it kept the files is seen all the same."""
    store, peer = await opened(any_database_url), Store(any_database_url)
    await store.deploy(NAME, requester=ADA)
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", ResourceState.KEPT)]))

    async def insist() -> str:
        while True:
            try:
                await peer.deploy(NAME, requester=BOB)
            except PortalError as error:
                if error.code not in {"name_taken", "name_cleaning_up"}:
                    return error.code
                await asyncio.sleep(0)

    insisting = [asyncio.create_task(insist()) for _ in range(4)]
    await store.conclude(run, frees_name=True)

    assert set(await asyncio.gather(*insisting)) == {"name_kept"}
    for each in (store, peer):
        await each.database.close()
