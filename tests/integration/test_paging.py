"""Lists on both databases: read page by page, each row exactly once, and by an index however long they are."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from structlog.testing import capture_logs

from app.audit import Trail
from app.errors import PortalError
from app.identity import Tokens
from app.observation.janitor import Janitor
from app.observation.leftovers import Leftovers
from app.stacks.model import EVERYBODY, Whose
from app.stacks.quotas import Quotas, count_stacks
from app.store import schema
from app.store.migrations import migrate
from app.store.paging import Page, PageRequest
from tests.integration.many_rows import (
    ADA,
    ADA_EMAIL,
    BOB,
    ManyRows,
    analyze,
    delete_row,
    erase_files,
    remove_stack,
)
from tests.integration.test_store import Store
from tests.unit.store.test_paging import cursor
from tests.waiting import until

pytestmark = pytest.mark.anyio

Read = Callable[[PageRequest], Awaitable[Page[Any]]]

SMALL, LARGE = 31, 4000
# Of a large store, what a page of 20 rows may look at.
MOST_ROWS = 400
# The same in instructions of SQLite's machine, of which kept files take three times as many a row; and after how many of
# them it is asked.
MOST_STEPS = 2500
_COUNTED = 10


class Lists(Store):
    """A store with every list that is read page by page."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.leftovers = Leftovers(self.database, self.records, first_pause=30, attempts=12)
        self.trail = Trail(self.database)
        self.tokens = Tokens(self.database)
        self.rows = ManyRows()
        self.stack_id = ""


@dataclass(frozen=True)
class Listed:
    """A list. read: a page of it; key: of an item; add: one more row at a time; remove: a row by its key."""

    read: Callable[[Lists], Read]
    key: Callable[[Any], Any]
    add: Callable[[Lists, int], Any]
    remove: Callable[[Lists, Any], Awaitable[None]] | None = None
    others: Callable[[Lists, int], Any] = field(default=lambda store, number: store.rows.stack(number, BOB))
    """Rows of the same table that are not on it."""


def _ids(view: Any) -> Any:
    return view.stack.id


async def _remove_deployment(store: Lists, key: str) -> None:
    await delete_row(store.database, schema.deployment, key)


async def _remove_stack(store: Lists, key: str) -> None:
    await remove_stack(store.database, key)


async def _erase(store: Lists, key: str) -> None:
    await erase_files(store.database, key)


async def _remove_leftover(store: Lists, key: str) -> None:
    await delete_row(store.database, schema.leftover, key)


async def _remove_token(store: Lists, key: str) -> None:
    await delete_row(store.database, schema.token, key)


def _gone(store: Lists, number: int) -> Any:
    return store.rows.stack(number, gone=True, name=f"gone-{number}")


def _history(store: Lists, number: int) -> Any:
    return store.rows.deployment(number, store.stack_id)


def _key_of_stack(store: Lists) -> Read:
    return lambda request: store.records.deployments_of(store.stack_id, request)


