"""The store on both databases: who may write, what a crash leaves, and what two at once come to."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, Select, func, insert, select, text, update
from sqlalchemy import event as hooks
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from app.audit import Means, Role
from app.deployments.events import (
    DeploymentCompleted,
    LogLine,
    UndoStarted,
)
from app.deployments.model import Left
from app.deployments.queries import PAGE
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.engine.broker import Broker
from app.engine.journal import CanceledMeanwhile, Journal
from app.engine.leases import Leases, claimable
from app.engine.run import Run
from app.engine.saga import Checkpoint, ResourceChange, RunLost
from app.errors import PortalError
from app.operations.create import CREATE
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.service import Accepted, Operations
from app.security.vault import Vault, fingerprint
from app.stacks.availability import Names
from app.stacks.model import EVERYBODY, StackState, Whose
from app.stacks.names import DeploymentRequest
from app.stacks.queries import Records
from app.stacks.requester import Requester
from app.stacks.templates import StackSecrets, built_in_template
from app.store import schema
from app.store.engine import Database
from app.store.errors import StoreAway
from app.store.installation import installation_id
from app.store.paging import PageRequest
from tests.servers import portal_settings, requester
from tests.waiting import until

T = TypeVar("T")

pytestmark = pytest.mark.anyio

ADA = requester("browser:ada")
KEY = "an-idempotency-key-1"
# In seconds; nothing here runs out by itself.
LONG_LEASE = 3600.0


class Unreliable(Database):
    """A store whose commits fail, or happen without anybody hearing of it, as often as a test says."""

    fail = 0
    lose_answer = 0
    lost: Callable[[], Any] | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        def failing(connection: Connection) -> T:
            done = work(connection)
            if self.fail:
                self.fail -= 1
                raise OperationalError("COMMIT", None, OSError("away"))
            return done

        done = await super().write(failing)
        if self.lose_answer:
            self.lose_answer -= 1
            if self.lost is not None:
                await self.lost()
            raise StoreAway("away", "COMMIT")
        return done


class Store:
    """One process's view of the store."""

    def __init__(self, url: str, database: Unreliable | None = None) -> None:
        self.settings = portal_settings("http://dokploy:3000", url)
        self.database = database or Unreliable(url)
        self.records = Records(self.database)
        self.broker = Broker(self.records.events)
        self.journal = Journal(self.database, self.broker)
        self.leases = Leases(self.database)
        self.vault = Vault(["a-key-that-is-only-for-tests"])
        self.woken: list[str] = []
        self.operations = Operations(self.database, self.records, self.vault, self.settings, self.woken.append)
        self.names = Names(self.records)

    async def deploy(
        self, name: str = "ada", requester: Requester = ADA, key: str | None = None, **values: Any
    ) -> Accepted:
        request = DeploymentRequest(name)
        template = replace(built_in_template(self.settings), **values)
        return await self.operations.create(request, template, requester, idempotency_key=key)

    async def claim_one(self, *, lease: float = LONG_LEASE) -> Run:
        """Register a worker and claim exactly one run; a negative lease has run out by then."""
        worker = await self.leases.register(LONG_LEASE, alone=False)
        (run,) = await self.leases.claim(worker, 10)
        assert await self.leases.renew(worker, lease)
        return run

    async def cancel(self, accepted: Accepted, requester: Requester = ADA) -> bool:
        """Cancel a deployment as it is read now."""
        record = await self.records.deployment(accepted.deployment_id)
        assert record is not None
        return await self.operations.cancel(record, requester.actor)

    async def conclude(self, run: Run, conclusion: Conclusion = Conclusion.SUCCEEDED, **more: Any) -> None:
        end = DeploymentCompleted(run.name, run.operation.kind, "https://ada", conclusion, None, [])
        await self.journal.record(run, Checkpoint(events=[end]), conclusion=conclusion, **more)

    async def everything(self) -> dict[str, list[Any]]:
        """Every row of every table that a checkpoint writes."""
        return await self.database.read(
            lambda connection: {
                table.name: sorted(map(repr, connection.execute(select(table)).all()))
                for table in (schema.stack, schema.deployment, schema.step, schema.event, schema.resource)
            }
        )

    async def secrets(self, stack_id: str) -> StackSecrets:
        """What a stack's container was last started with."""
        sealed = await self.records.sealed_secrets(stack_id)
        assert sealed is not None
        return StackSecrets.decrypt(sealed, self.vault)

    async def plan_of(self, query: Select[Any]) -> str:
        """How the database would answer a query, were its tables large."""
        dialect = sqlite.dialect() if self.database.is_sqlite else postgresql.dialect()
        words = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if self.database.is_sqlite else "EXPLAIN"

        def plan(connection: Connection) -> str:
            if not self.database.is_sqlite:
                # A small table is read whole, as that is quicker; with this only where no index would do.
                connection.execute(text("SET LOCAL enable_seqscan = off"))
            return "\n".join(str(row) for row in connection.execute(text(f"{explain} {words}")).all())

        return await self.database.read(plan)

    async def count(self, table: Any) -> int:
        query = select(func.count()).select_from(table)
        return await self.database.read(lambda connection: int(connection.scalar(query) or 0))


