"""Quotas: however many ask at once, on either database and through several portals, the limit is never passed by one."""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import Connection, text, update

from app.audit import Role
from app.deployments.states import ResourceState, Status
from app.errors import PortalError
from app.operations.redeploy import REDEPLOY
from app.operations.service import Accepted, Operations
from app.security.vault import Vault, fingerprint
from app.stacks.model import StackRecord
from app.stacks.names import DeploymentRequest
from app.stacks.queries import Records
from app.stacks.quotas import Quotas, count_stacks
from app.stacks.requester import Requester
from app.stacks.templates import built_in_template
from app.store import schema
from app.store.engine import Database
from app.store.postgresql import CHANNEL
from tests.integration.test_pages import HTML, Page
from tests.servers import ADMIN_TOKEN, AMPLE_SECONDS, HERE, PortalServer, http_client, portal_settings, requester
from tests.waiting import until

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
ADA, BOB, PROGRAM = requester("browser:ada"), requester("browser:bob"), requester("")
KEY = "an-idempotency-key-1"


def as_operator(requester: Requester) -> Requester:
    return replace(requester, actor=replace(requester.actor, role=Role.OPERATOR))


# Through whole portals


@pytest.fixture
def portals(
    request: pytest.FixtureRequest, start_portal: Callable[..., PortalServer], any_database_url: str
) -> Sequence[PortalServer]:
    """One on SQLite, two on PostgreSQL; nothing is run, so that nothing makes room."""
    count = 1 if any_database_url.startswith("sqlite") else 2
    return [start_portal(database_url=any_database_url, runs=False, **request.param) for _ in range(count)]


def post_at_once(portals: Sequence[PortalServer], count: int = 100, **headers: str) -> list[httpx.Response]:
    def post(number: int) -> httpx.Response:
        url = f"{portals[number % len(portals)].url}/api/deploy"
        with http_client(timeout=AMPLE_SECONDS) as client:
            return client.post(url, json={"name": f"ada-{number}"}, headers=HERE | headers)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(post, range(count)))


def codes(answers: Sequence[httpx.Response]) -> Counter[str]:
    return Counter(answer.json().get("code", "accepted") for answer in answers)


@pytest.mark.parametrize("portals", [{"max_stacks": 7}], indirect=True)
def test_of_a_hundred_requests_at_once_as_many_are_taken_in_as_there_is_room(portals: Sequence[PortalServer]):
    answers = post_at_once(portals)

    assert codes(answers) == {"accepted": 7, "stacks_full": 93}
    assert len(portals[0].client.get("/api/stacks", headers=OPERATOR).json()["items"]) == 7
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "600"
    assert refused.headers["ratelimit-policy"] == '"stacks";q=7'
    assert refused.headers["ratelimit"] == '"stacks";r=0'
    assert refused.json()["whoCanMend"] == "operator"


@pytest.mark.parametrize("portals", [{"max_stacks_per_owner": 3}], indirect=True)
def test_of_a_browsers_requests_at_once_as_many_are_taken_in_as_one_may_have(portals: Sequence[PortalServer]):
    browser = portals[0].client
    browser.post("/deploy", data={"name": "first"}, headers={"sec-fetch-site": "same-origin"})

    answers = post_at_once(portals, cookie=f"asd_browser={browser.cookies['asd_browser']}")

    assert codes(answers) == {"accepted": 2, "stacks_of_owner": 98}


@pytest.mark.parametrize("portals", [{"max_in_flight": 4}], indirect=True)
def test_of_a_hundred_requests_at_once_as_many_are_under_way_as_may_be(portals: Sequence[PortalServer]):
    assert codes(post_at_once(portals)) == {"accepted": 4, "in_flight_full": 96}


@pytest.mark.parametrize("portals", [{"max_stacks_per_owner": 1}], indirect=True)
def test_the_form_and_the_preview_say_why_not(portals: Sequence[PortalServer]):
    browser = portals[-1].client
    same_site = {**HTML, "sec-fetch-site": "same-origin"}
    assert browser.post("/api/plan", json={"name": "ada"}).json()["blocked"] == []
    assert browser.post("/deploy", data={"name": "ada"}, headers=same_site).status_code == 303

    (blocked,) = browser.post("/api/plan", json={"name": "bob"}).json()["blocked"]
    page = Page(browser.get("/", params={"name": "bob", "plan": "1"}, headers=HTML))
    refused = browser.post("/deploy", data={"name": "bob"}, headers=same_site)

    assert blocked["code"] == "stacks_of_owner"
    assert "The number of your stacks is limited to 1." in page.words
    assert refused.status_code == 429
    assert "The number of your stacks is limited to 1." in Page(refused).words
    assert refused.headers["ratelimit-policy"] == '"stacks-of-owner";q=1'
    assert refused.headers["retry-after"] == "600"
    # The operator may have more.
    assert portals[0].client.post("/api/plan", json={"name": "bob"}, headers=OPERATOR).json()["blocked"] == []


