"""Takeover: two portals on one PostgreSQL; the one that holds the deployments is killed, again and again."""

import argparse
import asyncio
import random
import statistics
import time
from contextlib import ExitStack
from typing import Any

import httpx

from app.config.settings import Settings
from tests.benchmarks.processes import Process, emulator, postgres, start_portal
from tests.benchmarks.table import Row, percentile, tell

# Longer than all of it takes: no deployment may end while portals come and go.
_DEPLOY_SECONDS = 3600
_LEASE_SECONDS: float = Settings.model_fields["runner_lease_seconds"].default
_HELD = 20
TITLE = f"Takeover after kill -9: two portals on PostgreSQL, {_HELD} deployments held"

_RESUMED = "SELECT deployment_id, count(*) AS times FROM event WHERE type = 'deployment_resumed' GROUP BY deployment_id"


def measure(options: argparse.Namespace) -> list[Row]:
    """Kill so many times; each time a new portal comes beside the one that took over."""
    chance = random.Random(options.seed)
    began = time.monotonic()
    with emulator(DEPLOY_SECONDS=_DEPLOY_SECONDS) as emulator_url, postgres() as database_url, ExitStack() as stack:

        def start() -> tuple[Process, str]:
            process, url = start_portal(
                emulator_url,
                database_url,
                DEPLOY_TIMEOUT_SECONDS=str(2 * _DEPLOY_SECONDS),
            )
            stack.callback(process.stop)
            process.wait_ready(f"{url}/ready")
            return process, url

        took = asyncio.run(_kill_again_and_again(start, database_url, options.kills, chance))
    everything = [seconds for each in took for seconds in each]
    return [
        Row(f"{len(took)} kills, {len(everything)} deployments: median until resumed, s", f"{median(everything):.2f}"),
        Row("p95, s", f"{percentile(everything, 95):.2f}", "<= 5"),
        Row("the longest, s", f"{max(everything):.2f}"),
        Row("of each kill, its last deployment: median, s", f"{median([max(each) for each in took]):.2f}"),
        Row("all of it took, s", f"{time.monotonic() - began:.0f}"),
    ]


median = statistics.median


async def _kill_again_and_again(start: Any, database_url: str, kills: int, chance: random.Random) -> list[list[float]]:
    import asyncpg

    database = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        holder, holder_url = await asyncio.to_thread(start)
        for number in range(_HELD):
            answer = await client.post(f"{holder_url}/api/deploy", json={"name": f"held-{number}"})
            assert answer.status_code == 202, answer.text
        query = "SELECT count(*) FROM deployment WHERE status = 'deploy'"
        while await database.fetchval(query) < _HELD:
            await asyncio.sleep(0.1)
        took = []
        for number in range(1, kills + 1):
            other, other_url = await asyncio.to_thread(start)
            while not (await client.get(f"{other_url}/health")).json()["runner"]["active"]:
                await asyncio.sleep(0.05)
            # Anywhere between two renewals of the lease, and between two looks of the other.
            await asyncio.sleep(chance.uniform(0, _LEASE_SECONDS / 3))
            held = (await client.get(f"{holder_url}/health")).json()["runner"]["running"]
            assert held == _HELD, f"it holds {held}"
            took.append(await _until_resumed(database, number, holder.kill()))
            tell(f"  kill {number}: {min(took[-1]):.2f} to {max(took[-1]):.2f} s")
            holder, holder_url = other, other_url
        running = (await client.get(f"{holder_url}/health")).json()["runner"]["running"]
        assert running == _HELD, f"{running} run at the end"
    await database.close()
    return took


async def _until_resumed(database: Any, times: int, killed: float) -> list[float]:
    """Seconds from a kill until each deployment's event can be read by anybody."""
    took: dict[str, float] = {}
    while len(took) < _HELD:
        for row in await database.fetch(_RESUMED):
            if row["times"] >= times:
                took.setdefault(row["deployment_id"], time.time() - killed)
        assert time.time() - killed < 60, f"only {len(took)} were resumed"
        await asyncio.sleep(0.02)
    return list(took.values())