@pytest.fixture
async def open_store(any_database_url: str) -> AsyncIterator[Callable[[], Store]]:
    opened: list[Store] = []

    def another() -> Store:
        opened.append(Store(any_database_url))
        return opened[-1]

    yield another
    for store in opened:
        await store.database.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def peer(open_store: Callable[[], Store]) -> Store:
    """Another process on the same store."""
    return open_store()


async def refused(call: Any, code: str) -> PortalError:
    with pytest.raises(PortalError) as error:
        await call
    assert error.value.code == code
    return error.value


# Operations


async def test_a_request_is_recorded_before_anything_is_done(store: Store):
    accepted = await store.deploy()

    record = await store.records.deployment(accepted.deployment_id)
    assert record is not None
    assert (record.name, record.kind, record.status) == ("ada", CREATE.kind, Status.QUEUED)
    assert (record.actor, record.trigger, record.owner_of_stack) == (
        replace(ADA.actor, address=None),
        "user",
        "browser:ada",
    )
    assert record.created_at.tzinfo is not None
    assert abs(record.created_at - datetime.now(UTC)) < timedelta(minutes=10)
    assert [(step.name, step.state, step.attempts) for step in record.steps] == [
        (name, StepState.PENDING, 0) for name in CREATE.step_names
    ]
    assert {kind: each.state for kind, each in record.resources.items()} == dict.fromkeys(
        ("project", "application", "mount", "volume", "domain"), ResourceState.PLANNED
    )
    (event,) = await store.records.events(accepted.deployment_id)
    assert (event.n, event.type, event.status) == (1, "deployment_queued", Status.QUEUED)
    assert store.woken == ["queued"]


async def test_secrets_are_sealed_and_the_key_is_only_recognised(store: Store):
    accepted = await store.deploy(variables=(("TOKEN", "hush-hush"),), key=KEY)

    stack = await store.records.find_stack("ada")
    assert stack is not None
    secrets = await store.secrets(stack.id)
    assert secrets.variables == {"TOKEN": "hush-hush"}
    assert stack.manage_key_hash == fingerprint(accepted.manage_key)
    rows = str(await store.everything())
    for secret in ("hush-hush", secrets.password, accepted.manage_key):
        assert secret not in rows
        assert secret not in repr(accepted) + repr(stack)


async def test_twenty_at_once_make_one_stack(store: Store, peer: Store):
    askers = [requester(f"browser:{number}") for number in range(20)]

    answers = await asyncio.gather(
        *(each.deploy("ada", requester) for each, requester in zip([store, peer] * 10, askers, strict=True)),
        return_exceptions=True,
    )

    won = [answer for answer in answers if isinstance(answer, Accepted)]
    lost = [answer.code for answer in answers if isinstance(answer, PortalError)]
    assert len(won) == 1
    assert lost == ["name_taken"] * 19
    assert await store.count(schema.stack) == await store.count(schema.deployment) == 1
    assert await store.count(schema.resource) == 5


async def test_twenty_names_at_once_make_twenty_stacks(store: Store, peer: Store):
    answers = await asyncio.gather(*(each.deploy(f"ada-{number}") for number, each in enumerate([store, peer] * 10)))
    assert len({answer.deployment_id for answer in answers}) == 20


async def test_the_same_idempotency_key_at_once_gets_one_answer(store: Store, peer: Store):
    answers = await asyncio.gather(*(each.deploy(key=KEY) for each in [store, peer] * 5))

    assert len(set(answers)) == 1, "the manage key as well"
    assert await store.count(schema.deployment) == 1


async def test_one_idempotency_key_for_two_names_at_once_makes_one_stack(store: Store, peer: Store):
    answers = await asyncio.gather(store.deploy("ada", key=KEY), peer.deploy("bob", key=KEY), return_exceptions=True)

    (error,) = [answer for answer in answers if isinstance(answer, PortalError)]
    assert error.code == "idempotency_key_reused"
    assert await store.count(schema.stack) == 1


