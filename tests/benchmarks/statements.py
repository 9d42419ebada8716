"""Notes every statement that is sent to a store, and says which of them go through a whole table."""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

_TIMES = 3
# What is looked at of a table for a page, in the order of an index.
_PAGE_ROWS = 500
# Lists of values have as many places as there are values, and are one statement all the same.
_PLACES = re.compile(r"\((?:(?:\?|\$\d+(?:::\w+)?)(?:, )?)+\)")


@dataclass
class Statement:
    """A statement with the first parameters it came with. users: what sent it."""

    text: str
    parameters: Sequence[Any]
    users: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """The same for statements that differ only in how many values are on a list."""
        return _PLACES.sub("(...)", " ".join(self.text.split()))

    @property
    def in_short(self) -> str:
        """The statement without the columns that it reads."""
        return re.sub(r"\bSELECT (?:(?!\bSELECT\b|\bFROM\b).)* FROM\b", "SELECT ... FROM", self.kind)


class Recorder:
    """Notes the statements of this process from the moment it is made until it is closed."""

    def __init__(self) -> None:
        self._noted: dict[str, Statement] = {}
        event.listen(Engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        if text not in self._noted:
            given = parameters[0] if many else parameters
            # A view of bytes cannot be sent to another process.
            plain = tuple(bytes(each) if isinstance(each, memoryview) else each for each in given)
            self._noted[text] = Statement(text, plain)

    def take(self) -> list[Statement]:
        """Return what was noted since the last time."""
        noted, self._noted = self._noted, {}
        return list(noted.values())

    def close(self) -> None:
        """Note nothing more."""
        event.remove(Engine, "before_cursor_execute", self._note)


@dataclass(frozen=True)
class Reading:
    """How a store carries a statement out. plan: how it finds rows; is_whole: whether it goes through a big table."""

    statement: Statement
    plan: tuple[str, ...]
    is_whole: bool
    milliseconds: float


def readings(statements: Collection[Statement], database_url: str, big: Collection[str]) -> list[Reading]:
    """Have a store explain statements, and time them; those that take longest first. big: the tables to look for.

    Processor time on SQLite, the server's own clock on PostgreSQL. What a statement changes is rolled back.
    """
    if database_url.startswith("sqlite"):
        found = list(_sqlite_readings(statements, Path(database_url.partition(":///")[2]), big))
    else:
        found = asyncio.run(_postgresql_readings(statements, database_url, big))
    return sorted(found, key=lambda each: each.milliseconds, reverse=True)


def _sqlite_readings(statements: Collection[Statement], path: Path, big: Collection[str]) -> Iterator[Reading]:
    connection = sqlite3.connect(path, isolation_level=None)
    # What they have is few, however large their tables are.
    partial = {
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '% INDEX % WHERE %'")
    }
    for each in statements:
        if not _is_plain(each):
            continue
        plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {each.text}", each.parameters)]
        # In the order of an index, and to a limit, it goes on only until a page is full.
        in_order = " LIMIT " in each.text and not any("TEMP B-TREE FOR ORDER BY" in detail for detail in plan)
        scans = [
            detail
            for detail in plan
            if detail.startswith("SCAN ") and not (in_order and " INDEX " in detail) and not partial & {*detail.split()}
        ]
        took = []
        for _ in range(_TIMES):
            connection.execute("BEGIN")
            began = time.process_time()
            # A change may come up against what it has left itself: that has its cost, too.
            with suppress(sqlite3.IntegrityError):
                connection.execute(each.text, each.parameters).fetchall()
            took.append(1000 * (time.process_time() - began))
            connection.execute("ROLLBACK")
        is_whole = any(re.sub(r"_\d+$", "", detail.split()[1]) in big for detail in scans)
        yield Reading(each, tuple(detail for detail in plan if _names(detail, big)), is_whole, min(took))
    connection.close()


def _names(detail: str, big: Collection[str]) -> bool:
    """Whether a line of SQLite's plan is about a big table."""
    how, _, rest = detail.partition(" ")
    return how in {"SCAN", "SEARCH"} and re.sub(r"_\d+$", "", rest.split()[0]) in big


async def _postgresql_readings(
    statements: Collection[Statement], database_url: str, big: Collection[str]
) -> list[Reading]:
    import asyncpg

    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    found = []
    for each in statements:
        if not _is_plain(each):
            continue
        plan: Mapping[str, Any] = {}
        took = []
        for _ in range(_TIMES):
            transaction = connection.transaction()
            await transaction.start()
            with suppress(asyncpg.IntegrityConstraintViolationError):
                explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {each.text}"
                (answer,) = json.loads(await connection.fetchval(explained, *each.parameters))
                plan = answer["Plan"]
                took.append(answer["Execution Time"])
            await transaction.rollback()
        nodes = list(_nodes(plan, big))
        is_whole = any(detail.startswith("SCAN ") for detail in nodes)
        found.append(Reading(each, tuple(nodes), is_whole, min(took, default=0.0)))
    await connection.close()
    return found


def _nodes(node: Mapping[str, Any], big: Collection[str]) -> Iterator[str]:
    """Say how a plan finds rows of big tables, in SQLite's words."""
    if node.get("Relation Name") in big:
        index = f" USING INDEX {node['Index Name']}" if "Index Name" in node else ""
        seen = sum(node.get(each, 0) for each in ("Actual Rows", "Rows Removed by Filter")) * node.get(
            "Actual Loops", 1
        )
        is_search = seen <= _PAGE_ROWS or (index and "Index Cond" in node) or node["Node Type"] == "Bitmap Heap Scan"
        how = "SEARCH" if is_search else "SCAN"
        if node["Node Type"] != "ModifyTable":
            yield f"{how} {node['Relation Name']}{index}"
    for each in node.get("Plans", ()):
        yield from _nodes(each, big)


def _is_plain(statement: Statement) -> bool:
    """Whether it reads or writes rows, and calls nothing that holds others up."""
    how = statement.text.split(None, 1)[0].upper()
    return how in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"} and "pg_" not in statement.text
