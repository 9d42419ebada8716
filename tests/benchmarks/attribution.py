"""Attribution: two deployments of one application at once, in random order; is ours never taken for the other?

Each interleaving is one creation by the portal, and somebody else's deployment of the same application: before the portal
asks for its own, while that waits, while it runs, or after it. How long each takes and how it ends is left to chance, and
so is whether the other has a title. What really happened is then read from the emulator.

Beside it stands what a simpler rule would have said: the newest deployment since the moment of asking is ours. Rows appear
when their turn comes, not when they are asked for, so that rule is wrong as often as not.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.processes import TOKEN, emulator, moment, portal
from tests.benchmarks.table import Row, tell

TITLE = "Attribution: somebody else deploys the same application, in random order"
_NAIVE_LOOKS_EVERY = 0.1
_LONGEST_SECONDS = 120.0


class Server(StrEnum):
    """What the Dokploy of an interleaving does."""

    TITLED = "keeps titles"
    UNTITLED = "drops every title"
    UNNAMED = "drops every title and description"
    LOSING = "loses our job once"


class When(StrEnum):
    """When somebody else asks for a deployment; where ours is then is a matter of chance in most."""

    AT_ONCE = "as soon as there is an application"
    AROUND = "around the time at which the portal asks"
    SEEN = "once ours is in the queue"
    RUNNING = "while ours runs"
    ENDED = "when ours has just ended"


@dataclass(frozen=True)
class Chance:
    """What was left to chance in one interleaving; the same for the same seed and number."""

    when: When
    pause: float
    ours_fails: bool
    theirs_fails: bool
    ours_seconds: float
    theirs_seconds: float
    their_title: str | None

    @classmethod
    def of(cls, seed: int, number: int, longest: float) -> "Chance":
        """Throw the dice. `longest`: seconds that a deployment takes at most."""
        dice = random.Random(f"{seed}-{number}")
        ours, theirs = dice.uniform(0.02, longest), dice.uniform(0.02, longest)
        when = dice.choice(list(When))
        pauses = {When.AT_ONCE: 0.0, When.AROUND: 0.15, When.SEEN: ours, When.RUNNING: ours, When.ENDED: 0.05}
        return cls(
            when=when,
            pause=dice.uniform(0, pauses[when]),
            ours_fails=dice.random() < 0.5,
            theirs_fails=dice.random() < 0.5,
            ours_seconds=round(ours, 3),
            theirs_seconds=round(theirs, 3),
            # Without one it is called as Dokploy calls whatever is started by its own button.
            their_title=dice.choice([None, f"somebody's {number}"]),
        )


@dataclass
class Tried:
    """One interleaving, as it went on the wire."""

    name: str
    chance: Chance
    deployment_id: str = ""
    application_id: str = ""
    landed: bool = False
    conclusion: str = ""
    code: str | None = None


@dataclass
class Report:
    """What became of all interleavings."""

    total: int = 0
    wrong: list[str] = field(default_factory=list)
    """Concluded from another's deployment: each with what happened."""
    unsure: int = 0
    """Failed, because nobody could say which was ours."""
    again: int = 0
    late: int = 0
    """The other came when there was no application any more; not counted."""
    naive_wrong: int = 0
    naive_other: int = 0
    orders: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Report") -> None:
        """Count another report's interleavings, too."""
        self.total += other.total
        self.wrong += other.wrong
        self.unsure += other.unsure
        self.again += other.again
        self.late += other.late
        self.naive_wrong += other.naive_wrong
        self.naive_other += other.naive_other
        self.orders += other.orders


async def interleave(
    portal_url: str,
    emulator_url: str,
    database: Path,
    numbers: Iterable[int],
    *,
    seed: int,
    server: Server = Server.TITLED,
    at_once: int = 16,
    longest: float = 0.4,
) -> Report:
    """Run interleavings side by side and judge them. `database`: the portal's SQLite file, to see what it has noted."""
    # Servers close what has rested for 5 s, so that nothing is sent over what is just being closed.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    async with (
        httpx.AsyncClient(base_url=portal_url, trust_env=False, timeout=60, limits=limits) as asking,
        httpx.AsyncClient(
            base_url=emulator_url, trust_env=False, timeout=60, limits=limits, headers={"x-api-key": TOKEN}
        ) as dokploy,
    ):
        if server in {Server.UNTITLED, Server.UNNAMED}:
            await _arm(dokploy, kind="drop_title" if server is Server.UNTITLED else "drop_both", times=-1)
        tried: list[Tried] = []
        rest = iter(numbers)

        async def work() -> None:
            for number in rest:
                each = Tried(f"mix-{number:04}", Chance.of(seed, number, longest))
                tried.append(each)
                await _Interleaving(asking, dokploy, each, server).run()

        await asyncio.gather(*(work() for _ in range(at_once)))
        asked = (await dokploy.get("/sandbox/asked")).json()
    return _judge(tried, asked, rows_noted(database), server)