async def test_a_replay_repeats_the_answer_and_another_body_is_refused(store: Store):
    first = await store.deploy(key=KEY)

    assert await store.deploy(key=KEY) == first
    await refused(store.deploy("bob", key=KEY), "idempotency_key_reused")
    await refused(store.deploy("ada", key=KEY + "-other"), "name_taken")
    assert store.woken == ["queued"], "a replay begins nothing"


async def test_a_replay_works_when_the_stack_is_gone(store: Store):
    first = await store.deploy(key=KEY)
    await store.conclude(await store.claim_one(), Conclusion.FAILED, frees_name=True)

    assert await store.deploy(key=KEY) == first
    assert await store.count(schema.deployment) == 1


WITH_KEY, WITH_ANOTHER = (replace(requester(""), key_hash=fingerprint(key)) for key in ("asd_one", "asd_another"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ADA, requester("browser:bob")),
        (ADA, requester("")),
        (requester(""), ADA),
        (WITH_KEY, requester("")),
        (requester(""), WITH_KEY),
        (WITH_KEY, WITH_ANOTHER),
        (WITH_KEY, ADA),
    ],
)
async def test_nobody_gets_the_answer_of_somebody_else(store: Store, first: Requester, second: Requester):
    mine = await store.deploy(requester=first, key=KEY)

    await refused(store.deploy(requester=second, key=KEY), "name_taken")

    other = await store.deploy("bob", requester=second, key=KEY)
    assert other.manage_key != mine.manage_key
    assert await store.deploy(requester=first, key=KEY) == mine
    assert await store.deploy("bob", requester=second, key=KEY) == other


async def test_of_two_with_one_key_and_one_name_at_once_one_has_the_stack(store: Store, peer: Store):
    answers = await asyncio.gather(
        store.deploy(key=KEY), peer.deploy(requester=requester("browser:bob"), key=KEY), return_exceptions=True
    )

    (error,) = [answer for answer in answers if isinstance(answer, PortalError)]
    assert error.code == "name_taken"


async def test_who_has_shown_nothing_gets_his_answer_by_the_key_alone(store: Store):
    first = await store.deploy(requester=requester(""), key=KEY)

    assert await store.deploy(requester=requester(""), key=KEY) == first


async def test_an_answer_that_an_older_portal_kept_is_repeated_to_nobody(store: Store):
    """It does not say whose it is."""
    await store.deploy(key=KEY)
    older = update(schema.idempotency).values(key_hash=fingerprint(KEY))
    await store.database.write(lambda connection: connection.execute(older))

    await refused(store.deploy(key=KEY), "name_taken")
    assert (await store.deploy("bob", key=KEY)).name == "bob"


async def test_an_idempotency_key_lives_for_a_day(store: Store):
    first = await store.deploy(key=KEY)
    await store.conclude(await store.claim_one(), Conclusion.FAILED, frees_name=True)

    async def age(hours: float) -> None:
        created_at = datetime.now(UTC) - timedelta(hours=hours)
        aged = update(schema.idempotency).values(created_at=created_at)
        await store.database.write(lambda connection: connection.execute(aged))

    await age(23.9)
    assert (await store.deploy(key=KEY)) == first
    await age(24.1)
    again = await store.deploy(key=KEY)
    assert again.deployment_id != first.deployment_id
    assert await store.deploy(key=KEY) == again


async def test_why_a_name_cannot_be_had(store: Store):
    await store.deploy()
    await refused(store.deploy(), "name_taken")
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(events=[UndoStarted()], undoing=True))
    await refused(store.deploy(), "name_cleaning_up")
    await store.conclude(run, Conclusion.FAILED, left=[Left("volume", "v", "still_in_use")])
    await refused(store.deploy(), "name_cleaning_up")


async def test_a_name_is_free_once_its_stack_is_gone(store: Store):
    first = await store.deploy()
    await store.conclude(await store.claim_one(), Conclusion.FAILED, frees_name=True)
    assert await store.records.find_stack("ada") is None
    assert await store.records.held(["ada", "bob"]) == set()

    second = await store.deploy()

    assert second.deployment_id != first.deployment_id
    old = await store.records.deployment(first.deployment_id)
    assert old is not None
    assert not old.stack_exists
    assert await store.records.held(["ada", "bob"]) == {"ada"}


async def test_suggestions_are_free_and_not_reserved_in_any_case(store: Store):
    await store.deploy("ada")
    await store.deploy("ada-3")
    template = built_in_template(store.settings)

    assert await store.names.suggest("ada", ("ADA-2", "My-Ada"), template) == ["ada-ai", "ada-dev", "ada-lab"]
    assert await store.names.suggest("ada", (), template) == ["ada-2", "my-ada", "ada-ai"]


