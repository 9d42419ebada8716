"""One trial of the crash matrix: a portal that dies at one point of one scenario, and what must hold after its restart.

The questions: is the deployment over, as it may be; does the emulator hold exactly what belongs to a stack that is
there, and once; did a stream that came back with its last number see each event once, as it is recorded.
"""

import json
import shutil
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.acceptance.bench import Bench, Store, Wrong
from tests.acceptance.process import Process
from tests.acceptance.scenarios import CALLS, Scenario
from tests.servers import ADMIN_TOKEN, NO_LIMITS_IN_ENVIRONMENT, SUFFIX, TOKEN, http_client
from tests.waiting import WAIT_SECONDS, wait_until

NAME: Final = "ada"
KEY: Final = "the-idempotency-key-of-the-matrix"
OPERATOR: Final = {"authorization": f"Bearer {ADMIN_TOKEN}"}
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
    "RUNNER_LEASE_SECONDS": "300",  # lost by force, see `Store.end_leases`
    "SSE_HEARTBEAT_SECONDS": "1",
    **NO_LIMITS_IN_ENVIRONMENT,
}


@dataclass
class Verdict:
    """What came of one trial. wrong: kind of violation and what was seen; died: whether the point was reached."""

    scenario: Scenario
    database: str
    failpoints: str
    died: bool = False
    conclusion: str | None = None
    seconds: float = 0.0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    log: str = ""


class Trial:
    """One scenario, once, with a portal that dies at a point and is started again."""

    def __init__(
        self, bench: Bench, scenario: Scenario, folder: Path, store: Store, database: str, failpoints: str
    ) -> None:
        self._bench = bench
        self._scenario = scenario
        self._failpoints = failpoints
        self._store = store
        self._database = database
        self._deadline = time.monotonic() + WAIT_SECONDS
        self._folder = folder
        self.log = folder / "portal.log"
        self._environment = {
            **PORTAL,
            **scenario.settings,
            "DATABASE_URL": database,
            "DOKPLOY_URL": f"http://{bench.address}",
            "STACK_PROBE_ADDRESS": bench.address,
        }
        self._portal: Process | None = None
        self._client = http_client(base_url=f"http://127.0.0.1:{bench.port}")
        # Half of the trials read JSON lines and the other half server-sent events, always the same ones.
        self._reads_lines = bool(zlib.crc32(failpoints.encode()) & 1)
        self._id: str | None = None
        self._gone = False
        self._before = ""
        self._cancelled = False
        self.seen: list[dict[str, Any]] = []
        self.deaths = 0

    def run(self) -> dict[str, Any] | None:
        """Drive it to its end, and give the record; None where all that is known is that the stack is gone."""
        if self._scenario.removes or self._scenario.changes_password:
            self._prepare()
        self._start(FAILPOINTS=self._failpoints)
        while True:
            try:
                self._proceed()
                if self.deaths or not self._ends_after_its_work():
                    break
            except httpx.TransportError as error:
                if not self._ends_within(WAIT_SECONDS):
                    raise Wrong(f"broke a connection: {type(error).__name__}: {error}") from error
            self._rise()
        if self._gone:
            return None
        record: dict[str, Any] = self._client.get(f"/api/deployments/{self._id}").json()
        return record

    def close(self) -> None:
        if self._portal is not None:
            self._portal.kill()
        self._client.close()

    def _start(self, **more: str) -> None:
        self._portal = self._bench.launcher.start(
            ["serve", "--port", str(self._bench.port)],
            self._folder,
            self.log,
            **self._environment,
            **more,
        )

    def _ends_within(self, seconds: float) -> bool:
        assert self._portal is not None
        return self._portal.ends_within(seconds)

    def _ends_after_its_work(self) -> bool:
        """Say whether it dies at a point that lies behind the last event."""
        with suppress(httpx.TransportError):
            wait_until(lambda: not self._client.get("/health").json()["runner"]["running"])
            return self._ends_within(0.3)
        return self._ends_within(WAIT_SECONDS)

    def _rise(self) -> None:
        """Start the portal again, as it is without failpoints."""
        assert self._portal is not None
        self.deaths += 1
        if self.deaths > 1:
            raise Wrong("ended by itself")
        self._portal.kill()
        self._store.end_leases(self._database)
        self._client.close()
        self._client = http_client(base_url=f"http://127.0.0.1:{self._bench.port}")
        self._start()

    def _prepare(self) -> None:
        """Have a stack that runs, made by a portal that is gone."""
        self._start()
        self._be_ready()
        accepted = self._client.post("/api/deploy", json={"name": NAME}).json()
        answer = self._client.get(accepted["eventsUrl"], headers={"accept": "application/x-ndjson"})
        last = json.loads(answer.text.splitlines()[-1])
        if last["conclusion"] != "succeeded":
            raise Wrong(f"the stack was not made: {last}")
        self._before = self._password()
        assert self._portal is not None
        self._portal.kill()
        self._store.end_leases(self._database)

    def _password(self) -> str:
        answer = self._client.get(f"/api/stack/{NAME}", headers=OPERATOR)
        return str(answer.json()["password"])

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
        self._portal.answers(f"http://127.0.0.1:{self._bench.port}/ready")

    def _ask(self) -> None:
        """Send the request; again, where its answer was lost."""
        if self._scenario.changes_password:
            # Nothing tells a second request from a repeated one, so whoever heard nothing looks first.
            stack = self._client.get(f"/api/stack/{NAME}", headers=OPERATOR).json()
            if self.deaths and self._client.get(stack["statusUrl"]).json()["changesPassword"]:
                self._id = stack["deploymentId"]
                return
            answer = self._client.post(f"/api/stack/{NAME}/password", headers=OPERATOR)
        elif self._scenario.removes:
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
                    raise Wrong(f"nothing happened for {WAIT_SECONDS:g} s; last seen: {self.seen[-1:]}")
                event = self._parse(line)
                if event is None:
                    continue
                if event.get("type") == "gap":
                    raise Wrong(f"a gap after {last}: {event}")
                self.seen.append(event)
                self._deadline = time.monotonic() + WAIT_SECONDS
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

        def called() -> bool:
            if self._ends_within(0):
                raise httpx.ReadError("it has ended")
            return bool(self._bench.emulator.state()["calls"].get(CALLS[station]))

        wait_until(called, tell=lambda: f"{CALLS[station]} was never called")
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
        if self._scenario.changes_password:
            yield from self._check_password()
        states = [stack["state"] for stack in self._client.get("/api/stacks", headers=OPERATOR).json()["items"]]
        is_free = self._client.get(f"/api/check/{NAME}").json()["available"]
        if (states, is_free) != ((["running"], False) if exists else ([], True)):
            yield "name", f"stacks: {states}; the name is {'free' if is_free else 'held'}"
        log = self.log.read_text()
        for mark in ("Traceback", "run_broke", "step_broke"):
            if mark in log:
                yield "broke", f"{mark} in the log"

    def _check_password(self) -> Iterator[tuple[str, str]]:
        """The one that is shown is another, and opens the stack."""
        shown = self._password()
        if shown == self._before:
            yield "password", "it is the old one"
        address, host = f"http://{self._bench.address}/", f"{NAME}.{SUFFIX}"
        for password, wanted in ((shown, httpx.codes.OK), (self._before, httpx.codes.UNAUTHORIZED)):
            answer = httpx.get(
                address, headers={"host": host}, auth=("opencode", password), timeout=WAIT_SECONDS, trust_env=False
            )
            if answer.status_code != wanted:
                yield "password", f"{'the new' if password == shown else 'the old'} one: {answer.status_code}"

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

    def _settled_state(self) -> dict[str, Any] | None:
        state = self._bench.emulator.state()
        return None if state["late"] or state["queue"] else state

    def _check_emulator(self, *, exists: bool) -> Iterator[tuple[str, str]]:
        # What is on its way has arrived by then, a call that lands late or a job in the queue.
        state = wait_until(self._settled_state, tell=self._bench.emulator.state)
        kinds = ("projects", "environments", "applications", "domains", "mounts", "volumes", "services", "routes")
        for kind in (*kinds, "deployments", "queue"):
            held, wanted = len(state[kind]), int(exists and kind != "queue")
            # A change of the password is one deployment more than the creation before it.
            most = 2 if self._scenario.changes_password and kind == "deployments" else 1
            if held < wanted:
                yield "missing", kind
            elif held > most:
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