async def _arm(dokploy: httpx.AsyncClient, **fault: Any) -> None:
    answer = await dokploy.post("/sandbox/faults", json=fault)
    assert answer.status_code == 201, answer.text


class _Interleaving:
    """Plays one: the portal's user, and the other who has his hands on Dokploy."""

    def __init__(self, asking: httpx.AsyncClient, dokploy: httpx.AsyncClient, tried: Tried, server: Server) -> None:
        self._asking, self._dokploy, self._tried, self._server = asking, dokploy, tried, server

    async def run(self) -> None:
        tried, chance = self._tried, self._tried.chance
        accepted = (await self._asking.post("/api/deploy", json={"name": tried.name})).json()
        tried.deployment_id = accepted["deploymentId"]
        # What is lost is asked for again, and that one is to fare no better.
        losing = self._server is Server.LOSING
        await self._fate(tried.deployment_id, chance.ours_seconds, chance.ours_fails, 2 if losing else 1)
        await self._fate(f"by {tried.name}", chance.theirs_seconds, chance.theirs_fails, 1)
        if losing:
            await _arm(self._dokploy, kind="lose_queue", match=tried.deployment_id)
        await self._wait_for_application()
        if chance.when in {When.SEEN, When.RUNNING, When.ENDED}:
            await self._wait_for_ours(chance.when)
        await asyncio.sleep(chance.pause)
        tried.landed = await self._deploy_as_another()
        while (record := (await self._asking.get(f"/api/deployments/{tried.deployment_id}")).json())[
            "conclusion"
        ] is None:
            await asyncio.sleep(0.1)
        tried.conclusion = record["conclusion"]
        tried.code = record["problem"]["code"] if record["problem"] else None

    async def _fate(self, match: str, seconds: float, fails: bool, times: int) -> None:
        await _arm(self._dokploy, kind="stuck", seconds=seconds, match=match, times=times)
        if fails:
            await _arm(self._dokploy, kind="fail", match=match, times=times)

    async def _wait_for_application(self) -> None:
        end = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < end:
            found = (await self._dokploy.get("/api/application.search", params={"name": self._tried.name})).json()
            if found["items"]:
                self._tried.application_id = found["items"][0]["applicationId"]
                return
            await asyncio.sleep(0.03)
        raise AssertionError(f"no application {self._tried.name}")

    async def _wait_for_ours(self, when: When) -> None:
        """Wait for our job, by the application, as its title may be gone; not for ever, as it may be so itself."""
        end = time.monotonic() + (1.0 if self._server is Server.LOSING else 3.0)
        seen = False
        while seen or time.monotonic() < end:
            jobs = (await self._dokploy.get("/api/deployment.queueList")).json()
            ours = [job for job in jobs if job["data"]["applicationId"] == self._tried.application_id]
            if ours and (when is When.SEEN or (when is When.RUNNING and ours[0]["state"] == "active")):
                return
            if seen and not ours:
                return
            seen = seen or bool(ours)
            await asyncio.sleep(0.02)

    async def _deploy_as_another(self) -> bool:
        # Dokploy drops what it does not know: `by` is there for the faults to match.
        body = {"applicationId": self._tried.application_id, "by": f"by {self._tried.name}"}
        if self._tried.chance.their_title:
            body["title"] = self._tried.chance.their_title
        return (await self._dokploy.post("/api/application.deploy", json=body)).status_code == 200


