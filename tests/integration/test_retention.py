"""Retention, on both databases: what is kept until its time is over, what is never deleted, and what a record then is."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Table, insert, select, update

from app.deployments.events import LogLine
from app.deployments.model import Left
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.engine.run import Run
from app.engine.saga import Checkpoint, ResourceChange, StepChange
from app.identity import Accounts, Claims
from app.ids import new_id
from app.observation.expired import Counts
from app.observation.leftovers import Leftovers
from app.observation.retention import Keep, Retention
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.stacks.model import EVERYBODY, StackRecord
from app.store import schema
from app.store.dialects import metadata
from app.store.paging import PageRequest
from tests.integration.test_store import ADA, KEY, Store
from tests.servers import requester

pytestmark = pytest.mark.anyio

DAYS: Final = timedelta(days=30)
SECOND: Final = timedelta(seconds=1)
EVERYTHING: Final = Keep(DAYS, DAYS, DAYS, DAYS, DAYS)
RECORD: Final = Keep(events=DAYS, deployments=DAYS)


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def sweep(store: Store, keep: Keep = EVERYTHING, *, at: datetime | None = None) -> Counts:
    done = await Retention(store.database, keep, may_act=lambda: True).sweep(at)
    return +done


async def rows(store: Store, table: Table) -> list[Any]:
    return await store.database.read(lambda connection: list(connection.execute(select(table)).all()))


async def change(store: Store, statement: Any) -> None:
    await store.database.write(lambda connection: connection.execute(statement).close())


async def stack_of(store: Store, name: str = "ada") -> StackRecord:
    found = await store.records.find_stack(name)
    assert found is not None
    return found


# Deployments that ended when the test says so


async def ended(store: Store, deployment_id: str, moment: datetime) -> str:
    table = schema.deployment
    values = {"created_at": moment - SECOND, "concluded_at": moment}
    await change(store, update(table).where(table.c.id == deployment_id).values(values))
    return deployment_id


async def create(store: Store, name: str, moment: datetime, *, key: str | None = None) -> str:
    """A stack that stands, and whose creation told of five things."""
    accepted = await store.deploy(name, key=key)
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(events=[LogLine(str(line)) for line in range(3)]))
    await store.conclude(run)
    return await ended(store, accepted.deployment_id, moment)


async def redeploy(
    store: Store,
    name: str,
    moment: datetime,
    conclusion: Conclusion = Conclusion.SUCCEEDED,
    *,
    operation: Any = REDEPLOY,
    app_name: str | None = None,
) -> str:
    """app_name: what Dokploy called the application in that deployment."""
    deployment_id = await store.operations.change(operation, await stack_of(store, name), ADA)
    run = await store.claim_one()
    if app_name is not None:
        named = StepChange(StepState.SUCCEEDED, {"app_name": app_name})
        await store.journal.record(run, Checkpoint(steps={"application": named}))
    await store.conclude(run, conclusion)
    return await ended(store, deployment_id, moment)


async def remove(store: Store, name: str, moment: datetime, volume: ResourceState = ResourceState.REMOVED) -> str:
    """Remove a stack; return its id."""
    stack = await stack_of(store, name)
    choice: Any = "keep" if volume is ResourceState.KEPT else "erase"
    deployment_id = await store.operations.remove(stack, choice, ADA)
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", volume)]))
    await store.conclude(run, frees_name=True)
    await ended(store, deployment_id, moment)
    await change(store, update(schema.stack).where(schema.stack.c.id == stack.id).values(removed_at=moment))
    return stack.id


# One second


def session(moment: datetime) -> dict[str, Any]:
    return {"id": new_id(), "hash": new_id(), "created_at": moment, "expires_at": moment}


def token(moment: datetime, **values: Any) -> dict[str, Any]:
    ids = {"id": new_id(), "hash": new_id(), "owner": "browser:ada", "name": "ci", "scopes": []}
    return {**ids, "created_at": moment, "expires_at": moment, **values}


def revoked(moment: datetime) -> dict[str, Any]:
    return token(moment, expires_at=datetime.now(UTC) + DAYS, revoked_at=moment)


def account(moment: datetime) -> dict[str, Any]:
    ids = {"id": new_id(), "issuer": "https://id.example", "subject": new_id(), "groups": []}
    return {**ids, "created_at": moment, "seen_at": moment}


def entry(moment: datetime) -> dict[str, Any]:
    said = {"actor": "operator", "role": "operator", "means": "session", "action": "deploy", "outcome": "done"}
    return {"id": new_id(), "at": moment, **said}


PLAIN: Final[dict[str, tuple[Table, Callable[[datetime], dict[str, Any]], timedelta]]] = {
    "session": (schema.session, session, timedelta()),
    "expired token": (schema.token, token, DAYS),
    "revoked token": (schema.token, revoked, DAYS),
    "account": (schema.account, account, DAYS),
    "audit": (schema.audit, entry, DAYS),
}


@pytest.mark.parametrize("kind", PLAIN)
async def test_a_row_is_kept_until_its_time_is_over(store: Store, kind: str):
    table, make, kept = PLAIN[kind]
    at = datetime.now(UTC)
    young, old = make(at - kept + SECOND), make(at - kept - SECOND)
    await change(store, insert(table).values(young))
    await change(store, insert(table).values(old))

    await sweep(store, at=at)

    assert [row.id for row in await rows(store, table) if row.id in {young["id"], old["id"]}] == [young["id"]]


async def test_an_offer_and_an_idempotency_key_are_kept_until_they_expire(store: Store):
    at, day = datetime.now(UTC), timedelta(hours=24)
    for name, late in (("ada", SECOND), ("bob", -SECOND)):
        deployment_id = await create(store, name, at, key=f"{KEY}-of-{name}")
        stack = await stack_of(store, name)
        offer = {"stack_id": stack.id, "hash": name, "created_at": at, "expires_at": at + late}
        await change(store, insert(schema.offer).values(offer))
        key = schema.idempotency
        of_it = update(key).where(key.c.deployment_id == deployment_id)
        await change(store, of_it.values(created_at=at - day + late, body_hash=name))

    assert await sweep(store, at=at) == {"offer": 1, "idempotency": 1}

    assert [row.hash for row in await rows(store, schema.offer)] == ["ada"]
    assert [row.body_hash for row in await rows(store, schema.idempotency)] == ["ada"]


async def test_of_a_log_that_is_old_the_last_event_is_kept(store: Store):
    at = datetime.now(UTC)
    young, old = [await create(store, name, at - DAYS + late) for name, late in (("ada", SECOND), ("bob", -SECOND))]

    assert await sweep(store, at=at) == {"log": 1, "event": 4}

    assert [event.n for event in await store.records.events(young)] == [1, 2, 3, 4, 5]
    (last,) = await store.records.events(old)
    assert (last.n, last.type, last.conclusion) == (5, "deployment_completed", Conclusion.SUCCEEDED)
    records = {each: await store.records.deployment(each) for each in (young, old)}
    assert {each: record and record.log_expired_at for each, record in records.items()} == {young: None, old: at}
    assert await sweep(store, at=at) == {}, "once"


async def test_a_deployment_is_kept_until_its_time_is_over(store: Store):
    at = datetime.now(UTC)
    await create(store, "ada", at - 2 * DAYS)
    old = await redeploy(store, "ada", at - DAYS - SECOND, operation=PASSWORD)
    young = await redeploy(store, "ada", at - DAYS + SECOND)
    newest = await redeploy(store, "ada", at)

    done = await sweep(store, Keep(deployments=DAYS), at=at)

    assert (done["deployment"], done["step"], done["event"]) == (1, len(PASSWORD.steps), 2)
    found = {row.id for row in await rows(store, schema.deployment)}
    assert old not in found
    assert {young, newest} <= found


async def test_a_removed_stack_is_kept_until_its_time_is_over(store: Store):
    at = datetime.now(UTC)
    for name, late in (("ada", SECOND), ("bob", -SECOND)):
        await create(store, name, at - 2 * DAYS, key=f"{KEY}-of-{name}")
        await remove(store, name, at - DAYS + late)

    await sweep(store, Keep(deployments=DAYS), at=at)

    assert [row.name for row in await rows(store, schema.stack)] == ["ada"]
    assert {row.name for row in await rows(store, schema.deployment)} == {"ada"}
    assert await rows(store, schema.idempotency), "a key counts for a day, whatever it is for"
    for table in (schema.step, schema.event, schema.resource):
        assert len(await rows(store, table)) > 0


# Forever


async def test_what_is_kept_forever_is_never_deleted(store: Store):
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    await create(store, "ada", long_ago)
    for _ in range(3):
        await redeploy(store, "ada", long_ago)
    await create(store, "bob", long_ago)
    await remove(store, "bob", long_ago)
    for table, make, kept in PLAIN.values():
        if kept:
            await change(store, insert(table).values(make(long_ago)))
    before = [await rows(store, table) for table in metadata.sorted_tables]

    assert await sweep(store, Keep()) == {}

    assert [await rows(store, table) for table in metadata.sorted_tables] == before


# Never


async def test_what_a_stack_began_with_and_what_says_how_it_is_stay_as_long_as_the_stack(store: Store):
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    moments: Iterator[datetime] = (long_ago + number * SECOND for number in range(10))
    first = await create(store, "ada", next(moments))
    await redeploy(store, "ada", next(moments))
    well = await redeploy(store, "ada", next(moments))
    await redeploy(store, "ada", next(moments), Conclusion.FAILED)
    newest = await redeploy(store, "ada", next(moments), Conclusion.FAILED)

    done = await sweep(store)

    assert done["deployment"] == 2
    assert {row.id for row in await rows(store, schema.deployment)} == {first, well, newest}
    assert {row.log_expired_at is None for row in await rows(store, schema.deployment)} == {False}


async def test_nothing_is_deleted_of_a_stack_that_is_being_changed(store: Store):
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    await create(store, "ada", long_ago)
    for number in range(1, 4):
        await redeploy(store, "ada", long_ago + number * SECOND)
    await store.operations.change(REDEPLOY, await stack_of(store), ADA)

    assert (await sweep(store))["deployment"] == 0

    await store.conclude(await store.claim_one())
    assert (await sweep(store))["deployment"] == 3


async def test_every_name_that_dokploy_gave_the_application_stays_known_as_long_as_the_stack(store: Store):
    """A removal waits for containers of each: Dokploy may have lost the application and not its container."""
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    await create(store, "ada", long_ago)
    names = ("x-a", "x-b", "x-b", "x-c", "x-c")
    redone = [
        await redeploy(store, "ada", long_ago + number * SECOND, app_name=name) for number, name in enumerate(names, 1)
    ]
    stack = await stack_of(store)

    assert (await sweep(store))["deployment"] == 2

    assert await store.records.app_names(stack.id) == {"x-a", "x-b", "x-c"}
    left = {row.id for row in await rows(store, schema.deployment)}
    assert left.intersection(redone) == {redone[0], redone[2], redone[4]}
    assert await sweep(store) == {}


async def test_a_deployment_of_a_kind_that_only_a_newer_portal_knows_is_kept(store: Store):
    """It may be what the stack began with."""
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    first = await create(store, "ada", long_ago)
    for number in range(1, 4):
        await redeploy(store, "ada", long_ago + number * SECOND)
    table = schema.deployment
    await change(store, update(table).where(table.c.id == first).values(kind="adopt"))

    assert (await sweep(store))["deployment"] == 2

    assert first in {row.id for row in await rows(store, table)}


async def leave(store: Store, name: str, moment: datetime) -> tuple[str, Run]:
    """A removal by the portal itself that leaves the volume."""
    accepted = await store.deploy(name)
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", ResourceState.PRESENT)]))
    left = [Left("volume", f"{name}-volume", "still_in_use")]
    await store.conclude(run, Conclusion.FAILED, left=left)
    await ended(store, accepted.deployment_id, moment)
    removal = await store.operations.retry_removal(await stack_of(store, name))
    run = await store.claim_one()
    await store.conclude(run, Conclusion.FAILED, left=left)
    return await ended(store, removal, moment + SECOND), run


async def redeployed_before(store: Store, removal: str, moment: datetime) -> None:
    """A redeployment between the creation and the removal of a stack."""
    (row,) = [row for row in await rows(store, schema.deployment) if row.id == removal]
    values = {"id": new_id(), "kind": REDEPLOY.kind, "last_event": 0, "created_at": moment}
    await change(store, insert(schema.deployment).values({**row._mapping, **values}))


@pytest.mark.parametrize("what", ["leftover", "deployment"])
async def test_a_removed_stack_of_which_something_is_left_or_under_way_is_kept(store: Store, what: str):
    """As where an older portal beside this one, or an operator by hand, has freed the name before."""
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    removal, _ = await leave(store, "ada", long_ago)
    await change(store, update(schema.stack).values(removed_at=long_ago, secrets=b""))
    volume = schema.resource.c.kind == "volume"
    await change(store, update(schema.resource).where(volume).values(state=ResourceState.REMOVED))
    if what == "deployment":
        await change(store, update(schema.leftover).values(removed_at=long_ago))
        of_it = update(schema.deployment).where(schema.deployment.c.id == removal)
        await change(store, of_it.values(status=Status.QUEUED))
    before = [await rows(store, table) for table in metadata.sorted_tables]

    assert await sweep(store, Keep(deployments=DAYS)) == {}

    assert [await rows(store, table) for table in metadata.sorted_tables] == before
    await change(store, update(schema.deployment).values(status=Status.COMPLETED))
    await change(store, update(schema.leftover).values(removed_at=long_ago))
    assert (await sweep(store, Keep(deployments=DAYS)))["stack"] == 1


async def test_of_a_stack_with_leftovers_everything_is_kept_and_an_attempt_goes_on_with_its_log(store: Store):
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    removal, _ = await leave(store, "ada", long_ago)
    for _ in range(2):
        await redeployed_before(store, removal, long_ago - SECOND / 2)

    assert await sweep(store) == {}

    leftovers = Leftovers(store.database, store.records, first_pause=1, attempts=12)
    await leftovers.hurry()
    assert await store.operations.retry_removal((await leftovers.due())[0]) == removal
    events = await store.records.events(removal)
    assert [event.n for event in events] == [1, 2, 3]
    assert events[-1].params["attempt"] == 2
    await store.conclude(await store.claim_one(), frees_name=True)
    await ended(store, removal, datetime(2001, 1, 2, tzinfo=UTC))

    # Once nothing is left, it ends like any other.
    assert (await sweep(store, RECORD, at=datetime.now(UTC) + 2 * DAYS))["stack"] == 1
    assert await rows(store, schema.leftover) == []


async def test_kept_files_stay_listed_and_what_says_that_they_are_gone_stays_as_long_as_the_stack_that_left_them(
    store: Store,
):
    long_ago, hour = datetime(2001, 1, 1, tzinfo=UTC), timedelta(hours=1)
    await create(store, "ada", long_ago)
    kept = await remove(store, "ada", long_ago + hour, ResourceState.KEPT)

    assert "stack" not in await sweep(store)
    assert [each.stack_id for each in (await store.records.kept_files(EVERYBODY, PageRequest())).items] == [kept]

    # Another stack takes the files up, and erases them in the end.
    await create(store, "ada", long_ago + 2 * hour)
    heir = await remove(store, "ada", long_ago + 3 * hour)
    assert (await store.records.kept_files(EVERYBODY, PageRequest())).items == []
    await hold(store, kept)
    assert "stack" not in await sweep(store), "without the heir, the files would seem to be kept"
    assert (await store.records.kept_files(EVERYBODY, PageRequest())).items == []
    await release(store, kept, long_ago + hour)

    for gone in (kept, heir):
        assert (await sweep(store))["stack"] == 1
        assert gone not in {row.id for row in await rows(store, schema.stack)}


async def hold(store: Store, stack_id: str) -> None:
    """Have something that keeps a removed stack from being deleted: its files are being erased."""
    await change(store, update(schema.stack).where(schema.stack.c.id == stack_id).values(removed_at=None))


async def release(store: Store, stack_id: str, moment: datetime) -> None:
    await change(store, update(schema.stack).where(schema.stack.c.id == stack_id).values(removed_at=moment))


async def test_a_stack_whose_try_never_came_to_the_volume_keeps_nothing(store: Store):
    """A refused try for a name with kept files says nothing of them, and goes in time."""
    long_ago, hour = datetime(2001, 1, 1, tzinfo=UTC), timedelta(hours=1)
    await create(store, "ada", long_ago)
    kept = await remove(store, "ada", long_ago + hour, ResourceState.KEPT)
    await store.deploy("ada")
    await store.conclude(await store.claim_one(), Conclusion.FAILED, frees_name=True)
    tried = schema.stack.c.id != kept
    await change(store, update(schema.stack).where(tried).values(removed_at=long_ago + 2 * hour))

    assert (await sweep(store, RECORD, at=datetime.now(UTC) + 2 * DAYS))["stack"] == 1
    assert [row.id for row in await rows(store, schema.stack)] == [kept]


async def test_an_account_to_which_anything_belongs_is_kept(store: Store):
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    people = {name: account(long_ago) for name in ("nobody", "a stack", "a token", "a session")}
    for person in people.values():
        await change(store, insert(schema.account).values(person))
    ids = {name: person["id"] for name, person in people.items()}
    await store.deploy("ada", requester(f"account:{ids['a stack']}"))
    later = datetime.now(UTC) + DAYS
    of_hers = {**token(long_ago, expires_at=later), "owner": f"account:{ids['a token']}"}
    await change(store, insert(schema.token).values(of_hers))
    hers = {**session(long_ago), "account_id": ids["a session"], "expires_at": later}
    await change(store, insert(schema.session).values(hers))

    assert await sweep(store, Keep(accounts=DAYS)) == {"account": 1}

    assert {row.id for row in await rows(store, schema.account)} == set(ids.values()) - {ids["nobody"]}


async def test_somebody_who_comes_back_after_their_account_was_deleted_gets_a_new_one(store: Store):
    accounts, claims = Accounts(store.database), Claims("https://id.example", "ada", "Ada", None, email_verified=None)
    before = await accounts.remember(claims)

    await sweep(store, Keep(accounts=DAYS), at=datetime.now(UTC) + 2 * DAYS)
    after = await accounts.remember(claims)

    assert after.id != before.id
    assert await accounts.find(after.id) is not None
