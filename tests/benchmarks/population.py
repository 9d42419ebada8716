"""Fills a store with clones of a few histories: fresh ids, names, owners and times, spread over a year."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import JSON, Column, Table
from ulid import ULID

from app.store.dialects import Moment, metadata
from app.store.engine import Database
from app.store.migrations import migrate
from tests.benchmarks.histories import GONE, KEPT, LEFT, STANDING, Rows, name_of

_YEAR: Final = timedelta(days=365)
_CHUNK: Final = 500
# A small store has as much on the first page of a list as a large one.
_FULL_PAGE: Final = 60
# Of the tables that belong to no stack: rows that are there once, rows of processes, and rows that are people's.
_NOT_COPIED: Final = frozenset({"worker", "account", "session", "token", "retention"})
# So many standing stacks are one owner's: the one whose lists are measured.
_OWNED: Final = 30
_STACKS_PER_OWNER: Final = 20
_TOKENS, _SESSIONS = 50, 100
# A real Dokploy takes its time, with more to tell of than the emulator: so many more events of each that it deploys.
_MORE_EVENTS: Final = 10


@dataclass(frozen=True)
class Size:
    """How large a store is. standing: stacks that are there; kept: of those that are gone, how many left files."""

    deployments: int

    @property
    def stacks(self) -> int:
        return self.deployments // 2

    @property
    def standing(self) -> int:
        return min(300, self.stacks * 3 // 10)

    @property
    def kept(self) -> int:
        return max(self.stacks // 10, min(_FULL_PAGE, self.stacks * 3 // 10))

    @property
    def share(self) -> int:
        """One of so many stacks is the measured owner's."""
        return max(1, self.standing // _OWNED)


@dataclass(frozen=True)
class Example:
    """A stack of the owner whose lists are measured. deployments: the ids of its deployments, the oldest first."""

    name: str
    deployments: Sequence[str]


@dataclass
class Population:
    """What a store was filled with. examples: the last stack of the measured owner with each history."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)


# How one value of a row comes from that of the row that it is cloned from.
_KEEP, _TEXT, _ID, _HASH, _MOMENT = range(5)


class _History:
    """The rows of one stack, ready to be cloned."""

    def __init__(self, rows: Rows, name: str, account_id: str) -> None:
        (stack,) = (row for row in rows["stack"] if row["name"] == name)
        deployments = {row["id"] for row in rows["deployment"] if row["stack_id"] == stack["id"]}
        rows = {**rows, **_with_more_events(rows, deployments)}
        self.name, self.account_id = name, account_id
        self.began: datetime = stack["created_at"]
        ids = {stack["id"], *deployments}
        self.ids = {stack["id"]: stack["created_at"]} | {
            row["id"]: row["created_at"] for row in rows["deployment"] if row["id"] in deployments
        }
        self.deployments = sorted(deployments)
        self.rows: list[tuple[Table, list[list[tuple[int, Any]]]]] = []
        for table in metadata.sorted_tables:
            of_it = [row for row in rows[table.name] if _belongs(table, row, ids, name)]
            if of_it:
                # A line of the trail has an id that nothing else names.
                if table.name == "audit":
                    self.ids |= {row["id"]: row["at"] for row in of_it}
                self.rows.append((table, [[self._cell(column, row) for column in table.columns] for row in of_it]))

    def _cell(self, column: Column[Any], row: dict[str, Any]) -> tuple[int, Any]:
        value = row[column.name]
        if value is None:
            # SQLAlchemy writes no JSON null into these columns.
            return _KEEP, None
        if isinstance(column.type, JSON):
            value = json.dumps(value)
        if isinstance(column.type, Moment):
            return _MOMENT, value
        if column.name.endswith("hash"):
            return _HASH, value
        if value in self.ids:
            return _ID, value
        if isinstance(value, str) and any(each in value for each in (self.name, self.account_id, *self.ids)):
            return _TEXT, value
        return _KEEP, value


def _with_more_events(rows: Rows, deployments: set[str]) -> Rows:
    """Events in which the first word of progress is there several times, and deployments that count them."""
    events: list[dict[str, Any]] = []
    last = dict.fromkeys(deployments, 0)
    repeated: set[str] = set()
    for row in sorted(rows["event"], key=lambda row: (row["deployment_id"], row["n"])):
        deployment_id = row["deployment_id"]
        if deployment_id not in deployments:
            continue
        times = 1
        if row["type"] == "progressed" and deployment_id not in repeated:
            times += _MORE_EVENTS
            repeated.add(deployment_id)
        for _ in range(times):
            last[deployment_id] += 1
            events.append({**row, "n": last[deployment_id]})
    of_it = [{**row, "last_event": last[row["id"]]} for row in rows["deployment"] if row["id"] in deployments]
    return {"event": events, "deployment": of_it}


def _belongs(table: Table, row: dict[str, Any], ids: set[str], name: str) -> bool:
    if table.name == "stack":
        return row["id"] in ids
    if table.name == "audit":
        return bool(row["stack"] == name)
    return bool({row.get("stack_id"), row.get("deployment_id")} & ids)


class _Writer(Protocol):
    """Writes rows in bulk."""

    async def write(self, table: Table, rows: Sequence[Sequence[Any]]) -> None: ...

    def moment(self, value: datetime) -> Any: ...

    async def close(self) -> None: ...


class _SqliteWriter:
    """Writes rows into a SQLite file."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.partition(":///")[2])
        self._connection.execute("PRAGMA synchronous=OFF")

    async def write(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join("?" * len(table.columns))
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({places})"
        self._connection.executemany(statement, rows)

    def moment(self, value: datetime) -> Any:
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")

    async def close(self) -> None:
        self._connection.commit()
        self._connection.close()


class _PostgresWriter:
    """Writes rows into PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    async def write(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        if self._connection is None:
            import asyncpg

            self._connection = await asyncpg.connect(self._url.replace("+asyncpg", ""))
        names = [column.name for column in table.columns]
        await self._connection.copy_records_to_table(table.name, records=rows, columns=names)

    def moment(self, value: datetime) -> Any:
        return value

    async def close(self) -> None:
        # As the server does by itself after a while.
        await self._connection.execute("VACUUM ANALYZE")
        await self._connection.close()


def populate(url: str, rows: Rows, size: Size, *, seed: int) -> Population:
    """Create the schema and fill it."""
    return asyncio.run(_populate(url, rows, size, random.Random(seed)))


async def _populate(url: str, rows: Rows, size: Size, chance: random.Random) -> Population:
    database = Database(url)
    await migrate(database)
    await database.close()
    writer: _Writer = _SqliteWriter(url) if url.startswith("sqlite") else _PostgresWriter(url)
    filling = _Filling(rows, size, chance, writer)
    for table in metadata.sorted_tables:
        if table.name not in _NOT_COPIED and not _of_stacks(table):
            plain = [[_plain(row[column.name], column, writer) for column in table.columns] for row in rows[table.name]]
            await filling.write(table, plain)
    await filling.people()
    await filling.stacks()
    await writer.close()
    return filling.population


def _of_stacks(table: Table) -> bool:
    return table.name in {"stack", "audit"} or bool({"stack_id", "deployment_id"} & set(table.columns.keys()))


def _plain(value: Any, column: Column[Any], writer: _Writer) -> Any:
    if value is None:
        return None
    if isinstance(column.type, Moment):
        return writer.moment(value)
    return json.dumps(value) if isinstance(column.type, JSON) else value


class _Filling:
    """One store while it is filled."""

    def __init__(self, rows: Rows, size: Size, chance: random.Random, writer: _Writer) -> None:
        self._rows, self._size, self._chance, self._writer = rows, size, chance, writer
        self._now = datetime.now(UTC)
        self._owner: dict[str, Any] = next(row for row in rows["account"] if row["subject"] == "owner")
        others = max(1, size.stacks // _STACKS_PER_OWNER)
        self._others = [self._id(self._now - _YEAR) for _ in range(others)]
        self.population = Population()

    async def write(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, and count them."""
        if rows:
            await self._writer.write(table, rows)
            counts = self.population.counts
            counts[table.name] = counts.get(table.name, 0) + len(rows)

    def _id(self, at: datetime) -> str:
        return str(ULID.from_bytes(int(at.timestamp() * 1000).to_bytes(6, "big") + self._chance.randbytes(10)))

    def _hash(self) -> str:
        return self._chance.randbytes(32).hex()

    async def people(self) -> None:
        """Accounts, with tokens and sessions: as many for the measured owner as there may be, a few for others."""
        seed, tables = self._owner, metadata.tables
        others = [
            {**seed, "id": each, "subject": f"user-{number}", "email": f"user-{number}@example.com"}
            for number, each in enumerate(self._others)
        ]
        await self._write_rows(tables["account"], [seed, *others])
        owners = [seed["id"]] * _TOKENS + self._others
        (token,), (session,) = self._rows["token"], self._rows["session"]
        fresh = {"created_at": self._now, "expires_at": self._now + timedelta(days=30)}
        tokens = ({**token, "owner": f"account:{each}"} for each in owners)
        sessions = ({**session, "account_id": each, "bound_to": None} for each in [seed["id"]] * _SESSIONS + owners)
        for table, clones in ((tables["token"], tokens), (tables["session"], sessions)):
            await self._write_rows(
                table, [{**row, **fresh, "id": self._id(self._now), "hash": self._hash()} for row in clones]
            )

    async def _write_rows(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        columns = list(table.columns)
        plain = [[_plain(row[column.name], column, self._writer) for column in columns] for row in rows]
        await self.write(table, plain)

    def _plan(self) -> Iterator[str]:
        """Which history each stack has, the oldest first."""
        gone = [share.history for share in GONE for _ in range(share.parts)]
        size = self._size
        histories = [STANDING[number % 2] for number in range(size.standing - 2)] + [LEFT] * 2 + [KEPT] * size.kept
        histories += [gone[number % len(gone)] for number in range(size.stacks - len(histories))]
        self._chance.shuffle(histories)
        yield from histories

    async def stacks(self) -> None:
        """Stacks with all that belongs to them."""
        account_id = self._owner["id"]
        histories = {row["name"]: _History(self._rows, row["name"], account_id) for row in self._rows["stack"]}
        pending: dict[Table, list[list[Any]]] = {}
        for number, history in enumerate(self._plan()):
            self._clone(histories[name_of(history)], history, number, pending)
            if number % _CHUNK == _CHUNK - 1:
                await self._flush(pending)
        await self._flush(pending)

    async def _flush(self, pending: dict[Table, list[list[Any]]]) -> None:
        for table in metadata.sorted_tables:
            await self.write(table, pending.pop(table, []))

    def _clone(self, seed: _History, history: str, number: int, pending: dict[Table, list[list[Any]]]) -> None:
        is_measured = number % self._size.share == 0 or history not in self.population.examples
        account_id = seed.account_id if is_measured else self._others[number % len(self._others)]
        # An hour ago at the latest, so that nothing is newer than what is measured.
        delta = self._now - timedelta(hours=1) - _YEAR * (1 - number / self._size.stacks) - seed.began
        name = f"{history}-{number:x}"
        ids = {old: self._id(at + delta) for old, at in seed.ids.items()}
        replaced = {seed.name: name, seed.account_id: account_id, **ids}

        def text(value: str) -> str:
            for old, new in replaced.items():
                value = value.replace(old, new)
            return value

        moment: Callable[[datetime], Any] = self._writer.moment
        change: list[Callable[[Any], Any]] = [
            lambda value: value,
            text,
            ids.__getitem__,
            lambda _: self._hash(),
            lambda value: moment(value + delta),
        ]
        for table, rows in seed.rows:
            # Half of the requests came with a key.
            if table.name != "idempotency" or number % 2:
                made = pending.setdefault(table, [])
                made.extend([value if not how else change[how](value) for how, value in row] for row in rows)
        if is_measured:
            self.population.examples[history] = Example(name, [ids[each] for each in seed.deployments])