LISTS = {
    "stacks": Listed(
        lambda store: lambda request: store.records.stack_views(EVERYBODY, request),
        _ids,
        lambda store, number: store.rows.stack(number),
        _remove_stack,
        _gone,
    ),
    "stacks of an owner": Listed(
        lambda store: lambda request: store.records.stack_views(Whose(owner=ADA), request),
        _ids,
        lambda store, number: store.rows.stack(number),
        _remove_stack,
        lambda store, number: (_gone(store, number), store.rows.stack(number, BOB)),
    ),
    "kept files": Listed(
        lambda store: lambda request: store.records.kept_files(EVERYBODY, request),
        lambda kept: kept.stack_id,
        lambda store, number: store.rows.stack(number, kept=True),
        _erase,
        _gone,
    ),
    "kept files of an owner": Listed(
        lambda store: lambda request: store.records.kept_files(Whose(owner=ADA), request),
        lambda kept: kept.stack_id,
        lambda store, number: store.rows.stack(number, kept=True),
        _erase,
        lambda store, number: (
            store.rows.stack(number, BOB, kept=True),
            # Among those that left files: what an owner has had since without is gone through, too.
            _gone(store, number % LARGE),
        ),
    ),
    "deployments": Listed(
        lambda store: store.records.latest, lambda record: record.id, _history, _remove_deployment, lambda *_: None
    ),
    "deployments of a stack": Listed(_key_of_stack, lambda record: record.id, _history, _remove_deployment, _gone),
    "leftovers": Listed(
        lambda store: store.leftovers.page,
        lambda left: left.name,
        lambda store, number: store.rows.leftover(number) and f"v-{number}",
        None,
        lambda store, number: store.rows.leftover(5 * LARGE + number, removed=True),
    ),
    "leftovers, removed ones too": Listed(
        lambda store: lambda request: store.leftovers.page(request, removed=True),
        lambda left: left.name,
        lambda store, number: store.rows.leftover(number, removed=bool(number % 2)) and f"v-{number}",
        None,
        lambda *_: None,
    ),
    "audit": Listed(
        lambda store: store.trail.entries,
        lambda entry: entry.id,
        lambda store, number: store.rows.entry(number),
        None,
        lambda *_: None,
    ),
    "audit of a stack": Listed(
        lambda store: lambda request: store.trail.entries(request, stack="ada"),
        lambda entry: entry.id,
        lambda store, number: store.rows.entry(number),
        None,
        lambda store, number: store.rows.entry(number, stack="bob"),
    ),
    "audit of an actor": Listed(
        lambda store: lambda request: store.trail.entries(request, actor=ADA),
        lambda entry: entry.id,
        lambda store, number: store.rows.entry(number),
        None,
        lambda store, number: store.rows.entry(number, actor=BOB),
    ),
    "audit of an email address": Listed(
        lambda store: lambda request: store.trail.entries(request, actor=ADA_EMAIL),
        lambda entry: entry.id,
        lambda store, number: store.rows.entry(number, BOB),
        None,
        lambda store, number: store.rows.entry(number, email=None),
    ),
    "tokens": Listed(
        lambda store: lambda request: store.tokens.of(None, request),
        lambda token: token.id,
        lambda store, number: store.rows.token(number),
        _remove_token,
        lambda *_: None,
    ),
    "tokens of an owner": Listed(
        lambda store: lambda request: store.tokens.of(ADA, request),
        lambda token: token.id,
        lambda store, number: store.rows.token(number),
        _remove_token,
        lambda store, number: store.rows.token(number, BOB),
    ),
}


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Lists]:
    opened = Lists(any_database_url)
    await migrate(opened.database)
    opened.stack_id = opened.rows.stack(0, name="the-one", gone=True)
    # Its own deployment is on no list that a test looks at.
    opened.rows.rows[schema.deployment].clear()
    await opened.rows.write(opened.database)
    yield opened
    await opened.database.close()


async def walk(read: Read, limit: int, between: Callable[[], Awaitable[None]] | None = None) -> list[Page[Any]]:
    """Every page, one after another."""
    pages = [await read(PageRequest(limit))]
    while (following := pages[-1].next_cursor) is not None:
        if between is not None:
            await between()
        pages.append(await read(PageRequest(limit, following)))
    return pages


@pytest.mark.parametrize("name", LISTS)
async def test_walking_all_pages_gives_each_row_exactly_once_in_order(store: Lists, name: str):
    listed = LISTS[name]
    added = [listed.add(store, number) for number in range(SMALL)]
    await store.rows.write(store.database)
    for number in range(SMALL):
        listed.others(store, number)
    await store.rows.write(store.database)

    whole = await listed.read(store)(PageRequest(100))
    pages = await walk(listed.read(store), 7)

    assert sorted(map(listed.key, whole.items)) == sorted(added)
    assert [len(page.items) for page in pages] == [7, 7, 7, 7, 3]
    assert [item for page in pages for item in page.items] == list(whole.items)
    assert whole.next_cursor is None


