"""A SECRET_KEY that changes: everything is encrypted anew beside writers, and another key is noticed at the start."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, insert, select, update

from app.bootstrap import open_portal
from app.cli.check import examine
from app.errors import SettingsError
from app.operations.service import Operations
from app.security.reencryption import Ages, Reencryption
from app.security.vault import Vault
from app.stacks.templates import StackSecrets
from app.store import schema
from app.store.engine import Database
from app.store.migrations import migrate
from tests.integration.test_store import Store
from tests.servers import Emulator, PortalServer, portal_settings

pytestmark = pytest.mark.anyio

T = TypeVar("T")
StartPortal = Callable[..., PortalServer]

OLD, NEW, OTHER = "the-old-key-of-this-test", "the-new-key-of-this-test", "some-other-key-of-this-test"


class Interleaved(Database):
    """A store in which somebody else writes right before each of our own writes, as long as there is something."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: list[Callable[[], Awaitable[None]]] = []

    async def write(self, work: Callable[[Connection], T]) -> T:
        if self.before:
            await self.before.pop(0)()
        return await super().write(work)


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    """A store that was written with the old key."""
    opened = Store(any_database_url)
    opened.vault = Vault([OLD])
    opened.operations = Operations(opened.database, opened.records, opened.vault, opened.settings, opened.woken.append)
    await migrate(opened.database)
    await opened.journal.installation_id()
    await Reencryption(opened.database, opened.vault).recognise()
    yield opened
    await opened.database.close()


@pytest.fixture
async def ours(any_database_url: str) -> AsyncIterator[Interleaved]:
    """Our own way into the same store."""
    database = Interleaved(any_database_url)
    yield database
    await database.close()


async def sealed(database: Database, column: Any) -> list[bytes]:
    query = select(column).order_by(*column.table.primary_key)
    return await database.read(lambda connection: [bytes(value) for value in connection.scalars(query)])


async def all_sealed(database: Database) -> list[bytes]:
    columns = (schema.stack.c.secrets, schema.idempotency.c.answer, schema.installation.c.seal)
    return [value for column in columns for value in await sealed(database, column)]


async def test_everything_is_encrypted_anew_and_reads_the_same(store: Store, ours: Interleaved):
    accepted = [await store.deploy(f"stack-{number}", key=f"a-key-of-16-letters-{number}") for number in range(3)]
    before = [store.vault.decrypt(value) for value in await all_sealed(store.database)]
    found = Reencryption(ours, Vault([NEW, OLD]))

    assert await found.count() == Ages(older=6)
    assert await found.run() == (6, Ages(newest=6))
    assert await found.run() == (0, Ages(newest=6)), "once more does no harm"

    after = [Vault([NEW]).decrypt(value) for value in await all_sealed(store.database)]
    assert after == before
    assert len(after) == 7
    assert json.loads(after[3])["manage_key"] in {each.manage_key for each in accepted}
    await Reencryption(ours, Vault([NEW])).recognise()
    with pytest.raises(SettingsError, match="SECRET_KEY lacks"):
        await Reencryption(ours, Vault([OLD])).recognise()


async def test_more_than_one_transaction_holds(store: Store, ours: Interleaved):
    accepted = await store.deploy()
    query = select(schema.idempotency)

    def fill(connection: Connection) -> None:
        connection.execute(
            insert(schema.idempotency),
            [
                {
                    "key_hash": f"{number:064}",
                    "body_hash": "x",
                    "deployment_id": accepted.deployment_id,
                    "answer": store.vault.encrypt(str(number)),
                    "created_at": datetime.now(UTC),
                }
                for number in range(250)
            ],
        )

    await store.database.write(fill)

    assert await Reencryption(ours, Vault([NEW, OLD])).run() == (251, Ages(newest=251))
    rows = await store.database.read(lambda connection: connection.execute(query).all())
    assert {row.key_hash: Vault([NEW]).decrypt(row.answer) for row in rows} == {
        f"{number:064}": str(number) for number in range(250)
    }


@pytest.mark.parametrize("key", [NEW, OLD], ids=["with the new key", "with the old key"])
async def test_what_somebody_writes_meanwhile_is_not_lost(store: Store, ours: Interleaved, key: str):
    """Between our reading and our writing a stack gets another password, of a process with either key in front."""
    for name in ("ada", "bob"):
        await store.deploy(name)
    theirs = StackSecrets("the-newer-password", {}).encrypt(Vault([key]))

    async def change() -> None:
        named = update(schema.stack).where(schema.stack.c.name == "ada")
        await store.database.write(lambda connection: connection.execute(named.values(secrets=theirs)))

    ours.before.append(change)

    renewed, ages = await Reencryption(ours, Vault([NEW, OLD])).run()

    assert ages == Ages(newest=2)
    assert renewed == (1 if key == NEW else 2)
    query = select(schema.stack.c.secrets).where(schema.stack.c.name == "ada")
    secrets = await store.database.read(lambda connection: bytes(connection.scalars(query).one()))
    assert StackSecrets.decrypt(secrets, Vault([NEW])).password == "the-newer-password"
    assert ours.before == []


async def test_beside_a_process_that_goes_on_with_the_old_key_it_ends_and_says_so(store: Store, ours: Interleaved):
    await store.deploy()

    async def change() -> None:
        theirs = StackSecrets("their-password", {}).encrypt(store.vault)
        await store.database.write(lambda connection: connection.execute(update(schema.stack).values(secrets=theirs)))

    ours.before += [change] * 20

    assert await Reencryption(ours, Vault([NEW, OLD])).run() == (0, Ages(older=1))
    await Reencryption(ours, store.vault).recognise()


