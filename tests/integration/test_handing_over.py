"""Handing over, and what comes at the same time: who had a stack changes it no more, and one code has one taker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.audit import PORTAL, Role
from app.deployments.model import DeploymentRecord
from app.deployments.states import ResourceState
from app.engine.saga import Checkpoint, ResourceChange
from app.errors import PortalError
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.operations.service import Accepted
from app.stacks.model import StackRecord
from app.stacks.quotas import Quotas
from app.stacks.requester import Requester
from app.stacks.transfer import TakenOver, Transfers
from app.stacks.volumes import KeptFiles
from app.store import schema
from app.store.migrations import migrate
from tests.integration.test_account_api import browser, ready
from tests.integration.test_store import Store, refused
from tests.servers import PortalServer, requester
from tests.waiting import WAIT_SECONDS

ADA, BOB = requester("browser:ada"), requester("browser:bob")
OPERATOR = replace(ADA, actor=replace(ADA.actor, role=Role.OPERATOR))


class Giving(Store):
    """A process's view of the store, with stacks to give away."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.transfers = Transfers(self.database, Quotas())

    async def running(self, name: str = "ada") -> Accepted:
        """Deploy a stack of Ada's that is there."""
        accepted = await self.deploy(name)
        await self.conclude(await self.claim_one())
        return accepted

    async def stack(self, name: str = "ada") -> StackRecord:
        found = await self.records.find_stack(name)
        assert found
        return found

    async def deployment(self, accepted: Accepted) -> DeploymentRecord:
        found = await self.records.deployment(accepted.deployment_id)
        assert found
        return found

    async def take(self, code: str, requester: Requester = BOB) -> TakenOver:
        return await self.transfers.take(code, requester)

    async def take_or_not(self, code: str) -> str:
        """Take a stack over; the new key, or "" where that was refused as it should be."""
        try:
            return (await self.take(code)).manage_key
        except PortalError as error:
            if error.code != "offer_invalid":
                raise
            return ""


@pytest.fixture
async def open_giving() -> AsyncIterator[Callable[[str], Awaitable[Giving]]]:
    opened: list[Giving] = []

    async def another(url: str) -> Giving:
        opened.append(Giving(url))
        await migrate(opened[-1].database)
        return opened[-1]

    yield another
    for each in opened:
        await each.database.close()


@pytest.fixture
async def store(open_giving: Callable[[str], Awaitable[Giving]], any_database_url: str) -> Giving:
    return await open_giving(any_database_url)


@pytest.fixture
async def peer(store: Giving, open_giving: Callable[[str], Awaitable[Giving]], any_database_url: str) -> Giving:
    """Another process on the same store."""
    return await open_giving(any_database_url)


# Let in, then handed over, then done

Change = Callable[[Giving, StackRecord, Requester], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "remove": lambda store, stack, requester: store.operations.remove(stack, "erase", requester),
    "redeploy": lambda store, stack, requester: store.operations.change(REDEPLOY, stack, requester),
    "password": lambda store, stack, requester: store.operations.change(PASSWORD, stack, requester),
    "offer": lambda store, stack, requester: store.transfers.offer(stack, requester),
}


@pytest.mark.anyio
@pytest.mark.parametrize("what", CHANGES)
async def test_who_was_let_in_before_a_stack_was_handed_over_changes_it_no_more(store: Giving, what: str):
    key = (await store.running()).manage_key
    authorised = await store.stack()
    await store.take(key)
    before = await store.everything()

    await refused(CHANGES[what](store, authorised, ADA), "stack_not_found")

    assert await store.everything() == before
    assert await store.count(schema.offer) == 0
    await CHANGES[what](store, await store.stack(), BOB)


@pytest.mark.anyio
@pytest.mark.parametrize("what", CHANGES)
async def test_whoever_changes_everybodys_stacks_still_does(store: Giving, what: str):
    key = (await store.running()).manage_key
    authorised = await store.stack()
    await store.take(key)

    assert await CHANGES[what](store, authorised, OPERATOR)


@pytest.mark.anyio
async def test_the_portal_goes_on_removing_what_was_handed_over(store: Giving):
    key = (await store.running()).manage_key
    authorised = await store.stack()
    await store.take(key)

    assert await store.operations.remove(authorised, None, Requester(authorised.owner, PORTAL, "portal"))


@pytest.mark.anyio
async def test_a_change_of_the_key_alone_counts_as_well(store: Giving):
    """By the key a stack goes into another browser of one's own, and who has the old key is out."""
    key = (await store.running()).manage_key
    authorised = await store.stack()
    await store.take(key, ADA)

    await refused(store.operations.remove(authorised, "erase", ADA), "stack_not_found")


@pytest.mark.anyio
async def test_nobody_cancels_what_was_handed_over(store: Giving):
    accepted = await store.deploy()
    run = await store.claim_one()
    authorised, stack = await store.deployment(accepted), await store.stack()
    await store.take(accepted.manage_key)

    await refused(store.operations.cancel(authorised, ADA.actor), "stack_not_found")
    # A removal during a creation is a cancellation.
    await refused(store.operations.remove(stack, "erase", ADA), "stack_not_found")

    assert await store.leases.cancellations(run.worker) == []
    assert await store.operations.cancel(authorised, OPERATOR.actor)
    assert await store.cancel(accepted, BOB)