@pytest.mark.parametrize("name", LISTS)
async def test_pages_lead_back_to_the_one_before(store: Lists, name: str):
    listed = LISTS[name]
    for number in range(SMALL):
        listed.add(store, number)
    await store.rows.write(store.database)
    read = listed.read(store)
    pages = await walk(read, 7)

    back = [pages[-1]]
    while back[-1].previous_cursor is not None:
        back.append(await read(PageRequest(7, back[-1].previous_cursor)))

    assert [page.items for page in reversed(back)] == [page.items for page in pages]
    assert back[-1].next_cursor == pages[0].next_cursor


@pytest.mark.parametrize("name", LISTS)
async def test_rows_that_come_and_go_between_pages_neither_repeat_nor_hide_another(store: Lists, name: str):
    listed = LISTS[name]
    stays = [listed.add(store, number) for number in range(SMALL)]
    await store.rows.write(store.database)
    read = listed.read(store)
    # The last of the page before, on which the cursor stands, and one that is still to come.
    order = [listed.key(item) for item in (await read(PageRequest(100))).items]
    going = iter([order[6], order[25], order[13], order[27]])
    more = iter(range(1000, 1100))

    async def between() -> None:
        for _ in range(2):
            listed.add(store, next(more))
        await store.rows.write(store.database)
        if listed.remove is not None and (key := next(going, None)) is not None:
            stays.remove(key)
            await listed.remove(store, key)

    seen = [listed.key(item) for page in await walk(read, 7, between) for item in page.items]

    assert len(seen) == len(set(seen))
    assert set(stays) <= set(seen)


async def test_a_page_before_the_first_rows_is_a_whole_first_page(store: Lists):
    for number in range(9):
        store.rows.token(number)
    await store.rows.write(store.database)
    first = await store.tokens.of(ADA, PageRequest(4))
    second = await store.tokens.of(ADA, PageRequest(4, first.next_cursor))
    for token in first.items[:3]:
        await delete_row(store.database, schema.token, token.id)

    again = await store.tokens.of(ADA, PageRequest(4, second.previous_cursor))

    assert [each.id for each in again.items] == [each.id for each in (*first.items[3:], *second.items[:3])]
    assert again.previous_cursor is None


async def test_a_list_that_is_empty_by_now_has_no_pages_beside_it(store: Lists):
    for number in range(5):
        store.rows.token(number)
    await store.rows.write(store.database)
    first = await store.tokens.of(ADA, PageRequest(4))
    last = await store.tokens.of(ADA, PageRequest(4, first.next_cursor))
    await delete_row(store.database, schema.token, last.items[0].id)

    assert await store.tokens.of(ADA, PageRequest(4, first.next_cursor)) == Page([])


# Hostile cursors


FAR = [0, -1, 10**18, 253_402_300_799_999_999, -62_135_596_800_000_000, 10**30, -(10**30)]
TEXTS = ["", "'", "\N{SNOWMAN}", "x" * 100, "%", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]
# Each in the places of a value of its list's order.
VALUES: dict[str, list[tuple[Any, ...]]] = {
    "stacks": [(moment, text) for moment in FAR for text in TEXTS],
    "deployments": [(text,) for text in TEXTS],
    "leftovers": [(moment, text, "volume") for moment in FAR for text in TEXTS],
}


@pytest.mark.parametrize("name", VALUES)
async def test_a_cursor_that_somebody_made_up_is_a_place_in_the_list_or_is_refused(store: Lists, name: str):
    read = LISTS[name].read(store)
    outcomes = set()
    for direction in ("next", "previous"):
        for values in VALUES[name]:
            try:
                page = await read(PageRequest(3, cursor([name, direction, *values])))
            except PortalError as error:
                outcomes.add(error.code)
            else:
                outcomes.add("read")
                assert not page.items
    assert outcomes <= {"read", "cursor_invalid"}
    assert "read" in outcomes


