"""What a large store costs: each page and list, and what must not grow, on a small store and on a full one."""

import argparse
import asyncio
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import select

from app.deployments.states import Status
from app.engine.estimates import Estimates
from app.engine.leases import Leases
from app.engine.queue import DeploymentQueue
from app.observation.leftovers import Leftovers
from app.stacks.queries import Records
from app.store import schema
from app.store.engine import Database
from tests.benchmarks.histories import OWNER, SETTINGS, Rows, emulated, read_rows, write_histories
from tests.benchmarks.population import Population, Size, populate
from tests.benchmarks.processes import Process, portal
from tests.benchmarks.reads import CALLERS, reads, unmeasured
from tests.benchmarks.recorded import ADDRESS
from tests.benchmarks.statements import Recorder, Statement, readings
from tests.benchmarks.table import Row, tell
from tests.postgresql import PostgresServer, serve_postgresql

TITLE: Final = "A large store, ms of processor time, PostgreSQL's included (x what it is on a small one)"
_SMALL: Final = Size(400)
_WAITING: Final = 49
_STARTS: Final = 3
# A full store's tables with more rows than this are big, and nothing should go through one.
_BIG: Final = 1000
# Work in the background takes turns of so many seconds at most.
_BACKGROUND_SECONDS: Final = 12.0
# A statement that takes longer is listed, whatever its plan.
_SLOW_MILLISECONDS: Final = 5.0


class Store:
    """One store, and the processes that work for it."""

    def __init__(self, url: str, server: PostgresServer | None) -> None:
        self.url = url
        self._server = server

    def cpu(self) -> float:
        """Processor seconds of PostgreSQL for this store so far; 0 for SQLite, which works inside the portal."""
        if self._server is None:
            return 0.0
        postmaster = int((self._server.data / "postmaster.pid").read_text().split()[0])
        # Of what has ended, such as parallel workers, its parent counts the ticks.
        ended = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[13:15]
        of_ours = sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == postmaster and b" portal_" in (process / "cmdline").read_bytes():
                    of_ours += cpu_of(int(process.name))
            except (OSError, ValueError):
                continue  # it has ended
        return of_ours


def cpu_of(pid: int) -> float:
    """Processor seconds of a process so far, by the kernel's own clock for it."""
    return time.clock_gettime(~pid << 3 | 2)


Costs = dict[str, "Cost"]


class Cost:
    """What something cost each time: processor and wall, in milliseconds."""

    def __init__(self, times: list[tuple[float, float]]) -> None:
        self.cpu = statistics.median(cpu for cpu, _ in times)
        self.wall = statistics.median(wall for _, wall in times)


