"""What a sweep costs on both databases: each statement finds its rows by an index, and deletes them without a search."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from app.observation.retention import Retention
from app.store.dialects import metadata
from tests.integration.test_retention import EVERYTHING
from tests.integration.test_store import Store
from tests.integration.test_sweeps import fill


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


# Tables with few rows: those of processes, and one a kind of sweep.
SMALL: Final = {"retention", "worker", "installation"}
# On PostgreSQL, partial indexes that it takes whole in tables as small as these; its statistics tell it better later, and
# how much it knows by now is a matter of when it last looked. Of what is open there is never much.
SMALL_ON_POSTGRESQL: Final = {"ix_resource_kept", "uq_deployment_stack_open"}
# Partial indexes whose every row is one that is wanted.
WHOLE: Final = {"uq_stack_name_held", "ix_stack_unerased", "ix_leftover_due", "ix_leftover_left"}


@pytest.mark.anyio
async def test_no_statement_of_a_sweep_reads_a_large_table_from_end_to_end(store: Store):
    await fill(store)
    with statements() as asked:
        await Retention(store.database, EVERYTHING, may_act=lambda: True).sweep()
        await Retention(store.database, EVERYTHING, may_act=lambda: True).claim()
    plain = [each for each in asked if re.match(r"SELECT|UPDATE|DELETE", each[0])]
    assert len({statement for statement, _ in plain}) > 20

    for statement, parameters in dict(plain).items():
        found = await store.database.read(partial(plan_of, statement, parameters))
        assert unindexed(found) == [], f"{statement}\n{found}"


def plan_of(statement: str, parameters: Any, connection: Connection) -> str:
    explain = "EXPLAIN QUERY PLAN"
    if connection.dialect.name == "postgresql":
        # A small table is read whole, as that is quicker; with this only where no index would do.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN"
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters).all())


def unindexed(plan: str) -> list[str]:
    """What a plan reads from end to end."""
    # SQLite: SCAN, and by which index where it is one; PostgreSQL: an index without a condition is one read whole.
    whole = [
        (match["table"], match["index"])
        for match in re.finditer(
            r"^SCAN (?P<table>\w+)(?: USING (?:COVERING )?INDEX (?P<index>\w+))?", plan, re.MULTILINE
        )
        if match["table"] != "CONSTANT"
    ]
    whole += [(match["table"], None) for match in re.finditer(r"Seq Scan on (?P<table>\w+)", plan)]
    lines = plan.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        match = re.search(r"Index (?:Only )?Scan(?: Backward)? using (?P<index>\w+) on (?P<table>\w+)", line)
        if match and "Index Cond" not in following and match["index"] not in SMALL_ON_POSTGRESQL:
            whole.append((match["table"], match["index"]))
    found = [f"{table} {index}" for table, index in whole if table not in SMALL and index not in WHOLE]
    # An index of two columns of which only the first is asked for, which is the same in most rows. PostgreSQL knows how
    # many those are, and takes any in a table as small as these.
    kinds = [line for line in lines if "(kind=?)" in line]
    return found + kinds


def test_every_reference_to_another_row_leads_an_index():
    """Else deleting that row reads the whole table that refers to it."""
    for table in metadata.sorted_tables:
        leading = {next(iter(index.columns)).name for index in table.indexes} | {next(iter(table.primary_key)).name}
        for column in table.columns:
            assert not column.foreign_keys or column.name in leading, f"{table.name}.{column.name}"