async def test_the_cursor_of_one_list_is_refused_by_every_other(store: Lists):
    for place, listed in enumerate(LISTS.values()):
        for number in range(4):
            listed.add(store, 10 * place + number)
        await store.rows.write(store.database)
    cursors = {name: (await listed.read(store)(PageRequest(2))).next_cursor for name, listed in LISTS.items()}

    refusals = 0
    for name, found in cursors.items():
        assert found is not None, name
        for other, listed in LISTS.items():
            if order_of(found) != order_of(cursors[other] or ""):
                refusals += 1
                with pytest.raises(PortalError, match="cursor_invalid"):
                    await listed.read(store)(PageRequest(2, found))
            else:
                await listed.read(store)(PageRequest(2, found))
    assert refusals > 100


def order_of(found: str) -> Any:
    """What a cursor says that it is of."""
    return json.loads(base64.urlsafe_b64decode(found + "=="))[0]


# Cost


def looks_at(store: Store, statements: Sequence[tuple[str, Any]]) -> Callable[[Connection], list[str]]:
    """What is wrong with how a database answers statements: more rows looked at than a page has, or all of them."""

    def sqlite(connection: Connection, statement: str, parameters: Any) -> Sequence[str]:
        plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        whole = [line for line in plan if line.startswith("SCAN ") and " INDEX " not in line and "(" not in line]
        # What belongs to the rows of a page may be sorted, but not a list to find a page of it.
        sorts = [line for line in plan if "TEMP B-TREE FOR ORDER BY" in line and " LIMIT " in statement]
        # And an index may be read in its order until a page is full, but not from end to end.
        steps = steps_of(connection, statement, parameters)
        most = MOST_STEPS * (3 if " JOIN resource" in statement else 1)
        return [*whole, *sorts, *([f"{steps} steps"] if steps > most else [])]

    def postgresql(connection: Connection, statement: str, parameters: Any) -> Sequence[str]:
        explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        answer: Any = connection.exec_driver_sql(explained, parameters).scalar()
        (found,) = json.loads(answer) if isinstance(answer, str) else answer
        return list(too_many(found["Plan"]))

    def too_many(node: dict[str, Any]) -> Any:
        if "Relation Name" in node:
            seen = sum(node.get(each, 0) for each in ("Actual Rows", "Rows Removed by Filter")) * node["Actual Loops"]
            if seen > MOST_ROWS:
                yield f"{node['Node Type']} on {node['Relation Name']}: {seen} rows"
        for each in node.get("Plans", ()):
            yield from too_many(each)

    def explain(connection: Connection) -> list[str]:
        how: Callable[[Connection, str, Any], Sequence[str]] = sqlite if store.database.is_sqlite else postgresql
        return [
            f"{line} | {statement}" for statement, values in statements for line in how(connection, statement, values)
        ]

    return explain


def steps_of(connection: Connection, statement: str, parameters: Any) -> int:
    """How many instructions of its machine SQLite takes for a statement: four or more for each row that it looks at."""
    driver: Any = connection.connection.driver_connection
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += _COUNTED

    driver.set_progress_handler(count, _COUNTED)
    try:
        connection.exec_driver_sql(statement, parameters).all()
    finally:
        driver.set_progress_handler(None, 0)
    return steps