@pytest.mark.anyio
async def test_nobody_is_told_of_the_removal_of_what_was_handed_over(store: Giving):
    key = (await store.running()).manage_key
    authorised = await store.stack()
    await store.take(key)
    removal = await store.operations.remove(await store.stack(), "erase", BOB)

    await refused(store.operations.remove(authorised, "erase", ADA), "stack_not_found")

    assert await store.operations.remove(authorised, "erase", OPERATOR) == removal


async def keep_files(store: Giving, run: Any) -> KeptFiles:
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", ResourceState.KEPT)]))
    await store.conclude(run, frees_name=True)
    (kept,) = await store.records.kept_under("ada")
    return kept


@pytest.mark.anyio
async def test_nobody_erases_the_files_of_what_was_handed_over(store: Giving):
    accepted = await store.deploy()
    authorised = await keep_files(store, await store.claim_one())
    # While it is erased it holds its name, so that it can be taken over; where that fails, the files are kept on.
    erasing = await store.operations.erase(authorised, ADA)
    await store.take(accepted.manage_key)
    await refused(store.operations.erase(authorised, ADA), "stack_not_found")
    assert await store.operations.erase(authorised, OPERATOR) == erasing
    kept = await keep_files(store, await store.claim_one())

    await refused(store.operations.erase(replace(kept, owner=ADA.owner), ADA), "stack_not_found")

    assert kept.owner == BOB.owner
    assert await store.operations.erase(kept, BOB)


def answer_of(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def test_a_body_that_is_held_back_comes_too_late(portal: PortalServer):
    """The portal asks for the body (100) once it has let the head in."""
    with browser(portal) as ada, browser(portal) as bob:
        name = ready(portal, ada)
        cookie = f"asd_browser={ada.cookies['asd_browser']}"
        code = ada.post(f"/api/stack/{name}/offer").json()["code"]
        body = b"volume=erase"
        head = (
            f"POST /stacks/{name}/delete HTTP/1.1\r\nHost: {urlsplit(portal.url).netloc}\r\nCookie: {cookie}\r\n"
            f"Origin: {portal.url}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        address = urlsplit(portal.url)
        with closing(socket.create_connection((address.hostname, address.port), timeout=WAIT_SECONDS)) as client:
            client.sendall(head.encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
            assert bob.post("/api/take-over", json={"code": code}).status_code == 200
            client.sendall(body)
            answer = answer_of(client)

        assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
        assert bob.get(f"/api/stack/{name}").json()["state"] == "running"


# One code, one taker


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["code", "manage key"])
async def test_of_many_at_once_one_has_the_stack(store: Giving, peer: Giving, by: str):
    """Without any limit set, so that nothing else makes them take turns."""
    accepted = await store.running()
    code = accepted.manage_key
    for _ in range(15):
        if by == "code":
            code = (await store.transfers.offer(await store.stack(), OPERATOR)).code

        keys = await asyncio.gather(*(each.take_or_not(code) for each in [store, peer] * 5))

        (key,) = filter(None, keys)
        code = key
    assert await store.take_or_not(code), "the last key is the stack's"


@pytest.mark.anyio
async def test_a_code_and_a_key_at_once_make_one_owner(store: Giving, peer: Giving):
    key = (await store.running()).manage_key
    for _ in range(10):
        code = (await store.transfers.offer(await store.stack(), OPERATOR)).code
        (key,) = filter(None, await asyncio.gather(store.take_or_not(code), peer.take_or_not(key)))
    assert await store.count(schema.offer) == 0


@pytest.mark.anyio
async def test_codes_that_are_made_at_once_leave_one_that_counts(store: Giving, peer: Giving):
    await store.running()
    stack = await store.stack()
    for _ in range(5):
        made = await asyncio.gather(*(each.transfers.offer(stack, ADA) for each in [store, peer] * 5))
        assert len({offer.code for offer in made}) == 10
        assert await store.count(schema.offer) == 1

    assert len([each for each in made if await store.take_or_not(each.code)]) == 1


@pytest.mark.anyio
async def test_a_code_that_is_made_while_the_stack_is_taken_over_gives_nobody_a_way_back(store: Giving, peer: Giving):
    key = (await store.running()).manage_key
    for _ in range(10):
        stack = await store.stack()
        asked = requester(stack.owner)
        made, taken = await asyncio.gather(store.transfers.offer(stack, asked), peer.take(key), return_exceptions=True)
        assert isinstance(taken, TakenOver)
        key = taken.manage_key
        assert await store.count(schema.offer) == 0
        assert not isinstance(made, PortalError) or made.code == "stack_not_found"
        assert not isinstance(made, BaseException) or isinstance(made, PortalError)
