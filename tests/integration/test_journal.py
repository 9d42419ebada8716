"""The journal: checkpoints of one run, fenced, and those of many, which share a transaction and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.util import await_only

from app.deployments.events import DeploymentCompleted, DeploymentStarted, LogLine, StepFailed, StepStarted, UndoStarted
from app.deployments.model import Left, LeftoverView
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.engine.journal import CanceledMeanwhile
from app.engine.run import Run
from app.engine.saga import Checkpoint, ResourceChange, RunLost, StepChange
from app.store import schema
from tests.integration.test_store import LONG_LEASE, Store, Unreliable
from tests.waiting import until

T = TypeVar("T")

pytestmark = pytest.mark.anyio


class Held(Unreliable):
    """A store that waits before each transaction that writes until it may go on, and counts them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.writes = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.writes += 1
        await self.may_go_on.wait()
        return await super().write(work)


class ManyRuns(Store):
    """Runs of one process, and a way to have them recorded in one transaction."""

    def __init__(self, url: str) -> None:
        self.held = Held(url)
        super().__init__(url, self.held)

    async def runs(self, count: int) -> Sequence[Run]:
        for number in range(count):
            await self.deploy(f"ada-{number}")
        worker = await self.leases.register(LONG_LEASE, alone=False)
        return await self.leases.claim(worker, count)

    async def record(self, runs: Sequence[Run], checkpoint: Callable[[], Checkpoint], **more: Any) -> list[Any]:
        """Record for all runs at once; what became of each."""
        waiting = [asyncio.ensure_future(self.journal.record(run, checkpoint(), **more)) for run in runs]
        return await asyncio.gather(*waiting, return_exceptions=True)

    async def lines(self, run: Run) -> list[str | None]:
        return [event.params.get("line") for event in await self.records.events(run.id)]


def line() -> Checkpoint:
    return Checkpoint(events=[LogLine("told")], steps={"project": StepChange(StepState.RUNNING)})


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[ManyRuns]:
    opened = ManyRuns(any_database_url)
    yield opened
    await opened.database.close()


