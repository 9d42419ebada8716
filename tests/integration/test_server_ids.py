"""The Dokploy server that a stack is on: on record from its creation, and left to a portal that knows that server."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import select, update

from app.dokploy import DokployClient
from app.errors import PortalError
from app.observation.drift import Drift
from app.store import schema
from tests.integration.test_store import LONG_LEASE, Store
from tests.servers import TOKEN, Emulator, PortalServer, requester

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def put_on(store: Store, name: str, server_id: str) -> None:
    """Put a stack on a server, as a portal that knows several would."""
    change = update(schema.stack).where(schema.stack.c.name == name).values(server_id=server_id)
    await store.database.write(lambda connection: connection.execute(change))


async def test_a_new_stack_and_its_resources_are_on_the_first_server(store: Store):
    await store.deploy("ada")

    stack = await store.records.find_stack("ada")
    (view,) = [each async for each in store.records.every_stack()]
    rows = await store.database.read(lambda connection: connection.execute(select(schema.resource)).all())
    run = await store.claim_one()

    assert stack is not None
    assert {stack.server_id, view.stack.server_id, run.server_id, *(row.server_id for row in rows)} == {"main"}


async def test_what_is_on_another_server_is_left_to_a_portal_that_knows_it(store: Store):
    await store.deploy("ada")
    theirs = await store.deploy("bob")
    await put_on(store, "bob", "eu-2")

    run = await store.claim_one()
    worker = await store.leases.register(LONG_LEASE, alone=False)

    assert run.name == "ada"
    assert await store.leases.claim(worker, 10) == []
    record = await store.records.deployment(theirs.deployment_id)
    assert record is not None
    assert record.started_at is None
    await put_on(store, "bob", "main")
    assert [each.name for each in await store.leases.claim(worker, 10)] == ["bob"]


async def test_a_name_is_held_on_all_servers(store: Store):
    await store.deploy("ada")
    await put_on(store, "ada", "eu-2")

    with pytest.raises(PortalError, match="name_taken"):
        await store.deploy("ada", requester("browser:bob"))


async def test_reconcile_compares_what_is_on_the_server_that_it_asks(
    start_portal: Callable[..., PortalServer], emulator: Emulator, any_database_url: str
):
    portal = start_portal(database_url=any_database_url)
    for name in ("ada", "bob"):
        assert portal.wait(portal.deploy(name)["deploymentId"])["conclusion"] == "succeeded"
    portal.stop()
    (theirs,) = (row for row in emulator.state()["applications"] if row["name"] == "bob")
    marker = theirs["description"].split(":")
    marker.insert(2, "eu-2")
    store = Store(any_database_url)
    await put_on(store, "bob", "eu-2")

    async with DokployClient(emulator.url, TOKEN) as dokploy:
        drift = Drift(dokploy, store.records, marker[1])
        as_it_is = await drift.differences()
        emulator.call("application.update", applicationId=theirs["applicationId"], description=":".join(marker))
        marked = await drift.differences()
        elsewhere = await Drift(dokploy, store.records, marker[1], "eu-2").differences()
    await store.database.close()

    assert as_it_is == marked == [], "it is recorded on another server"
    assert [(each.code, each.stack) for each in elsewhere] == [("project_missing", "bob")]
