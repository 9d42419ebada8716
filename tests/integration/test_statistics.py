"""What the record says of the portal as a whole, on both databases: counted by the day in UTC, and from an index."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, event, insert, text
from sqlalchemy.engine import make_url
from ulid import ULID

from app.operations.create import CREATE
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.table import OPERATIONS
from app.reporting.statistics import DAYS, SAMPLE, Day, Overview, Statistics
from app.stacks.queries import Records
from app.store import schema
from app.store.engine import Database
from app.store.migrations import migrate
from app.store.paging import PageRequest

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 9, 20, 30, tzinfo=UTC)
FIRST = datetime(2026, 11, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class History:
    """A record that is written straight into the tables, with whatever times a test wants."""

    database: Database

    async def write(self, table: Table, *rows: dict[str, Any]) -> None:
        await self.database.write(lambda connection: connection.execute(insert(table), list(rows)))

    async def stack(self, *, removed: bool = False) -> str:
        stack_id = str(ULID())
        row = {
            "id": stack_id,
            "name": stack_id[-12:].lower(),
            "owner": "browser:ada",
            "template": "opencode",
            "plan": {},
            "manage_key_hash": "",
            "secrets": b"",
            "created_at": FIRST,
            "removed_at": NOW if removed else None,
        }
        await self.write(schema.stack, row)
        return stack_id

    async def deployment(
        self,
        conclusion: str | None = "succeeded",
        ended: datetime = NOW - MINUTE,
        *,
        kind: str = CREATE.kind,
        seconds: Sequence[float] = (),
        stack_id: str | None = None,
        events: Sequence[str] = ("deployment_queued",),
        **values: Any,
    ) -> str:
        """Enter one. seconds: how long its steps took, of which the first began with it; events: their keys."""
        at = ended - timedelta(seconds=sum(seconds))
        deployment_id = str(ULID.from_datetime(at))
        row = {
            "id": deployment_id,
            "stack_id": stack_id or await self.stack(removed=True),
            "name": "ada",
            "kind": kind,
            "trigger": "user",
            "actor": "browser:ada",
            "options": {},
            "plan": {},
            "created_at": at,
            "started_at": at,
            "concluded_at": ended if conclusion else None,
            "status": "completed" if conclusion else "deploy",
            "conclusion": conclusion,
            "leftovers": [],
            "last_event": len(events),
        }
        await self.write(schema.deployment, {**row, **values})
        steps = []
        for place, name in enumerate(OPERATIONS[kind].step_names):
            took = seconds[place] if place < len(seconds) else None
            began, at = at, at + timedelta(seconds=took or 0)
            steps.append(
                {
                    "deployment_id": deployment_id,
                    "name": name,
                    "place": place,
                    "state": "pending" if took is None else "succeeded",
                    "attempts": 1,
                    "started_at": None if took is None else began,
                    "concluded_at": None if took is None else at,
                    "output": {},
                }
            )
        await self.write(schema.step, *steps)
        rows = [
            {
                "deployment_id": deployment_id,
                "n": n,
                "at": at,
                "type": key.partition(".")[0],
                "key": key,
                "params": {},
                "status": "deploy",
                "undoing": False,
            }
            for n, key in enumerate(events, 1)
        ]
        await self.write(schema.event, *rows)
        return deployment_id

    async def leftover(self, stack_id: str, deployment_id: str, *, removed: bool = False) -> None:
        row = {
            "stack_id": stack_id,
            "kind": "volume",
            "name": "v",
            "code": "still_in_use",
            "attempts": 1,
            "deployment_id": deployment_id,
            "left_at": NOW,
            "tried_at": NOW,
            "removed_at": NOW if removed else None,
        }
        await self.write(schema.leftover, row)

    async def overview(self, at: datetime = NOW) -> Overview:
        return await Statistics(self.database).overview(at)


@pytest.fixture
async def history(any_database_url: str) -> AsyncIterator[History]:
    database = Database(any_database_url)
    await migrate(database)
    yield History(database)
    await database.close()


async def test_an_empty_portal_has_nothing_to_tell(history: History):
    overview = await history.overview()

    assert overview.is_empty
    assert [day.day for day in overview.days] == [date(2026, 11, 8) + timedelta(days=each) for each in range(DAYS)]
    assert overview.finished == overview.all_stacks == overview.waiting == overview.measured == 0
    assert (overview.success, overview.seconds) == (None, None)
    assert not overview.steps


async def test_days_are_those_of_utc_and_only_the_last(history: History):
    await history.deployment("succeeded", FIRST)
    await history.deployment("failed", FIRST - timedelta(microseconds=1))
    await history.deployment("failed", datetime(2026, 11, 8, 23, 59, 59, 999_999, tzinfo=UTC))
    await history.deployment("canceled", datetime(2026, 11, 9, tzinfo=UTC))
    await history.deployment("succeeded", NOW)
    await history.deployment("succeeded", NOW - MINUTE)
    await history.deployment("succeeded", NOW + MINUTE)
    # Neither new stacks nor ended.
    await history.deployment("succeeded", NOW - MINUTE, kind=REMOVE.kind)
    await history.deployment("failed", NOW - MINUTE, kind=REDEPLOY.kind)
    await history.deployment(None, NOW - MINUTE)

    overview = await history.overview()

    told = [day for day in overview.days if day.ended]
    assert told == [
        Day(date(2026, 11, 8), succeeded=1, failed=1),
        Day(date(2026, 11, 9), canceled=1),
        Day(date(2026, 11, 21), succeeded=2),
    ]
    assert overview.finished == 5
    assert overview.success == pytest.approx(0.6)
    assert not overview.is_empty


async def test_days_are_those_of_utc_wherever_postgresql_thinks_it_is(postgres_url: str):
    first = Database(postgres_url)
    await migrate(first)
    name = make_url(postgres_url).database
    await first.write(lambda each: each.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Pacific/Auckland'")))
    await first.close()
    database = Database(postgres_url)
    try:
        assert await database.read(lambda each: each.scalar(text("SHOW timezone"))) == "Pacific/Auckland"
        history = History(database)
        await history.deployment("succeeded", datetime(2026, 11, 20, 23, 59, tzinfo=UTC))

        overview = await history.overview()
    finally:
        await database.close()

    assert [day.day for day in overview.days if day.ended] == [date(2026, 11, 20)]


async def test_how_long_it_takes(history: History):
    for seconds in (10, 20, 40):
        await history.deployment(seconds=[1, 2, 3, 4, 5, seconds, 6])
    # What has not succeeded says nothing of it, nor what is long ago.
    await history.deployment("failed", seconds=[1000] * 7)
    await history.deployment(None, seconds=[1000])
    await history.deployment("succeeded", FIRST - MINUTE, seconds=[1000] * 7)
    await history.deployment("succeeded", kind=REDEPLOY.kind, seconds=[1000] * 6)

    overview = await history.overview()

    assert overview.seconds == pytest.approx(41)
    assert overview.measured == 3
    assert [step.name for step in overview.steps] == list(CREATE.step_names)
    times = {step.name: (step.median, step.slow) for step in overview.steps}
    assert times["validate"] == pytest.approx((1, 1))
    assert times["deploy"] == pytest.approx((20, 38))


async def test_one_alone_is_its_own_median(history: History):
    await history.deployment(seconds=[1, 2, 3, 4, 5, 60, 6])

    overview = await history.overview()

    assert overview.seconds == pytest.approx(81)
    assert [(step.median, step.slow) for step in overview.steps if step.name == "deploy"] == [pytest.approx((60, 60))]


async def test_a_sample_of_the_newest_is_measured(history: History):
    stack_id = await history.stack(removed=True)
    for number in range(SAMPLE + 5):
        is_newest = number < SAMPLE
        ended = NOW - MINUTE * (1 if is_newest else 60) - timedelta(milliseconds=number)
        await history.deployment(ended=ended, seconds=[1 if is_newest else 1000], stack_id=stack_id)

    overview = await history.overview()

    assert overview.measured == SAMPLE
    assert overview.finished == SAMPLE + 5
    (step,) = overview.steps
    assert (step.name, round(step.slow, 3)) == ("validate", 1)


async def test_the_states_of_stacks(history: History):
    async def of(*deployments: tuple[str, str | None], undoing: bool = False, removed: bool = False) -> str:
        stack_id = await history.stack(removed=removed)
        for place, (kind, conclusion) in enumerate(deployments):
            newest = await history.deployment(
                conclusion, NOW - MINUTE * (10 - place), kind=kind, stack_id=stack_id, undoing=undoing
            )
        self_left[stack_id] = newest
        return stack_id

    self_left: dict[str, str] = {}
    made = (CREATE.kind, "succeeded")
    await of(made)
    await of(made, (REDEPLOY.kind, "succeeded"))
    await of((CREATE.kind, None))
    await of(made, (REDEPLOY.kind, None))
    await of((CREATE.kind, None), undoing=True)
    await of(made, (REMOVE.kind, None))
    await of(made, (REDEPLOY.kind, "failed"))
    await of(made, (REMOVE.kind, "succeeded"), removed=True)
    for deployments in ([(CREATE.kind, "failed")], [made, (REMOVE.kind, "failed")]):
        stack_id = await of(*deployments)
        await history.leftover(stack_id, self_left[stack_id])
    # Being tried again.
    stack_id = await of((CREATE.kind, "failed"), (REMOVE.kind, None))
    await history.leftover(stack_id, self_left[stack_id])
    # Gone by now, and deployed again.
    stack_id = await of(made)
    await history.leftover(stack_id, self_left[stack_id], removed=True)

    overview = await history.overview()

    assert overview.stacks == {"running": 3, "deploying": 2, "undoing": 1, "removing": 2, "failed": 1, "left": 2}
    assert overview.all_stacks == 11


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        (["deployment_queued", "queue_position"], True),
        (["deployment_queued", "queue_position", "queue_slow"], True),
        (["deployment_queued", "queue_position", "container_running"], False),
        (["deployment_queued", "deployment_started"], False),
    ],
)
async def test_who_waits_in_dokploys_line(history: History, events: list[str], waits: bool):
    await history.deployment(None, events=events)
    await history.deployment("canceled", events=events)

    assert (await history.overview()).waiting == int(waits)


async def test_who_waits_for_the_portal(history: History):
    await history.deployment(None, status="queued")
    await history.deployment(None, status="queued", kind=REMOVE.kind)

    assert (await history.overview()).waiting == 2


async def test_the_newest_deployments_come_first(history: History):
    for number in range(12):
        await history.deployment(ended=NOW - MINUTE * number, name=f"ada-{number}")
    failed = await history.deployment("failed", NOW + MINUTE, seconds=[1, 2, 3])

    latest = (await Records(history.database).latest(PageRequest(10))).items

    assert [each.name for each in latest] == ["ada", *(f"ada-{number}" for number in range(9))]
    assert (latest[0].id, latest[0].kind, latest[0].conclusion) == (failed, CREATE.kind, "failed")
    assert [step.state for step in latest[0].steps] == ["succeeded"] * 3 + ["pending"] * 4


async def test_times_of_steps_are_read_again_once_one_more_creation_has_ended(history: History):
    statistics = Statistics(history.database)
    await history.deployment(seconds=[1] * 7)
    read: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM step" in statement:
            read.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        first = await statistics.overview(NOW)
        again = await statistics.overview(NOW)
        assert (first, len(read)) == (again, 1)
        await history.deployment(seconds=[3] * 7, ended=NOW)
        after = await statistics.overview(NOW)
        assert (await statistics.overview(NOW + timedelta(days=30))).measured == 0
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert (first.measured, after.measured) == (1, 2)
    assert [step.median for step in after.steps] == [2.0] * 7


async def test_no_table_is_read_from_end_to_end(database_url: str):
    """However long the record is. PostgreSQL plans by what it knows of the rows, so SQLite is asked."""
    database = Database(database_url)
    await migrate(database)
    asked: list[tuple[str, Any]] = []
    engine = database._backend._reader._engine  # type: ignore[union-attr]

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    history = History(database)
    await history.deployment(seconds=[1] * 7)
    await history.overview()
    await Records(database).latest(PageRequest(10))
    event.remove(engine, "before_cursor_execute", note)

    def explain(connection: Connection) -> list[list[Any]]:
        return [list(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asks}", values)) for asks, values in asked]

    plans = await database.read(explain)
    await database.close()

    lines = [str(row[3]) for plan in plans for row in plan]
    assert len(plans) > 5
    assert (
        "SEARCH deployment USING COVERING INDEX ix_deployment_ended (kind=? AND concluded_at>? AND concluded_at<?)"
        in lines
    )
    # What is gone through whole is an index of what there is now, or is left after ten rows.
    assert {line for line in lines if line.startswith("SCAN ")} == {
        "SCAN stack USING INDEX ix_stack_held",
        "SCAN deployment USING INDEX ix_deployment_open",
        "SCAN deployment USING INDEX sqlite_autoindex_deployment_1",
    }