# In the store alone


class Store:
    """One process's view of the store, with limits."""

    def __init__(self, url: str, quotas: Quotas) -> None:
        self.settings = portal_settings("http://dokploy:3000", url)
        self.database = Database(url)
        self.records = Records(self.database)
        vault = Vault(["a-key-that-is-only-for-tests"])
        self.operations = Operations(self.database, self.records, vault, self.settings, lambda _: None, quotas=quotas)

    async def deploy(self, name: str, requester: Requester = ADA, key: str | None = None) -> Accepted:
        template = built_in_template(self.settings)
        return await self.operations.create(DeploymentRequest(name), template, requester, idempotency_key=key)

    async def stack(self, name: str) -> StackRecord:
        found = await self.records.find_stack(name)
        assert found
        return found

    async def stacks(self) -> int:
        return await self.database.read(count_stacks)

    async def end_all(self) -> None:
        """End every deployment, as if it had succeeded."""
        await self.write(
            lambda connection: connection.execute(
                update(schema.deployment).values(status=Status.COMPLETED, conclusion="succeeded")
            )
        )

    async def let_go(self, name: str) -> None:
        """Free a stack's name."""
        await self.write(
            lambda connection: connection.execute(
                update(schema.stack).where(schema.stack.c.name == name).values(removed_at=datetime.now(UTC))
            )
        )

    async def keep_files(self, name: str) -> None:
        """End a stack, and keep its files."""
        stack = await self.stack(name)
        await self.write(
            lambda connection: connection.execute(
                update(schema.resource)
                .where(schema.resource.c.stack_id == stack.id, schema.resource.c.kind == "volume")
                .values(state=ResourceState.KEPT)
            )
        )
        await self.end_all()
        await self.let_go(name)

    async def write(self, work: Callable[[Connection], Any]) -> None:
        await self.database.write(work)


@pytest.fixture
async def open_store(any_database_url: str) -> AsyncIterator[Callable[..., Store]]:
    opened: list[Store] = []

    def another(**quotas: int) -> Store:
        opened.append(Store(any_database_url, Quotas(**quotas)))
        return opened[-1]

    yield another
    for store in opened:
        await store.database.close()


async def refused(call: Any, code: str) -> PortalError:
    with pytest.raises(PortalError) as error:
        await call
    assert error.value.code == code
    return error.value


@contextlib.asynccontextmanager
async def another_is_adding(store: Store) -> AsyncIterator[Callable[[], Any]]:
    """Another process is in the middle of taking in a stack; yields what ends that."""
    stack = (
        "INSERT INTO stack (id, name, owner, template, plan, manage_key_hash, secrets, created_at) "
        "VALUES ('01', 'other', 'browser:other', 'opencode', '{}', '', '', '2026-01-31T00:00:00+00:00')"
    )
    if store.database.is_sqlite:
        connection = sqlite3.connect(store.database.where, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(stack)
        yield lambda: asyncio.to_thread(connection.execute, "COMMIT")
        connection.close()
        return
    other = await asyncpg.connect(store.database.url.replace("+asyncpg", ""))
    await other.execute("BEGIN")
    await other.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"{CHANNEL}:quota")
    await other.execute(stack)
    yield lambda: other.execute("COMMIT")
    await other.close()


async def is_waiting(store: Store, task: asyncio.Task[Any]) -> None:
    """Wait until a transaction waits for its turn."""
    if store.database.is_sqlite:  # which tells nobody of it
        # Where a slow machine has not come to wait by then, it only finds the place taken already.
        assert not (await asyncio.wait([task], timeout=0.3))[0]
        return
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    await until(lambda: store.database.read(lambda connection: connection.scalar(query)))


@pytest.mark.anyio
async def test_who_comes_while_another_takes_the_last_place_waits_and_is_refused(open_store: Callable[..., Store]):
    store = open_store(stacks=1)

    async with another_is_adding(store) as commit:
        task = asyncio.create_task(store.deploy("ada"))
        await is_waiting(store, task)
        await commit()
        error = await refused(task, "stacks_full")

    assert error.params["limit"] == 1
    assert await store.stacks() == 1


@pytest.mark.anyio
async def test_a_replay_is_never_refused(open_store: Callable[..., Store]):
    one, other = open_store(stacks=1, in_flight=1), open_store(stacks=1, in_flight=1)

    # At once, so that some look for the first answer before it is there.
    answers = await asyncio.gather(*(each.deploy("ada", key=KEY) for each in [one, other] * 10))

    assert len({answer.deployment_id for answer in answers}) == 1
    await refused(one.deploy("bob"), "stacks_full")
    assert await other.deploy("ada", key=KEY) == answers[0]