def rows_noted(database: Path) -> dict[str, str]:
    """Which Dokploy deployment the portal has taken for its own, by the portal's deployment."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT deployment_id, output FROM step WHERE name = 'deploy'").fetchall()
    connection.close()
    return {deployment_id: json.loads(output)["row"] for deployment_id, output in rows if '"row"' in output}


def _judge(tried: Sequence[Tried], asked: Sequence[dict[str, Any]], noted: dict[str, str], server: Server) -> Report:
    report = Report()
    by_application: dict[str, list[dict[str, Any]]] = {}
    for job in asked:
        by_application.setdefault(job["applicationId"], []).append(job)
    for each in tried:
        jobs = by_application.get(each.application_id, [])
        ours = [job for job in jobs if job["title"] == each.deployment_id]
        theirs = [job for job in jobs if job["title"] != each.deployment_id]
        if not each.landed:
            report.late += 1
            continue
        report.total += 1
        report.again += len(ours) > 1
        if not ours:
            report.wrong.append(f"{each.name}: {each.conclusion} {each.code or ''}, never asked for")
            continue
        done = [job["deploymentId"] for job in ours if job["status"] == "done"]
        row = noted.get(each.deployment_id)
        succeeded = each.conclusion == "succeeded"
        if succeeded:
            right = row in done
        else:
            # Where nothing tells ours from another's a run may fail rather than guess.
            unsure = server is Server.UNNAMED and each.code == "deploy_not_found"
            report.unsure += unsure
            right = unsure or (each.code == "deploy_failed" and any(job["status"] == "error" for job in ours))
        if not right:
            report.wrong.append(
                f"{each.name}: {each.conclusion} {each.code or ''}, row {row}, {each.chance}\n    ours {ours}\n    theirs {theirs}"
            )
        report.orders[_order(ours[0], theirs[0])] += 1
        chosen = _naive(ours[0]["timestamp"] / 1000, jobs)
        if chosen is not None:
            report.naive_other += chosen["deploymentId"] not in {job["deploymentId"] for job in ours}
            report.naive_wrong += (chosen["status"] == "done") != bool(done)
    return report


def _order(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    at = theirs["timestamp"]
    if at < ours["timestamp"]:
        return "before"
    if ours["createdAt"] is None:
        return "lost"
    if at < moment(ours["createdAt"]) * 1000:
        return "waiting"
    if ours["finishedAt"] is None or at <= moment(ours["finishedAt"]) * 1000:
        return "running"
    return "after"


def _naive(asked_at: float, jobs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What is found who looks now and then for the newest row since he asked, and goes by the first that is over."""
    rows = [
        (moment(job["createdAt"]), moment(job["finishedAt"]) if job["finishedAt"] else float("inf"), job)
        for job in jobs
        if job["createdAt"] and moment(job["createdAt"]) >= asked_at
    ]
    now = asked_at
    for _ in range(round(_LONGEST_SECONDS / _NAIVE_LOOKS_EVERY)):
        now += _NAIVE_LOOKS_EVERY
        visible = [row for row in rows if row[0] <= now]
        if visible:
            _, ended, job = max(visible, key=lambda row: row[0])
            if ended <= now:
                return job
    return None


# Dokploy's own default is one at a time; a licence allows more. Then rows of one application also overlap.
_ROUNDS = ((1, 0.12), (4, 0.4), (0, 0.6))


def measure(options: argparse.Namespace) -> list[Row]:
    """A third of them on a server that works on one deployment at a time, on four, and on all at once."""
    tell(f"  seed {options.seed}")
    kept = Report()
    for place, (concurrency, longest) in enumerate(_ROUNDS):
        count = options.interleavings // len(_ROUNDS) + (place < options.interleavings % len(_ROUNDS))
        kept.add(_round(options.seed, Server.TITLED, 10_000 * place, count, concurrency, longest))
    few = max(6, options.interleavings // 10)
    others = [
        (server, _round(options.seed, server, first, few, 4, 0.4))
        for server, first in ((Server.UNTITLED, 30_000), (Server.UNNAMED, 40_000), (Server.LOSING, 50_000))
    ]
    orders = ", ".join(f"{number} {order}" for order, number in sorted(kept.orders.items()))
    rows = [Row(f"seed; the other came {orders}", str(options.seed))]
    for server, report in ((Server.TITLED, kept), *others):
        what = f"{report.total} interleavings, Dokploy {server}"
        rows.append(Row(f"{what}: right", f"{report.total - len(report.wrong)}", f"= {report.total}"))
        if server is not Server.TITLED:
            rows.append(
                Row("    of them asked for again; failed, as nobody could tell", f"{report.again}; {report.unsure}")
            )
        rows.append(Row("    the newest row since asking: wrong", f"{100 * report.naive_wrong / report.total:.1f} %"))
        rows.append(
            Row("    the newest row since asking: not ours", f"{100 * report.naive_other / report.total:.1f} %")
        )
    return rows


def _round(seed: int, server: Server, first: int, count: int, concurrency: int, longest: float) -> Report:
    """Run until so many have counted: the other may come too late."""
    began = time.monotonic()
    # Who cannot tell which row is ours gives up after a while; here soon.
    env = {"DEPLOY_APPEAR_SECONDS": "1"} if server is Server.UNNAMED else {}
    report = Report()
    with (
        tempfile.TemporaryDirectory() as folder,
        emulator(DEPLOY_SECONDS=0.1, CONCURRENCY=concurrency, VOLUME_RELEASE_SECONDS=0.05) as emulator_url,
    ):
        database = Path(folder) / "portal.db"
        with portal(emulator_url, f"sqlite+aiosqlite:///{database}", **env) as (_, portal_url, _):
            for _ in range(20):
                if report.total >= count:
                    break
                numbers = range(first, first + count - report.total)
                first = numbers.stop
                report.add(
                    asyncio.run(
                        interleave(
                            portal_url, emulator_url, database, numbers, seed=seed, server=server, longest=longest
                        )
                    )
                )
    tell(f"  {report.total}, Dokploy {server}, {concurrency} at once: {time.monotonic() - began:.0f} s")
    for wrong in report.wrong:
        tell(f"  WRONG {wrong}")
    return report