async def test_a_stranger_without_a_cookie_owns_by_the_key_alone(store: Store):
    await store.deploy(requester=requester(""))
    await store.deploy("bob", requester=requester(""))

    owners = {stack.owner for stack in await store.records.list_stacks()}
    assert len(owners) == 2
    assert all(owner.startswith("key:") for owner in owners)


async def test_removing_cancels_a_creation_and_is_one_run_however_often_it_is_asked_for(store: Store):
    accepted = await store.deploy()
    stack = await store.records.find_stack("ada")
    assert stack is not None

    # During its creation, that run is cancelled.
    assert await store.operations.remove(stack, "erase", ADA) == accepted.deployment_id
    record = await store.records.deployment(accepted.deployment_id)
    assert record is not None
    assert record.cancel_requested
    run = await store.claim_one()
    assert run.cancel_requested.is_set()
    await store.conclude(run)

    # Afterwards it is a run of its own, and asking twice is one removal.
    removal = await store.operations.remove(stack, "keep", ADA)
    assert removal != accepted.deployment_id
    assert await store.operations.remove(stack, "keep", ADA) == removal
    assert await store.operations.remove(stack, None, ADA) == removal
    await refused(store.operations.remove(stack, "erase", ADA), "stack_busy")
    run = await store.claim_one()
    assert (run.operation.kind, run.options, list(run.steps)) == (
        REMOVE.kind,
        {"volume": "keep"},
        list(REMOVE.step_names),
    )
    await refused(store.deploy(), "name_cleaning_up")


async def test_removing_at_once_is_one_removal(store: Store, peer: Store):
    await store.deploy()
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("ada")
    assert stack is not None

    ids = await asyncio.gather(*(each.operations.remove(stack, "erase", ADA) for each in [store, peer] * 5))

    assert len(set(ids)) == 1


async def test_a_removal_that_comes_too_late_touches_nothing_of_the_next_owners(store: Store):
    await store.deploy()
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("ada")
    assert stack is not None
    await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one(), frees_name=True)
    await store.deploy(requester=requester("browser:bob"))

    await refused(store.operations.remove(stack, "erase", ADA), "stack_not_found")

    assert await store.count(schema.deployment) == 3


async def test_a_cancellation_is_told_to_the_worker_that_has_the_run(store: Store):
    accepted = await store.deploy()
    run = await store.claim_one()
    assert await store.leases.cancellations(run.worker) == []

    assert await store.cancel(accepted)
    assert await store.cancel(accepted)
    assert await store.leases.cancellations(run.worker) == [run.id]
    assert await store.leases.cancellations("somebody else") == []
    await store.conclude(run, Conclusion.CANCELED, frees_name=True)

    assert not await store.cancel(accepted)
    assert await store.leases.cancellations(run.worker) == []


async def test_what_was_cancelled_does_not_succeed(store: Store):
    accepted = await store.deploy()
    run = await store.claim_one()
    assert await store.cancel(accepted)
    before = await store.everything()

    with pytest.raises(CanceledMeanwhile):
        await store.conclude(run, unless_canceled=True)

    assert await store.everything() == before
    await store.conclude(run, Conclusion.CANCELED, frees_name=True)
    with pytest.raises(RunLost):
        await store.conclude(run, unless_canceled=True)


async def test_a_success_whose_answer_was_lost_cannot_be_cancelled(store: Store, peer: Store):
    accepted = await store.deploy()
    run = await store.claim_one()
    answers: list[bool] = []

    async def cancel() -> None:
        answers.append(await peer.cancel(accepted))

    store.database.lose_answer, store.database.lost = 1, cancel
    await store.conclude(run, unless_canceled=True)

    assert answers == [False]
    record = await store.records.deployment(accepted.deployment_id)
    assert record is not None
    assert (record.conclusion, record.cancel_requested) == (Conclusion.SUCCEEDED, False)


async def test_a_cancel_and_a_success_at_once_are_one_of_the_two(store: Store, peer: Store):
    for number in range(10):
        accepted = await store.deploy(f"stack-{number}")
        run = await store.claim_one()

        canceled, concluded = await asyncio.gather(
            peer.cancel(accepted),
            store.conclude(run, unless_canceled=True),
            return_exceptions=True,
        )

        assert (canceled, type(concluded)) in {(True, CanceledMeanwhile), (False, type(None))}
        if canceled:
            await store.conclude(run, Conclusion.CANCELED, frees_name=True)