def measure(options: argparse.Namespace) -> list[Row]:
    """Fill stores and measure them; at the end, which statements read whole tables."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="size-") as folder, emulated() as emulator_url:
        tell("  runs to clone from ...")
        seed = Path(folder) / "seed.db"
        write_histories(emulator_url, seed)
        histories = read_rows(seed)
        for kind in options.stores.split(","):
            with ExitStack() as closing:
                server = closing.enter_context(serve_postgresql()) if kind == "postgresql" else None
                rows += _Bench(server, Path(folder), emulator_url, histories, options).measure()
    return rows


class _Bench:
    """A small store and a full one on one kind of database. server: PostgreSQL; None: SQLite, below the folder."""

    def __init__(
        self,
        server: PostgresServer | None,
        folder: Path,
        emulator_url: str,
        histories: Rows,
        options: argparse.Namespace,
    ) -> None:
        self._server, self._folder, self._emulator_url = server, folder, emulator_url
        self._histories, self._options = histories, options
        self._kind = "SQLite" if server is None else "PostgreSQL"
        self._statements: dict[str, Statement] = {}
        self._counts: dict[str, int] = {}
        self._explained: list[Row] = []

    def measure(self) -> list[Row]:
        full = Size(self._options.stored)
        small_costs = self._of(_SMALL)
        costs = self._of(full)
        counts = ", ".join(f"{count:,} {table}" for table, count in self._counts.items() if count > _BIG)
        rows = [Row(f"{self._kind}: {counts}", "")]
        for what, cost in costs.items():
            small = small_costs.get(what)
            ratio = f"({cost.cpu / small.cpu:.1f} x)" if small and small.cpu else ""
            before = f"small {small.cpu:.1f}, " if small else ""
            rows.append(Row(f"{what}: {before}wall {cost.wall:.0f}", f"{cost.cpu:.1f} {ratio}", _wanted(what)))
        return [*rows, *self._explained]

    def _of(self, size: Size) -> Costs:
        """Fill a store and measure it."""
        with self._filled(size) as (store, population):
            is_full = size is not _SMALL
            costs = self._start(store, listen=is_full)
            with self._portal(store, runs=False) as (process, url), _client(url) as client:
                costs |= self._reads(store, process, client, population)
                costs |= self._deploys(store, process, client)
                for each in unmeasured(client) if is_full else ():
                    tell(f"  not measured: {each}")
            costs |= asyncio.run(self._inside(store))
            if is_full:
                self._counts = population.counts
                self._explained = self._explain(store)
            return costs

    @contextmanager
    def _filled(self, size: Size) -> Iterator[tuple[Store, Population]]:
        with ExitStack() as closing:
            if self._server is None:
                place = closing.enter_context(tempfile.TemporaryDirectory(dir=self._folder))
                url = f"sqlite+aiosqlite:///{place}/portal.db"
            else:
                url = closing.enter_context(self._server.database())
            began = time.monotonic()
            population = populate(url, self._histories, size, seed=self._options.seed)
            if self._server is not None:
                self._server.psql("ALTER SYSTEM SET autovacuum = off")
                self._server.reload()
            tell(f"  {self._kind}: filled with {size.deployments:,} in {time.monotonic() - began:.0f} s")
            yield Store(url, self._server), population

    @contextmanager
    def _portal(self, store: Store, *, runs: bool) -> Iterator[tuple[Process, str]]:
        settings = {**SETTINGS, "RECORDED_RUNS": "yes" if runs else "no"}
        with portal(self._emulator_url, store.url, module="tests.benchmarks.recorded", **settings) as started:
            yield started[0], started[1]

    def _start(self, store: Store, *, listen: bool) -> Costs:
        times = []
        for number in range(_STARTS):
            before = store.cpu()
            with self._portal(store, runs=True) as (process, url):
                took = process.cpu() + store.cpu() - before
                times.append((1000 * took, 1000 * (time.monotonic() - process.began)))
                if listen and number == 0:
                    with _client(url) as client:
                        self._take(client, "start")
                        time.sleep(_BACKGROUND_SECONDS)
                        self._take(client, "background")
        return {"start-up": Cost(times)}

    def _take(self, client: httpx.Client, user: str) -> None:
        """Keep what was sent to the store by something."""
        self._keep(pickle.loads(client.get(ADDRESS).content), user)

    def _keep(self, statements: list[Statement], user: str) -> None:
        for each in statements:
            known = self._statements.setdefault(each.kind, each)
            # The newest parameters: those of the small store, or of a process that has ended, find nothing.
            known.text, known.parameters = each.text, each.parameters
            known.users.add(user)

    def _reads(self, store: Store, process: Process, client: httpx.Client, population: Population) -> Costs:
        costs: Costs = {}
        found = [*reads(client, population)]
        client.get(ADDRESS)  # what finding them has sent
        for read in found:
            headers = CALLERS[read.caller]
            answer = client.get(read.path, headers=headers)
            note = "" if answer.status_code == 200 else f" [{answer.status_code}]"
            costs[f"GET {read.name}{note}"] = self._cost(
                store, process, partial(client.get, read.path, headers=headers)
            )
            self._take(client, read.name)
        return costs

    def _cost(self, store: Store, process: Process, ask: Callable[[], object], times: int = 0) -> Cost:
        took = []
        for _ in range(times or self._options.times):
            cpu, wall = process.cpu() + store.cpu(), time.monotonic()
            ask()
            passed = time.monotonic() - wall
            time.sleep(0.01)  # until it has tidied up behind the answer
            took.append((1000 * (process.cpu() + store.cpu() - cpu), 1000 * passed))
        return Cost(took)

    def _deploys(self, store: Store, process: Process, client: httpx.Client) -> Costs:
        numbers = iter(range(_WAITING))

        def deploy() -> None:
            answer = client.post("/api/deploy", json={"name": f"waits-{next(numbers)}"}, headers=OWNER)
            assert answer.status_code == 202, answer.text

        cost = self._cost(store, process, deploy, times=_WAITING)
        self._take(client, "POST /api/deploy")
        return {"POST /api/deploy": cost}

    async def _inside(self, store: Store) -> Costs:
        """Measure what no request asks for, in this process."""
        database = Database(store.url)
        recorder = Recorder()
        records = Records(database)
        leases = Leases(database)
        worker = await leases.register(600, alone=False)
        waiting = await _waiting(database)

        async def claim() -> None:
            assert await leases.claim(worker, 10)

        async def place() -> None:
            queue = DeploymentQueue(database, Estimates(database), concurrency=10)
            found = [await records.deployment(each) for each in waiting]
            await asyncio.gather(*(queue.place(each) for each in found if each is not None))

        async def estimates() -> None:
            fresh = Estimates(database)
            await asyncio.gather(*(fresh.medians() for _ in range(_WAITING)))

        async def due() -> None:
            await Leftovers(database, records, first_pause=30, attempts=12).due()

        costs: Costs = {}
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            f"estimates, {_WAITING} runs at a change of place": estimates,
            f"places in the queue, {_WAITING} runs, their records included": place,
            "leftovers that are due": due,
            "claim of 10": claim,
        }
        for what, work in parts.items():
            recorder.take()
            costs[what] = await self._inside_cost(store, work, 4 if work is claim else self._options.times)
            self._keep(recorder.take(), what)
        # The worker does not leave: what a claim costs is to be explained while it lives.
        await database.close()
        recorder.close()
        return costs

    @staticmethod
    async def _inside_cost(store: Store, work: Callable[[], Awaitable[None]], times: int) -> Cost:
        took = []
        for number in range(times + 1):
            cpu, wall = time.process_time() + store.cpu(), time.monotonic()
            await work()
            cost = 1000 * (time.process_time() + store.cpu() - cpu), 1000 * (time.monotonic() - wall)
            if number or times == 1:  # the first one compiles its statements
                took.append(cost)
        return Cost(took)

    def _explain(self, store: Store) -> list[Row]:
        """Explain the statements that go through a big table, and those that are slow."""
        big = {table for table, count in self._counts.items() if count > _BIG}
        return [
            Row(
                f"statement {'that goes through a big table' if each.is_whole else 'that is slow'}",
                f"{each.milliseconds:.1f}",
                more=[
                    f"of: {', '.join(sorted(each.statement.users))}",
                    f"by: {'; '.join(each.plan)}",
                    each.statement.in_short,
                ],
            )
            for each in readings(self._statements.values(), store.url, big)
            if each.is_whole or each.milliseconds > _SLOW_MILLISECONDS
        ]


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Origin": url}, timeout=120, trust_env=False)


async def _waiting(database: Database) -> list[str]:
    """Ids of the deployments that wait."""
    table = schema.deployment.c
    waiting = select(table.id).where(table.status == Status.QUEUED).limit(_WAITING)
    return [row.id for row in await database.read(lambda connection: connection.execute(waiting).all())]


def _wanted(what: str) -> str:
    if ".jsonl" in what:
        return "a row each"
    if what.startswith("GET /"):
        return "<= 30, 2 x"
    return "<= 100" if what.startswith("estimates") else "1 x"