def try_point(bench: Bench, scenario: Scenario, store: Store, database: str, failpoints: str) -> Verdict:
    """Run a scenario on a bench with these failpoints, and judge what is left."""
    verdict = Verdict(scenario, database, failpoints)
    began = time.monotonic()
    with _trial(bench, scenario, store, failpoints) as trial:
        try:
            record = trial.run()
            verdict.conclusion = record["conclusion"] if record else "gone"
            verdict.wrong = list(trial.check(record))
        except (Wrong, AssertionError) as wrong:
            verdict.wrong = [("stuck", str(wrong))]
        except httpx.TransportError as error:
            verdict.wrong = [("stuck", f"{type(error).__name__}: {error}")]
        verdict.died = trial.deaths > 0
        verdict.seconds = time.monotonic() - began
        verdict.log = trial.log.read_text()
    return verdict


def enumerate_points(bench: Bench, scenario: Scenario, store: Store, database: str) -> tuple[list[str], Verdict | None]:
    """Run a scenario once to its end and read which points the program came by; and what was wrong without a crash."""
    if scenario.points is not None:
        return list(scenario.points), None
    trace = bench.folder / "trace"
    trace.write_text("")
    verdict = try_point(bench, scenario, store, database, f"trace:{trace}")
    return list(dict.fromkeys(trace.read_text().splitlines())), verdict if verdict.wrong else None


@contextmanager
def _trial(bench: Bench, scenario: Scenario, store: Store, failpoints: str) -> Iterator[Trial]:
    bench.emulator.reset()
    for fault in scenario.faults:
        bench.emulator.fault(**fault)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    with store.fresh(folder) as database:
        trial = Trial(bench, scenario, folder, store, database, failpoints)
        try:
            yield trial
        finally:
            trial.close()
    shutil.rmtree(folder)