async def test_a_cancel_during_an_undo_is_not_written_down(store: Store):
    accepted = await store.deploy()
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(events=[UndoStarted()], undoing=True))
    before = await store.everything()

    assert await store.cancel(accepted)

    assert await store.everything() == before
    assert await store.leases.cancellations(run.worker) == []


# Leases


async def test_two_workers_never_take_the_same_run(store: Store, peer: Store):
    ids = [(await store.deploy(f"ada-{number}")).deployment_id for number in range(30)]
    workers = [(each, await each.leases.register(LONG_LEASE, alone=False)) for each in (store, peer) * 3]

    taken: list[Run] = []

    async def take(each: Store, worker: str) -> None:
        while batch := await each.leases.claim(worker, 4, {run.id for run in taken}):
            assert len(batch) <= 4
            assert [run.id for run in batch] == sorted((run.id for run in batch), key=ids.index)
            taken.extend(batch)

    # Several at once, so that they meet.
    await asyncio.gather(*(take(each, worker) for each, worker in workers))
    # A row that another had locked was skipped, not lost.
    await take(*workers[0])

    assert sorted(run.id for run in taken) == sorted(ids)
    assert {run.epoch for run in taken} == {1}


async def test_the_oldest_is_taken_first(store: Store):
    accepted = [await store.deploy(f"ada-{number}") for number in range(3)]
    worker = await store.leases.register(LONG_LEASE, alone=False)

    taken: list[str] = []
    for _ in range(3):
        taken += [run.id for run in await store.leases.claim(worker, 1, taken)]

    assert taken == [each.deployment_id for each in accepted]
    assert await store.leases.claim(worker, 1, taken) == []


async def test_a_claim_whose_answer_was_lost_is_made_again(store: Store):
    """The store has written down that this worker holds the run, and the worker does not know."""
    await store.deploy()
    worker = await store.leases.register(LONG_LEASE, alone=False)
    (unheard,) = await store.leases.claim(worker, 1)

    (run,) = await store.leases.claim(worker, 1, ())

    assert (run.id, run.epoch) == (unheard.id, unheard.epoch + 1)
    with pytest.raises(RunLost):
        await store.journal.record(unheard, Checkpoint(events=[LogLine("late")]))
    assert await store.leases.claim(worker, 1, {run.id}) == []


async def start_of(store: Store, deployment_id: str) -> datetime | None:
    record = await store.records.deployment(deployment_id)
    assert record is not None
    return record.started_at


async def test_what_the_portal_does_by_itself_waits_for_what_people_requested(store: Store):
    """An old removal that is queued again goes after everything that was requested since."""
    await store.deploy("left")
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    left = await store.records.find_stack("left")
    assert left is not None
    own = await store.operations.retry_removal(left)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    requested = await store.deploy("ada")
    assert await store.operations.retry_removal(left) == own
    worker = await store.leases.register(LONG_LEASE, alone=False)

    claimed = [run.id for _ in range(2) for run in await store.leases.claim(worker, 1, None)]

    assert claimed == [requested.deployment_id, own]


@pytest.mark.parametrize("holding", [None, ["01J"]], ids=["a look", "also for what was lost"])
async def test_a_claim_looks_at_no_deployment_that_is_over(store: Store, holding: list[str] | None):
    steps = await store.plan_of(claimable("01W", 5, holding))

    assert "ix_deployment_open" in steps or "uq_deployment_stack_open" in steps
    assert "ix_deployment_ended" not in steps
    assert "Seq Scan on deployment" not in steps


async def test_a_claimed_run_is_whole(store: Store):
    accepted = await store.deploy()

    run = await store.claim_one()

    assert (run.id, run.name, run.operation.kind, run.status, run.epoch) == (
        accepted.deployment_id,
        "ada",
        CREATE.kind,
        Status.QUEUED,
        1,
    )
    assert list(run.steps) == list(CREATE.step_names)
    assert run.resources["volume"].name == "portal-ai-workspace-ada"
    assert run.owner_of_stack == "browser:ada"
    assert await start_of(store, run.id) is not None
    assert StackSecrets.decrypt(run.secrets, store.vault).password
    assert not run.cancel_requested.is_set()


async def test_an_expired_lease_is_taken_over_and_a_living_one_is_not(store: Store, peer: Store):
    await store.deploy()
    worker = await store.leases.register(LONG_LEASE, alone=False)
    (run,) = await store.leases.claim(worker, 1)
    began = await start_of(store, run.id)
    other = await peer.leases.register(LONG_LEASE, alone=False)
    assert await peer.leases.claim(other, 1) == []

    assert await store.leases.renew(worker, 0.1)

    async def take_over() -> list[Run] | None:
        return await peer.leases.claim(other, 1)

    (taken,) = await until(take_over)
    assert (taken.id, taken.epoch) == (run.id, 2)
    assert await start_of(store, run.id) == began