@pytest.mark.anyio
async def test_a_name_that_is_taken_is_the_better_reason(open_store: Callable[..., Store]):
    store = open_store(stacks=1)
    await store.deploy("ada")

    await refused(store.deploy("ada", BOB), "name_taken")


@pytest.mark.anyio
async def test_a_stack_counts_while_it_holds_its_name(open_store: Callable[..., Store]):
    store = open_store(stacks=2)
    await store.deploy("ada")
    await store.deploy("bob")
    await store.end_all()
    await refused(store.deploy("cleo"), "stacks_full")

    await store.let_go("ada")

    await store.deploy("cleo")
    assert await store.stacks() == 2


@pytest.mark.anyio
async def test_nothing_is_left_of_what_was_refused(open_store: Callable[..., Store]):
    store = open_store(stacks=1)
    await store.deploy("ada")
    await refused(store.deploy("bob", key=KEY), "stacks_full")
    await store.let_go("ada")

    # With the same key: what was refused is no answer to repeat.
    assert (await store.deploy("bob", key=KEY)).name == "bob"


@pytest.mark.anyio
async def test_each_owner_has_limits_of_his_own(open_store: Callable[..., Store]):
    store = open_store(stacks_per_owner=1)
    await store.deploy("ada")
    await refused(store.deploy("ada-2"), "stacks_of_owner")

    await store.deploy("bob", BOB)
    # Programs without an identity are an owner each; the operator is held by none of these.
    for name in ("cleo", "dora"):
        await store.deploy(name, PROGRAM)
    await store.deploy("ada-2", as_operator(ADA))


@pytest.mark.anyio
async def test_files_taken_up_by_a_key_count_for_the_owner_who_gets_the_stack(open_store: Callable[..., Store]):
    store = open_store(stacks_per_owner=1, in_flight_per_owner=2)
    key = (await store.deploy("kept")).manage_key
    await store.keep_files("kept")
    with_key = replace(BOB, key_hash=fingerprint(key))
    await store.deploy("ada")
    await store.deploy("bob", BOB)

    await refused(store.deploy("kept", with_key), "stacks_of_owner")

    await store.let_go("ada")
    await store.deploy("kept", with_key)
    assert (await store.stack("kept")).owner == ADA.owner
    await refused(store.deploy("ada"), "stacks_of_owner")


@pytest.mark.anyio
async def test_the_operator_has_no_more_room_than_there_is(open_store: Callable[..., Store]):
    store = open_store(stacks=1)
    await store.deploy("ada")

    await refused(store.deploy("bob", as_operator(ADA)), "stacks_full")


@pytest.mark.anyio
async def test_deploying_again_counts_as_under_way_and_removing_does_not(open_store: Callable[..., Store]):
    store = open_store(in_flight=2, in_flight_per_owner=1)
    operator = as_operator(ADA)
    for name in ("ada", "ada-2"):
        await store.deploy(name, operator)
    await refused(store.deploy("bob", BOB), "in_flight_full")
    await store.end_all()
    await store.operations.remove(await store.stack("ada-2"), "erase", ADA)

    await store.operations.change(REDEPLOY, await store.stack("ada"), ADA)

    await refused(store.deploy("ada-3"), "in_flight_of_owner")
    await store.deploy("bob", BOB)
    await store.end_all()
    await store.deploy("cleo", BOB)
    await refused(store.operations.change(REDEPLOY, await store.stack("bob"), BOB), "in_flight_of_owner")
    await store.operations.change(REDEPLOY, await store.stack("bob"), as_operator(BOB))
    await refused(store.operations.change(REDEPLOY, await store.stack("ada"), operator), "in_flight_full")


@pytest.mark.anyio
async def test_the_operator_is_told_once_that_room_runs_out(
    open_store: Callable[..., Store], capfd: pytest.CaptureFixture[str]
):
    store = open_store(stacks=5)
    told: list[int] = []
    for name in ("ada", "bob", "cleo", "dora", "emil"):
        await store.deploy(name)
        told.append(capfd.readouterr().out.count("stacks_nearly_full"))

    assert told == [0, 0, 0, 1, 0]

    for name in ("ada", "bob"):
        await store.let_go(name)
    await store.deploy("ada")

    assert capfd.readouterr().out.count("stacks_nearly_full") == 1, "again, when it is crossed again"


@pytest.mark.parametrize(
    ("limit", "stacks", "near"),
    [(90, 71, False), (90, 72, True), (90, 90, True), (1, 0, False), (1, 1, True), (0, 9, False)],
)
def test_when_room_runs_out(limit: int, stacks: int, near: bool):
    assert Quotas(stacks=limit).is_near(stacks) is near