@pytest.fixture
async def peer(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


# Many runs


async def test_what_is_recorded_at_once_is_one_transaction(store: ManyRuns):
    runs = await store.runs(5)
    before = store.held.writes

    assert await store.record(runs, line) == [None] * 5

    assert store.held.writes - before == 1
    assert [await store.lines(run) for run in runs] == [[None, "told"]] * 5
    assert [(run.last_event, run.steps["project"].attempts) for run in runs] == [(2, 1)] * 5


async def test_what_is_recorded_during_a_transaction_goes_into_the_next(store: ManyRuns):
    first, *others = await store.runs(5)
    before = store.held.writes
    store.held.may_go_on.clear()
    recording = asyncio.create_task(store.journal.record(first, line()))
    await until(lambda: store.held.writes == before + 1)
    waiting = asyncio.create_task(store.record(others, line))
    await until(lambda: len(store.journal._waiting) == 4)
    store.held.may_go_on.set()
    await asyncio.gather(recording, waiting)

    assert store.held.writes - before == 2
    assert [await store.lines(run) for run in (first, *others)] == [[None, "told"]] * 5


async def test_a_run_that_is_lost_does_not_lose_the_others(store: ManyRuns):
    runs = await store.runs(3)
    await store.leases.let_go(runs[1])
    before = store.held.writes

    became = await store.record(runs, line)

    assert [type(each) for each in became] == [type(None), RunLost, type(None)]
    assert store.held.writes - before == 1
    assert [await store.lines(run) for run in runs] == [[None, "told"], [None], [None, "told"]]
    assert runs[1].last_event == 1


async def test_a_run_that_is_canceled_does_not_keep_the_others_from_their_end(store: ManyRuns):
    runs = await store.runs(3)
    record = await store.records.deployment(runs[0].id)
    assert record is not None
    assert await store.operations.cancel(record, record.actor)

    became = await store.record(runs, line, conclusion=Conclusion.SUCCEEDED, unless_canceled=True)

    assert [type(each) for each in became] == [CanceledMeanwhile, type(None), type(None)]
    ends = [await store.records.deployment(run.id) for run in runs]
    assert [each and each.conclusion for each in ends] == [None, Conclusion.SUCCEEDED, Conclusion.SUCCEEDED]


async def test_what_the_database_refuses_of_one_run_is_written_of_the_others(store: ManyRuns):
    runs = await store.runs(3)
    taken = {"deployment_id": runs[1].id, "n": 2, "type": "log_line", "key": "log_line", "params": {}}
    taken |= {"at": (await store.records.events(runs[1].id))[0].at, "status": "queued", "undoing": False}
    await store.database.write(lambda connection: connection.execute(insert(schema.event).values(taken)))

    became = await store.record(runs, line)

    assert [type(each).__name__ for each in became] == ["NoneType", "IntegrityError", "NoneType"]
    assert [await store.lines(run) for run in runs] == [[None, "told"], [None, None], [None, "told"]]
    assert [run.last_event for run in runs] == [2, 1, 2]


@pytest.mark.parametrize("how", ["fail", "lose_answer"])
async def test_a_store_that_is_away_is_waited_for_by_all_of_a_transaction(store: ManyRuns, how: str):
    runs = await store.runs(4)
    setattr(store.database, how, 2)

    assert await store.record(runs, line) == [None] * 4

    assert [await store.lines(run) for run in runs] == [[None, "told"]] * 4
    assert [run.steps["project"].attempts for run in runs] == [1] * 4


async def test_who_is_cancelled_before_the_transaction_begins_writes_nothing(store: ManyRuns):
    first, second, third = await store.runs(3)
    before = store.held.writes
    store.held.may_go_on.clear()
    recording = asyncio.create_task(store.journal.record(first, line()))
    await until(lambda: store.held.writes == before + 1)
    leaving = asyncio.create_task(store.journal.record(second, line()))
    staying = asyncio.create_task(store.journal.record(third, line()))
    await until(lambda: len(store.journal._waiting) == 2)

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    store.held.may_go_on.set()
    await asyncio.gather(recording, staying)

    assert [await store.lines(run) for run in (first, second, third)] == [[None, "told"], [None], [None, "told"]]


async def test_who_is_cancelled_in_the_middle_of_the_transaction_does_not_break_it(store: ManyRuns):
    first, second = await store.runs(2)
    before = store.held.writes
    store.held.may_go_on.clear()
    tasks = [asyncio.create_task(store.journal.record(run, line())) for run in (first, second)]
    await until(lambda: store.held.writes == before + 1)

    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    store.held.may_go_on.set()
    await tasks[1]

    assert await store.lines(second) == [None, "told"]
    assert second.last_event == 2


async def test_a_run_whose_row_is_held_by_somebody_else_does_not_hold_up_the_others(postgres_url: str):
    store, other = ManyRuns(postgres_url), Store(postgres_url)
    runs = await store.runs(3)
    held, may_go, is_held = schema.deployment.c.id == runs[1].id, asyncio.Event(), asyncio.Event()

    def hold(connection: Connection) -> Any:
        connection.execute(select(schema.deployment.c.id).where(held).with_for_update())
        is_held.set()
        return await_only(may_go.wait())

    holding = asyncio.create_task(other.database.write(hold))
    await is_held.wait()

    waiting = [asyncio.create_task(store.journal.record(run, line())) for run in runs]
    await asyncio.gather(waiting[0], waiting[2])
    # And nobody waits for the one that is held who comes later.
    await store.journal.record(runs[0], Checkpoint(events=[LogLine("later")]))
    assert not waiting[1].done()
    may_go.set()
    await asyncio.gather(waiting[1], holding)

    assert [await store.lines(run) for run in runs] == [[None, "told", "later"], [None, "told"], [None, "told"]]
    for each in (store, other):
        await each.database.close()


async def test_another_process_that_records_the_same_runs_at_once_is_refused_all_of_them(any_database_url: str):
    mine, theirs = ManyRuns(any_database_url), ManyRuns(any_database_url)
    runs = await mine.runs(20)
    # The other takes them for its own, in another order, and is refused all of them.
    worker = await theirs.leases.register(LONG_LEASE, alone=False)
    copies = [Run(**{**vars(run), "worker": worker, "writing": asyncio.Lock()}) for run in reversed(runs)]

    for _ in range(10):
        kept, refused = await asyncio.gather(
            mine.record(runs, lambda: Checkpoint(events=[LogLine("told")])),
            theirs.record(copies, lambda: Checkpoint(events=[LogLine("from the grave")])),
        )
        assert kept == [None] * 20
        assert {type(each) for each in refused} == {RunLost}

    for run in runs:
        assert await mine.lines(run) == [None, *["told"] * 10]
    for each in (mine, theirs):
        await each.database.close()


# One run


async def test_a_checkpoint_is_written_whole(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()

    await store.journal.record(
        run,
        Checkpoint(
            events=[DeploymentStarted("ada", "create"), StepStarted("create", "project")],
            steps={"project": StepChange(StepState.RUNNING)},
            resources=[ResourceChange("project", ResourceState.INTENDED)],
            status=Status.PREPARE,
        ),
    )
    await store.journal.record(
        run,
        Checkpoint(
            steps={"project": StepChange(StepState.SUCCEEDED, {"environment_id": "e"})},
            resources=[ResourceChange("project", ResourceState.PRESENT, "p1")],
        ),
    )

    await store.leases.leave(run.worker)
    again = await peer.claim_one()
    assert (again.status, again.last_event) == (Status.PREPARE, 3)
    for seen in (run, again):
        step, project = seen.steps["project"], seen.resources["project"]
        assert (step.state, step.attempts, step.output) == (StepState.SUCCEEDED, 1, {"environment_id": "e"})
        assert step.started_at is not None
        assert step.concluded_at is not None
        assert (project.state, project.dokploy_id, project.attempts) == (ResourceState.PRESENT, "p1", 1)
        assert project.intended_at is not None
    events = await store.records.events(run.id)
    assert [event.n for event in events] == [1, 2, 3]
    assert [event.status for event in events] == [Status.QUEUED, Status.PREPARE, Status.PREPARE]


async def test_a_step_that_is_taken_up_counts_its_attempts_and_keeps_what_it_noted(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()
    begin = Checkpoint(
        steps={"deploy": StepChange(StepState.RUNNING)}, resources=[ResourceChange("volume", ResourceState.INTENDED)]
    )
    await store.journal.record(run, begin)
    await store.journal.record(run, Checkpoint(steps={"deploy": StepChange(StepState.RUNNING, {"triggers": 1})}))
    await store.journal.record(run, Checkpoint(steps={"deploy": StepChange(StepState.RUNNING, {"row": "r"})}))
    assert run.steps["deploy"].attempts == 1
    began = run.steps["deploy"].started_at
    await store.leases.leave(run.worker)

    again = await peer.claim_one()
    await peer.journal.record(again, begin)

    assert again.steps["deploy"].attempts == 2
    assert again.steps["deploy"].output == {"triggers": 1, "row": "r"}
    assert again.steps["deploy"].started_at == began
    assert again.resources["volume"].attempts == 2


async def test_what_is_there_is_not_intended_again(store: Store):
    await store.deploy()
    run = await store.claim_one()
    for state in (ResourceState.PRESENT, ResourceState.KEPT):
        await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", state, "v")]))
        await store.journal.record(run, Checkpoint(resources=[ResourceChange("volume", ResourceState.INTENDED)]))
        assert run.resources["volume"].state is state
        assert run.resources["volume"].dokploy_id == "v"


async def test_several_changes_of_one_resource_in_one_checkpoint(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()
    changes = [
        ResourceChange("domain", ResourceState.INTENDED),
        ResourceChange("domain", ResourceState.PRESENT, "d"),
        ResourceChange("domain", ResourceState.REMOVED),
    ]
    await store.journal.record(run, Checkpoint(resources=changes))
    await store.leases.leave(run.worker)

    for seen in (run, await peer.claim_one()):
        assert (seen.resources["domain"].state, seen.resources["domain"].dokploy_id) == (ResourceState.REMOVED, "d")


async def test_the_first_problem_stays(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()
    for code in ("deploy_failed", "still_in_use"):
        problem: dict[str, Any] = {"code": code, "params": {}, "step": "deploy"}
        await store.journal.record(run, Checkpoint(events=[StepFailed("deploy", code, {})], problem=problem))
    await store.leases.leave(run.worker)

    again = await peer.claim_one()
    assert again.problem is not None
    assert again.problem["code"] == "deploy_failed"


async def test_the_end_of_a_run(store: Store):
    await store.deploy()
    run = await store.claim_one()
    left = [Left("volume", "v", "still_in_use")]
    told = [{"kind": "volume", "name": "v"}]
    end = DeploymentCompleted("ada", "create", "https://ada", "failed", "deploy_failed", told)
    await store.journal.record(run, Checkpoint(events=[UndoStarted()], status=Status.DEPLOY, undoing=True))

    await store.journal.record(
        run, Checkpoint(events=[LogLine("last words"), end]), conclusion=Conclusion.FAILED, left=left
    )

    record = await store.records.deployment(run.id)
    assert record is not None
    assert (record.status, record.conclusion) == (Status.COMPLETED, Conclusion.FAILED)
    assert record.leftovers == [LeftoverView("volume", "v", None)]
    assert record.undoing
    assert record.concluded_at is not None
    events = await store.records.events(run.id)
    assert [event.conclusion for event in events] == [None, None, None, Conclusion.FAILED]
    assert [event.status for event in events][-2:] == [Status.DEPLOY, Status.COMPLETED]
    with pytest.raises(RunLost):
        await store.journal.record(run, Checkpoint(events=[LogLine("after the end")]))


async def test_who_was_overtaken_writes_nothing(store: Store, peer: Store):
    await store.deploy()
    first = await store.claim_one(lease=-1)  # run out already
    second = await peer.claim_one()
    assert (first.epoch, second.epoch) == (1, 2)
    before = await store.everything()

    with pytest.raises(RunLost):
        await store.journal.record(
            first,
            Checkpoint(
                events=[LogLine("from the grave")],
                steps={"project": StepChange(StepState.SUCCEEDED)},
                resources=[ResourceChange("project", ResourceState.PRESENT, "p")],
            ),
        )
    with pytest.raises(RunLost):
        await store.conclude(first, frees_name=True)
    await store.leases.let_go(first)

    assert await store.everything() == before
    assert first.last_event == 1
    assert first.steps["project"].state is StepState.PENDING
    await peer.journal.record(second, Checkpoint(events=[LogLine("alive")]))


async def test_the_same_worker_that_lost_a_run_and_took_it_again_is_fenced_too(store: Store):
    """Only the epoch tells its two lives apart."""
    await store.deploy()
    worker = await store.leases.register(LONG_LEASE, alone=False)
    (before,) = await store.leases.claim(worker, 1)
    await store.leases.let_go(before)
    (after,) = await store.leases.claim(worker, 1)
    assert (before.worker, before.epoch, after.epoch) == (worker, 1, 2)

    with pytest.raises(RunLost):
        await store.journal.record(before, Checkpoint(events=[LogLine("x")]))
    await store.journal.record(after, Checkpoint(events=[LogLine("x")]))


async def test_nothing_is_handed_on_that_was_not_written(store: Store, peer: Store):
    await store.deploy()
    first = await store.claim_one(lease=-1)
    seen: list[tuple[int, Any]] = []
    looks: list[int] = []
    read = store.broker._read

    async def look(deployment_id: str, after: int) -> Any:
        found = await read(deployment_id, after)
        looks.append(after)
        return found

    async def watch() -> None:
        async for batch in store.broker.follow(first.id, 1, quiet=3600):
            seen.extend((event.n, event.params.get("line")) for event in batch)

    store.broker._read = look
    watcher = asyncio.create_task(watch())
    await until(lambda: looks)
    second = await peer.claim_one()
    with pytest.raises(RunLost):
        await store.journal.record(first, Checkpoint(events=[LogLine("from the grave")]))
    await peer.journal.record(second, Checkpoint(events=[LogLine("alive")]))
    assert seen == []

    store.broker.poke(first.id)
    # Had the first one's been handed on, it would have come before this one, with the same number.
    await until(lambda: seen)
    assert seen == [(2, "alive")]
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)


@pytest.mark.parametrize("conclusion", [None, Conclusion.SUCCEEDED])
async def test_a_commit_that_landed_without_an_answer_is_not_written_twice(store: Store, conclusion: Conclusion | None):
    await store.deploy()
    run = await store.claim_one()
    store.database.lose_answer = 1

    checkpoint = Checkpoint(
        events=[LogLine("once")],
        steps={"project": StepChange(StepState.RUNNING)},
        resources=[ResourceChange("project", ResourceState.INTENDED)],
    )
    await store.journal.record(run, checkpoint, conclusion=conclusion)

    events = await store.records.events(run.id)
    assert [event.n for event in events] == [1, 2]
    assert run.last_event == 2
    assert (run.steps["project"].attempts, run.resources["project"].attempts) == (1, 1)
    if conclusion is None:
        await store.journal.record(run, Checkpoint(events=[LogLine("next")]))
        assert len(await store.records.events(run.id)) == 3


async def test_a_commit_without_events_that_landed_may_be_written_again(store: Store, peer: Store):
    await store.deploy()
    run = await store.claim_one()
    store.database.lose_answer = 1

    await store.journal.record(run, Checkpoint(steps={"project": StepChange(StepState.RUNNING)}))

    await store.leases.leave(run.worker)
    assert (await peer.claim_one()).steps["project"].attempts == 1


async def test_a_commit_that_did_not_land_is_written_when_the_store_is_back(store: Store):
    await store.deploy()
    run = await store.claim_one()
    store.database.fail = 2

    await store.journal.record(run, Checkpoint(events=[LogLine("at last")]))

    assert [event.params.get("line") for event in await store.records.events(run.id)] == [None, "at last"]
    assert store.database.fail == 0


async def test_a_commit_that_landed_and_then_somebody_else_took_over(store: Store, peer: Store):
    """It was written, but the run is another's by now: whoever wrote it must stop."""
    await store.deploy()
    run = await store.claim_one(lease=-1)
    taken: list[Run] = []

    async def overtake() -> None:
        taken.append(await peer.claim_one())

    store.database.lost = overtake
    store.database.lose_answer = 1

    with pytest.raises(RunLost):
        await store.journal.record(run, Checkpoint(events=[LogLine("mine")]))

    assert taken[0].last_event == 2
    await peer.journal.record(taken[0], Checkpoint(events=[LogLine("theirs")]))
    lines = [event.params.get("line") for event in await store.records.events(run.id)]
    assert lines == [None, "mine", "theirs"]


async def test_siblings_that_tell_at_once_get_numbers_in_a_row(store: Store):
    await store.deploy()
    run = await store.claim_one()

    await asyncio.gather(
        *(store.journal.record(run, Checkpoint(events=[LogLine(str(each)), LogLine(str(each))])) for each in range(20))
    )

    events = await store.records.events(run.id)
    assert [event.n for event in events] == list(range(1, 42))
    lines = [event.params["line"] for event in events[1:]]
    assert lines[::2] == lines[1::2], "a checkpoint's events stay together"
