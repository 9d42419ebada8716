"""Finding our own among Dokploy's jobs and rows, and asking once for many."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from app.dokploy import DokployDeployment, QueueJob
from app.observation.tracker import DEFAULT_TITLE, DokployQueue, Pace, SharedRead, find_row
from app.stacks.marker import Marker

pytestmark = pytest.mark.anyio

MARKER = Marker("01J00000000000000000000001", "main", "01J00000000000000000000002")
NAMES_SERVER = "asd:01J00000000000000000000001:main:01J00000000000000000000002"
OF_ANOTHER_SERVER = "asd:01J00000000000000000000001:eu-2:01J00000000000000000000002"


class Source:
    """Counts calls, and answers each when the test lets it."""

    def __init__(self) -> None:
        self.calls = 0
        self.under_way = 0
        self.most = 0
        self.let = asyncio.Event()
        self.let.set()
        self.error: Exception | None = None

    async def read(self) -> int:
        self.calls += 1
        call = self.calls
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.let.wait()
            await asyncio.sleep(0)
            if self.error:
                raise self.error
            return call
        finally:
            self.under_way -= 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_at_the_same_time_shares_one_call():
    source = Source()
    shared = SharedRead(source.read)

    assert await asyncio.gather(*(shared() for _ in range(100))) == [1] * 100
    assert source.calls == 1


async def test_who_asks_during_a_call_gets_the_next_one():
    source = Source()
    source.let.clear()
    shared = SharedRead(source.read)
    first = asyncio.ensure_future(shared())
    await settle()
    assert source.calls == 1

    late = [asyncio.ensure_future(shared()) for _ in range(10)]
    await settle()
    assert source.calls == 1, "one at a time"
    source.let.set()

    assert await first == 1
    assert await asyncio.gather(*late) == [2] * 10, "an answer older than the question serves nobody"
    assert source.most == 1


async def test_calls_keep_their_distance():
    source = Source()
    shared = SharedRead(source.read, gap=0.05)
    began = time.monotonic()
    for _ in range(3):
        await shared()
    assert time.monotonic() - began >= 0.1


async def test_a_failure_is_everybodys_and_the_next_asks_anew():
    source = Source()
    source.error = OSError("away")
    shared = SharedRead(source.read)

    answers = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError, OSError]

    source.error = None
    assert await shared() == 2


async def test_a_failed_call_does_not_hold_up_the_one_behind_it():
    source = Source()
    source.let.clear()
    source.error = OSError("away")
    shared = SharedRead(source.read)
    first = asyncio.ensure_future(shared())
    await settle()
    second = asyncio.ensure_future(shared())
    await settle()
    source.let.set()
    with pytest.raises(OSError, match="away"):
        await first
    source.error = None
    assert await second == 2


async def test_who_gives_up_takes_the_answer_from_nobody():
    source = Source()
    source.let.clear()
    shared = SharedRead(source.read)
    impatient, patient = asyncio.ensure_future(shared()), asyncio.ensure_future(shared())
    await settle()

    impatient.cancel()
    await settle()
    source.let.set()

    assert await patient == 1
    assert impatient.cancelled()


async def test_a_failure_that_nobody_waits_for_any_more_is_no_warning():
    source = Source()
    source.let.clear()
    source.error = OSError("away")
    shared = SharedRead(source.read)
    only = asyncio.ensure_future(shared())
    await settle()
    only.cancel()
    source.let.set()
    await settle()  # an exception that nobody retrieves would fail this test


def job(
    number: int,
    state: str = "waiting",
    title: str | None = None,
    application: str = "app",
    description: str | None = None,
) -> QueueJob:
    title = title or f"title-{number}"
    return QueueJob(
        id=f"job-{number}",
        data=QueueJob.Data(application_id=application, title_log=title, description_log=description),
        timestamp=number * 1000,
        state=state,
    )


def test_the_place_in_line_is_by_age_whatever_the_order_of_the_list():
    jobs = [job(4), job(3), job(1, "active"), job(2)]
    queue = DokployQueue(jobs)

    assert [queue.place(each) for each in (jobs[3], jobs[1], jobs[0])] == [1, 2, 3]
    assert queue.waiting == 3
    assert DokployQueue([]).waiting == 0


def test_the_place_in_line_of_two_that_came_at_once():
    older, newer = job(1), job(2).model_copy(update={"timestamp": 1000})
    queue = DokployQueue([newer, older])

    assert [queue.place(each) for each in (older, newer)] == [1, 2]


def test_our_job_is_found_by_its_title():
    queue = DokployQueue([job(3, title="ours"), job(2), job(1, title="ours")])

    found = queue.titled("ours")
    assert found is not None
    assert found.id == "job-3", "Dokploy lists the newest first"
    assert queue.titled("another") is None


def test_our_job_is_found_by_our_marker_where_its_title_was_dropped():
    ours = job(2, title=DEFAULT_TITLE, description=str(MARKER))
    queue = DokployQueue([job(4, title=DEFAULT_TITLE), job(3, title="theirs", description=str(MARKER)), ours])

    assert queue.untitled("app", MARKER) is ours
    assert queue.untitled("app", Marker(MARKER.installation, "main", "0" * 26)) is None
    assert queue.untitled("another", MARKER) is None
    assert queue.untitled("app", Marker(MARKER.installation, "eu-2", MARKER.stack_id)) is None
    nameless = queue.untitled("app", None)
    assert nameless is not None
    assert nameless.id == "job-4"


def test_jobs_of_an_application():
    queue = DokployQueue([job(1, application="a"), job(2, application="b"), job(3, "active", application="a")])

    assert [each.id for each in queue.of_application("a")] == ["job-1", "job-3"]
    assert queue.of_application("c") == []


def row(number: int, title: str = DEFAULT_TITLE, **more: Any) -> DokployDeployment:
    return DokployDeployment(
        deployment_id=f"row-{number}",
        title=title,
        description=more.get("description", ""),
        status=more.get("status", "running"),
        created_at=datetime(2025, 1, 1, 0, 0, number, tzinfo=UTC),
    )


OURS = str(MARKER)


@pytest.mark.parametrize(
    ("rows", "baseline", "found", "once", "twice"),
    [
        ([], set[str](), None, None, None),
        ([row(2, "ours"), row(1)], set[str](), "row-2", "row-2", "row-2"),
        ([row(2), row(1, "ours")], {"row-1"}, "row-1", "row-1", "row-1"),
        # Whoever presses Dokploy's own button makes such rows.
        ([row(1)], set[str](), None, "row-1", None),
        ([row(2), row(1)], {"row-1"}, None, "row-2", None),
        ([row(2), row(1)], set[str](), None, None, "row-2"),
        ([row(1)], {"row-1"}, None, None, None),
        # One more than was asked for: nobody can say which are ours.
        ([row(3), row(2), row(1)], set[str](), None, None, None),
        # A new one with somebody else's words is not ours.
        ([row(2, "theirs"), row(1)], {"row-1"}, None, None, None),
        ([row(3, "theirs"), row(2), row(1)], {"row-1"}, None, None, None),
        ([row(2, description="theirs"), row(1)], {"row-1"}, None, None, None),
        # Our marker is as good as our title, where that was dropped.
        ([row(3), row(2, description=OURS), row(1)], {"row-1"}, "row-2", "row-2", "row-2"),
        ([row(3, description=OURS), row(2, description=OURS)], set[str](), "row-3", "row-3", "row-3"),
        ([row(1, description=OURS)], {"row-1"}, None, None, None),
        ([row(3), row(2, description=NAMES_SERVER), row(1)], {"row-1"}, "row-2", "row-2", "row-2"),
        ([row(2, description=OF_ANOTHER_SERVER), row(1)], {"row-1"}, None, None, None),
        # A title that is another deployment's of ours.
        ([row(2, "earlier", description=OURS)], set[str](), None, None, None),
    ],
)
def test_our_row_is_found_among_others(
    rows: list[DokployDeployment], baseline: set[str], found: str | None, once: str | None, twice: str | None
):
    for guess, expected in enumerate((found, once, twice)):
        ours = find_row(rows, "ours", marker=MARKER, baseline=baseline, guess=guess)
        assert (ours.deployment_id if ours else None) == expected


def test_two_deployments_of_one_application_are_each_found_in_every_order():
    first, second = row(1, "first"), row(2, "second")
    for rows in ([first, second], [second, first]):
        assert find_row(rows, "first", guess=1) is first
        assert find_row(rows, "second", guess=1) is second


def test_looking_slows_down_until_something_moves():
    pace = Pace()
    assert pace.interval(watched=True) == 0.15
    pace._since -= 20
    assert pace.interval(watched=True) == pytest.approx(1.6, abs=0.05)
    pace._since -= 1000
    assert pace.interval(watched=True) == 2.0
    assert pace.interval(watched=False) == 5.0
    pace.moved()
    assert pace.interval(watched=False) == 0.15
    assert pace.age < 1