async def test_an_index_that_is_read_from_end_to_end_is_seen(store: Lists):
    """On both databases; else the tests below prove nothing."""
    for number in range(LARGE // 4):
        store.rows.entry(number, stack="bob")
    await store.rows.write(store.database)
    await analyze(store.database)
    statement = "SELECT id FROM audit WHERE code = 'x' ORDER BY at, id LIMIT 20"

    (found, *_) = await store.database.read(looks_at(store, [(statement, ())]))

    assert "steps" in found if store.database.is_sqlite else "rows" in found


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_of_a_long_list_looks_at_few_rows(store: Lists, name: str):
    listed = LISTS[name]
    for number in range(LARGE // 4):
        listed.add(store, number)
        for of_others in range(3):
            listed.others(store, number + of_others * LARGE)
    await store.rows.write(store.database)
    await analyze(store.database)
    read = listed.read(store)
    first = await read(PageRequest())
    deep = await read(PageRequest(100, first.next_cursor))
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await read(PageRequest())
        await read(PageRequest(20, deep.next_cursor))
        await read(PageRequest(20, deep.previous_cursor))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert len(asked) >= 3
    assert await store.database.read(looks_at(store, asked)) == []


@pytest.mark.parametrize("what", ["stacks of an owner", "deployments of an owner", "files of a name", "lately gone"])
async def test_past_stacks_of_an_owner_cost_nothing(store: Lists, what: str):
    """Counting an owner's stacks, at each deployment; and finding what is kept under a name, at each of its pages."""
    for number in range(LARGE // 2):
        store.rows.stack(number, gone=True, name=f"gone-{number}")
    for number in range(5):
        store.rows.stack(number, kept=True)
        store.rows.stack(number, name=f"here-{number}")
    await store.rows.write(store.database)
    await analyze(store.database)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        if what == "stacks of an owner":
            assert await store.database.read(lambda connection: count_stacks(connection, ADA)) == 5
        elif what == "deployments of an owner":
            quotas = Quotas(in_flight_per_owner=1)
            await store.database.read(lambda connection: quotas.check_deployment(connection, ADA, is_operator=False))
        elif what == "files of a name":
            assert len(await store.records.kept_under("ada-3", Whose(owner=ADA))) == 1
        else:
            assert len(await store.records.lately_gone(Whose(owner=ADA), limit=5)) == 5
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert await store.database.read(looks_at(store, asked)) == []
    assert not [
        line
        for line in await store.database.read(plans(store, asked))
        if "ix_stack_owner " in line or ("ix_stack_gone_owner" in line and what == "files of a name")
    ]


def plans(store: Store, statements: Sequence[tuple[str, Any]]) -> Callable[[Connection], list[str]]:
    """How SQLite finds rows; PostgreSQL has said how many it looks at."""

    def explain(connection: Connection) -> list[str]:
        return [
            str(row[3])
            for statement, values in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]

    return explain if store.database.is_sqlite else lambda _: []


async def test_what_is_due_is_found_among_many_that_are_not(store: Lists):
    for number in range(LARGE // 8):
        store.rows.leftover(number, attempts=12)
        store.rows.leftover(LARGE + number, removed=True)
    (late, _) = store.rows.leftover(2 * LARGE, attempts=11)
    (due, _) = store.rows.leftover(2 * LARGE + 1, attempts=1)
    await store.rows.write(store.database)
    await analyze(store.database)

    found = await store.leftovers.due()

    assert {each.id for each in found} == {late, due}
    assert len(await store.leftovers.stuck()) == LARGE // 8


async def test_every_leftover_that_needs_an_operator_is_logged_once_however_many_there_are(store: Lists):
    many = 150
    for number in range(many):
        store.rows.leftover(number, attempts=12)
    await store.rows.write(store.database)
    looks = 0

    def may_act() -> bool:
        nonlocal looks
        looks += 1
        return True

    with capture_logs() as logs:
        janitor = Janitor(store.leftovers, store.operations.retry_removal, first_pause=0.02, may_act=may_act)
        running = asyncio.create_task(janitor.run())
        await until(lambda: looks >= 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    told = [each["name"] for each in logs if each["event"] == "leftover_needs_operator"]
    assert sorted(told) == sorted(f"v-{number}" for number in range(many))


async def test_what_has_waited_longest_is_retried_first_a_few_at_a_time(store: Lists):
    ids = [store.rows.leftover(number)[0] for number in range(0, 30, 3)]
    await store.rows.write(store.database)

    found = await store.leftovers.due(limit=4)

    assert {each.id for each in found} == set(ids[:4])


async def test_a_pause_is_waited_out(store: Lists):
    patient = Leftovers(store.database, store.records, first_pause=timedelta(days=3650).total_seconds(), attempts=12)
    store.rows.leftover(1)
    await store.rows.write(store.database)

    assert await patient.due() == []
    assert await patient.hurry() == 1
    assert len(await patient.due()) == 1
