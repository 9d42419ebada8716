"""The journal of many runs: what they record at once is one transaction, and what becomes of one is its own affair."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, insert

from app.deployments.events import LogLine
from app.deployments.states import Conclusion, StepState
from app.engine.journal import CanceledMeanwhile
from app.engine.run import Run
from app.engine.saga import Checkpoint, RunLost, StepChange
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