async def test_what_no_key_reads_is_told_and_left_and_the_seal_stays(store: Store, ours: Interleaved):
    for name in ("ada", "bob"):
        await store.deploy(name)
    foreign = Vault([OTHER]).encrypt("x")
    named = update(schema.stack).where(schema.stack.c.name == "ada")
    await store.database.write(lambda connection: connection.execute(named.values(secrets=foreign)))

    assert await Reencryption(ours, Vault([NEW, OLD])).run() == (1, Ages(newest=1, unreadable=1))
    assert foreign in await sealed(store.database, schema.stack.c.secrets)
    Vault([OLD]).decrypt((await sealed(store.database, schema.installation.c.seal))[0])

    gone = update(schema.stack).values(removed_at=datetime.now(UTC))
    await store.database.write(lambda connection: connection.execute(gone))
    assert await Reencryption(ours, Vault([NEW, OLD])).run() == (0, Ages(newest=1)), "nobody needs it any more"


async def test_what_was_erased_with_its_stack_is_passed_over(store: Store, ours: Interleaved):
    """Also by a store from before there was a seal, whose newest stack may be one of which only files are left."""
    for name in ("ada", "bob"):
        await store.deploy(name)
    named = update(schema.stack).where(schema.stack.c.name == "bob")
    unseal = update(schema.installation).values(seal=None)

    def erase(connection: Connection) -> None:
        connection.execute(named.values(secrets=b"", next_secrets=None))
        connection.execute(unseal)

    await store.database.write(erase)

    await Reencryption(ours, store.vault).recognise()
    assert await Reencryption(ours, Vault([NEW, OLD])).count() == Ages(older=1)
    assert await Reencryption(ours, Vault([NEW, OLD])).run() == (1, Ages(newest=1))
    assert b"" in await sealed(store.database, schema.stack.c.secrets)


async def test_of_two_that_start_at_once_with_different_keys_one_is_refused(any_database_url: str, store: Store):
    unseal = update(schema.installation).values(seal=None)
    await store.database.write(lambda connection: connection.execute(unseal))
    databases = [Interleaved(any_database_url) for _ in range(2)]
    looked = asyncio.Barrier(2)

    async def both_have_looked() -> None:
        await looked.wait()

    for database in databases:
        database.before.append(both_have_looked)

    ended = await asyncio.gather(
        *(Reencryption(each, Vault([key])).recognise() for each, key in zip(databases, (OLD, NEW), strict=True)),
        return_exceptions=True,
    )
    for database in databases:
        await database.close()

    assert sorted(type(end).__name__ for end in ended) == ["NoneType", "SettingsError"]


async def test_a_store_from_before_there_was_a_seal_is_known_by_its_newest_stack(store: Store, ours: Interleaved):
    await store.deploy()
    unseal = update(schema.installation).values(seal=None)
    await store.database.write(lambda connection: connection.execute(unseal))

    with pytest.raises(SettingsError, match="SECRET_KEY lacks"):
        await Reencryption(ours, Vault([NEW])).recognise()
    assert await ours.read(lambda connection: connection.scalar(select(schema.installation.c.seal))) is None


@pytest.mark.parametrize("used", [False, True], ids=["an empty store", "a store with a stack"])
async def test_a_portal_with_another_key_does_not_start(
    any_database_url: str, emulator: Emulator, start_portal: StartPortal, used: bool
):
    """A second replica, or the same portal after a mistake; the first one goes on."""
    first = start_portal(database_url=any_database_url, secret_key=OLD)
    if used:
        await asyncio.to_thread(lambda: first.wait(first.deploy("ada")["deploymentId"]))

    settings = portal_settings(emulator.url, any_database_url, secret_key=NEW)
    with pytest.raises(SettingsError) as refused:
        async with open_portal(settings, runs=False):
            pass

    assert str(refused.value) == (
        "SECRET_KEY lacks the key that the store's secrets were encrypted with; "
        "put it back behind the new one, as in SECRET_KEY=new,old"
    )
    assert (await asyncio.to_thread(first.client.get, "/ready")).status_code == 200
    async with open_portal(portal_settings(emulator.url, any_database_url, secret_key=f"{OLD},{NEW}"), runs=False):
        pass


async def test_a_key_that_is_lost_is_given_up_and_its_stacks_can_be_removed(
    any_database_url: str, emulator: Emulator, start_portal: StartPortal
):
    before = start_portal(database_url=any_database_url, secret_key=OLD)
    key = await asyncio.to_thread(lambda: before.deploy("ada"))
    await asyncio.to_thread(before.wait, key["deploymentId"])
    await asyncio.to_thread(before.stop)
    database = Database(any_database_url)
    found = Reencryption(database, Vault([NEW]))

    assert await found.run() == (0, Ages(unreadable=1))
    with pytest.raises(SettingsError, match="SECRET_KEY lacks"):
        await found.recognise()
    assert await found.run(lost=True) == (0, Ages(unreadable=1))
    await database.close()

    after = await asyncio.to_thread(lambda: start_portal(database_url=any_database_url, secret_key=NEW))
    headers = {"authorization": f"Bearer {key['manageKey']}"}
    answer = await asyncio.to_thread(lambda: after.client.delete("/api/stack/ada", headers=headers))
    assert answer.json()["removed"]
    assert emulator.left() == {}


async def test_an_empty_store_has_nothing_to_encrypt_anew(any_database_url: str, emulator: Emulator):
    found = await examine(portal_settings(emulator.url, any_database_url, secret_key=NEW))

    assert {each.item: each.result for each in found}["secrets"] == "ok"