async def test_a_worker_whose_lease_has_run_out_takes_nothing(store: Store, peer: Store):
    """Not even its own runs, which it would then run twice."""
    await store.deploy("ada-1")
    run = await store.claim_one(lease=-1)
    await store.deploy("ada-2")

    assert await store.leases.claim(run.worker, 10) == []

    other = await peer.leases.register(LONG_LEASE, alone=False)
    assert len(await peer.leases.claim(other, 10)) == 2


async def test_a_check_finds_the_living_workers_of_its_host(store: Store, peer: Store):
    elsewhere = await store.leases.register(LONG_LEASE, alone=False)
    move = update(schema.worker).where(schema.worker.c.id == elsewhere).values(host="elsewhere", pid=1)
    await store.database.write(lambda connection: connection.execute(move))
    assert await peer.leases.living_here() == []

    here = await store.leases.register(LONG_LEASE, alone=False)
    assert await peer.leases.living_here() == [os.getpid()]

    await store.leases.renew(here, -1)
    assert await peer.leases.living_here() == []


async def test_a_lease_that_has_run_out_is_renewed_only_where_a_lock_keeps_others_out(store: Store):
    worker = await store.leases.register(-1, alone=False)

    assert await store.leases.renew(worker, 60) is store.database.is_sqlite


async def test_a_worker_that_leaves_hands_over_at_once(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()

    await store.leases.leave(run.worker)

    assert (await peer.claim_one()).id == run.id
    assert not await store.leases.renew(run.worker, LONG_LEASE), "its lease is gone"


async def test_one_run_is_let_go(store: Store, peer: Store):
    await store.deploy("ada-1")
    await store.deploy("ada-2")
    worker = await store.leases.register(LONG_LEASE, alone=False)
    first, second = await store.leases.claim(worker, 2)

    await store.leases.let_go(first)

    assert (await peer.claim_one()).id == first.id
    await store.leases.let_go(first)  # not its own any more
    await store.journal.record(second, Checkpoint(events=[LogLine("x")]))
    assert await store.leases.claim(worker, 2, {second.id}) == []


async def test_who_is_alone_takes_everything_at_once(store: Store, peer: Store):
    """After kill -9 of the only process on an SQLite file, nobody waits for its lease."""
    await store.deploy()
    before = await store.claim_one(lease=LONG_LEASE)

    worker = await peer.leases.register(LONG_LEASE, alone=True)

    (run,) = await peer.leases.claim(worker, 1)
    assert run.id == before.id
    with pytest.raises(RunLost):
        await store.journal.record(before, Checkpoint(events=[LogLine("x")]))


async def test_a_completed_run_is_taken_by_nobody(store: Store):
    await store.deploy()
    run = await store.claim_one()
    await store.conclude(run)
    await store.leases.leave(run.worker)

    assert await store.leases.claim(await store.leases.register(LONG_LEASE, alone=False), 10) == []


# Records


async def test_events_are_read_in_pages_from_any_number(store: Store):
    await store.deploy()
    run = await store.claim_one()
    await store.journal.record(run, Checkpoint(events=[LogLine(str(each)) for each in range(PAGE + 10)]))

    page = await store.records.events(run.id)
    assert [event.n for event in page] == list(range(1, PAGE + 1))
    rest = await store.records.events(run.id, PAGE)
    assert [event.n for event in rest] == list(range(PAGE + 1, PAGE + 12))
    assert rest[0].at.tzinfo is not None
    assert await store.records.events(run.id, 10_000) == []
    assert await store.records.events("nobody") == []


async def test_stacks_of_one_owner_and_of_all(store: Store):
    await store.deploy("ada")
    bob = await store.deploy("bob", requester("browser:bob"))
    await store.deploy("ada-2")

    async def names(whose: Whose) -> list[str]:
        return [view.stack.name for view in (await store.records.stack_views(whose, PageRequest())).items]

    assert [stack.name for stack in await store.records.list_stacks()] == ["ada-2", "bob", "ada"]
    assert await names(Whose()) == ["ada-2", "bob", "ada"]
    assert await names(Whose(owner="browser:ada")) == ["ada-2", "ada"]
    assert await names(Whose(key_hash=fingerprint(bob.manage_key))) == ["bob"]
    assert await names(Whose(owner="browser:ada", key_hash=fingerprint(bob.manage_key))) == []
    assert await names(Whose(owner="browser:eve")) == []
    assert await store.records.find_stack("eve") is None
    assert await store.records.deployment("nothing") is None


async def test_the_newest_deployment(store: Store):
    await store.deploy()
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("ada")
    assert stack is not None
    removal = await store.operations.remove(stack, "erase", ADA)

    newest = await store.records.newest_deployment(stack.id)

    assert newest is not None
    assert (newest.id, newest.kind, newest.options) == (removal, REMOVE.kind, {"volume": "erase"})
    assert await store.records.newest_deployment("nothing") is None


async def test_stacks_come_with_their_newest_deployments_in_as_many_queries_as_one(store: Store):
    for name in ("ada", "bob", "eve"):
        await store.deploy(name)
        await store.conclude(await store.claim_one())
    bob, eve = await store.records.find_stack("bob"), await store.records.find_stack("eve")
    assert bob is not None
    assert eve is not None
    again = await store.operations.change(REDEPLOY, bob, ADA)
    removal = await store.operations.remove(eve, "keep", ADA)
    asked = []

    def count(*_: Any) -> None:
        asked.append(1)

    hooks.listen(Engine, "before_cursor_execute", count)
    try:
        (one,) = (await store.records.stack_views(EVERYBODY, PageRequest(1))).items
        for_one = len(asked)
        views = (await store.records.stack_views(EVERYBODY, PageRequest())).items
    finally:
        hooks.remove(Engine, "before_cursor_execute", count)

    assert len(asked) == 2 * for_one
    assert [(view.stack.name, view.newest.id, view.state) for view in views[:2]] == [
        ("eve", removal, StackState.REMOVING),
        ("bob", again, StackState.DEPLOYING),
    ]
    assert views[2].state is StackState.RUNNING
    assert views[2].newest.kind == CREATE.kind
    assert one == views[0]
    # Each with its own steps and resources, and not a neighbour's.
    assert [len(view.newest.steps) for view in views] == [5, 6, 7]
    assert [view.newest.resources["volume"].name for view in views] == [
        f"portal-ai-workspace-{name}" for name in ("eve", "bob", "ada")
    ]


@pytest.mark.parametrize(
    ("role", "means", "read"),
    [
        ("auditor", "passkey", (Role.USER, Means.NOTHING)),
        (None, None, (Role.USER, Means.NOTHING)),
        ("operator", "token", (Role.OPERATOR, Means.TOKEN)),
    ],
)
async def test_what_a_newer_portal_says_of_who_it_was_is_no_reason_to_fail(
    store: Store, role: str | None, means: str | None, read: tuple[Role, Means]
):
    accepted = await store.deploy()
    newer = update(schema.deployment).values(actor_role=role, actor_means=means)
    await store.database.write(lambda connection: connection.execute(newer))

    record = await store.records.deployment(accepted.deployment_id)

    assert record is not None
    assert record.actor.id == ADA.actor.id
    assert (record.actor.role, record.actor.means) == read


async def test_lists_are_read_page_by_page(store: Store):
    await store.deploy("first")
    await store.conclude(await store.claim_one())
    stack = await store.records.find_stack("first")
    assert stack is not None
    for _ in range(4):
        await store.operations.change(REDEPLOY, stack, ADA)
        await store.conclude(await store.claim_one())
    for name in ("second", "third"):
        await store.deploy(name)

    page = await store.records.stack_views(EVERYBODY, PageRequest(2))
    rest = await store.records.stack_views(EVERYBODY, PageRequest(2, page.next_cursor))
    assert [view.stack.name for view in (*page.items, *rest.items)] == ["third", "second", "first"]
    assert rest.next_cursor is None

    every = (await store.records.deployments_of(stack.id, PageRequest())).items
    assert [each.kind for each in every] == [REDEPLOY.kind] * 4 + [CREATE.kind]
    first = await store.records.deployments_of(stack.id, PageRequest(2))
    second = await store.records.deployments_of(stack.id, PageRequest(10, first.next_cursor))
    assert [*first.items, *second.items] == every
    before = [await store.records.deployment_before(each) for each in every]
    assert before == [*every[1:], None]


async def test_what_is_gone_is_found_for_a_while(store: Store):
    for name in ("ada", "bob"):
        await store.deploy(name, requester(f"browser:{name}"))
        await store.conclude(await store.claim_one(), Conclusion.FAILED, frees_name=True)
    await store.deploy("ada", requester("browser:ada"))

    async def gone(whose: Whose, limit: int = 5) -> list[str]:
        return [each.name for each in await store.records.lately_gone(whose, limit=limit)]

    assert await gone(Whose()) == ["bob", "ada"]
    assert await gone(Whose(), limit=1) == ["bob"]
    assert await gone(Whose(owner="browser:ada")) == ["ada"]
    assert await gone(Whose(owner="browser:eve")) == []


@pytest.mark.parametrize(
    ("kind", "conclusion", "undoing", "state"),
    [
        (CREATE.kind, None, False, StackState.DEPLOYING),
        (CREATE.kind, None, True, StackState.UNDOING),
        (CREATE.kind, Conclusion.SUCCEEDED, False, StackState.RUNNING),
        (CREATE.kind, Conclusion.FAILED, True, StackState.LEFT),
        (CREATE.kind, Conclusion.CANCELED, True, StackState.LEFT),
        (REDEPLOY.kind, None, False, StackState.DEPLOYING),
        (REDEPLOY.kind, Conclusion.SUCCEEDED, False, StackState.RUNNING),
        (REDEPLOY.kind, Conclusion.FAILED, False, StackState.FAILED),
        (REDEPLOY.kind, Conclusion.CANCELED, False, StackState.CANCELED),
        (REMOVE.kind, None, False, StackState.REMOVING),
        (REMOVE.kind, Conclusion.FAILED, False, StackState.LEFT),
    ],
)
async def test_how_a_stack_is(store: Store, kind: str, conclusion: Conclusion | None, undoing: bool, state: StackState):
    await store.deploy()
    (view,) = [each async for each in store.records.every_stack()]

    newest = replace(view.newest, kind=kind, conclusion=conclusion, undoing=undoing)

    assert replace(view, newest=newest).state is state


async def test_what_was_declared_is_kept_without_any_value_of_a_variable(store: Store):
    accepted = await store.deploy("ada", variables=(("TOKEN", "hush-hush"),))

    record = await store.records.deployment(accepted.deployment_id)

    assert record is not None
    declared = record.declared
    assert declared is not None
    assert (declared["name"], declared["volume"]) == ("ada", "portal-ai-workspace-{name}")
    assert declared["address"] == "http://{name}.stacks.example"
    assert declared["variables"] == ["OPENCODE_SERVER_PASSWORD", "TOKEN"]
    assert "hush" not in str(await store.everything())
    stack = await store.records.find_stack("ada")
    assert stack is not None
    await store.conclude(await store.claim_one())
    removal = await store.records.deployment(await store.operations.remove(stack, "erase", ADA))
    assert removal is not None
    assert removal.declared is None


async def test_a_kept_volume_is_kept_for_its_owner_only(store: Store):
    volume = "portal-ai-workspace-ada"

    async def live_and_leave(owner: str, state: ResourceState) -> None:
        await store.deploy(requester=requester(owner))
        run = await store.claim_one()
        await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", state)]))
        assert not await store.records.is_kept_volume(volume, "browser:new"), "while it lives it is nobody's to inherit"
        await store.conclude(run, frees_name=True)

    assert not await store.records.is_kept_volume(volume, "browser:ada")
    await live_and_leave("browser:ada", ResourceState.KEPT)
    assert await store.records.is_kept_volume(volume, "browser:ada")
    assert not await store.records.is_kept_volume(volume, "browser:bob")
    assert not await store.records.is_kept_volume("another", "browser:ada")

    # The newest of that name counts.
    await live_and_leave("browser:ada", ResourceState.REMOVED)
    assert not await store.records.is_kept_volume(volume, "browser:ada")


async def test_the_installation_is_one_however_many_ask_first(store: Store, peer: Store):
    ids = await asyncio.gather(*(installation_id(each.database) for each in [store, peer] * 5))

    assert len(set(ids)) == 1
    assert await store.count(schema.installation) == 1


async def test_the_store_itself_holds_one_stack_a_name_and_one_run_a_stack(store: Store):
    """Whatever a future submission forgets."""
    await store.deploy()
    stack = await store.records.find_stack("ada")
    assert stack is not None
    row = await store.database.read(lambda each: each.execute(select(schema.deployment)).one()._asdict())
    held = await store.database.read(lambda each: each.execute(select(schema.stack)).one()._asdict())

    def put(table: Any, values: dict[str, Any], connection: Connection) -> None:
        connection.execute(insert(table).values(values))

    for table, values in ((schema.deployment, {**row, "id": "x"}), (schema.stack, {**held, "id": "x"})):
        with pytest.raises(Exception, match=r"(?i)unique"):
            await store.database.write(partial(put, table, values))
