"""All in flight at once in one process: its processor time, how late its event loop gets, its memory."""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import Connection, Process, emulator, portal
from tests.benchmarks.sampled import SLEEP
from tests.benchmarks.table import Row, percentile, tell

# In a burst a connection a request would measure the burst of connections; a proxy in front holds about so many.
_CONNECTIONS = 50
TITLE = "In flight at once, in one process"


@dataclass
class Flight:
    """What was seen of one flight."""

    began: float
    ended: float = 0.0
    most: int = 0
    cpu: float = 0.0
    cpu_until_all_run: float = 0.0
    failed: list[Any] = field(default_factory=list)


def measure(options: argparse.Namespace) -> list[Row]:
    """Ask for all of them at once; Dokploy's part takes so long that the last is begun before the first is over."""
    count, seconds = options.in_flight, options.in_flight_seconds
    with tempfile.TemporaryDirectory() as folder:
        lag_file = Path(folder) / "lag"
        with (
            emulator(DEPLOY_SECONDS=seconds) as emulator_url,
            portal(emulator_url, options.database_url, module="tests.benchmarks.sampled", LAG_FILE=str(lag_file)) as (
                process,
                url,
                _,
            ),
        ):
            time.sleep(2)
            flight = asyncio.run(fly(process, url, count, seconds))
            peak = process.megabytes(peak=True)
        samples = [tuple(map(float, line.split())) for line in lag_file.read_text().splitlines()]
    lags = [delay for at, delay in samples if flight.began <= at <= flight.ended]
    each = flight.cpu / count * 1000
    return [
        Row(f"{count} deployments, each {seconds:g} s in Dokploy: most at once", str(flight.most), f"= {count}"),
        Row("failed", str(len(flight.failed)), "= 0"),
        Row("from the first request to the last end, s", f"{flight.ended - flight.began:.1f}"),
        Row("processor time for each, ms", f"{each:.1f}", "<= 30"),
        Row("of it until all of them ran, ms", f"{flight.cpu_until_all_run / count * 1000:.1f}"),
        Row(f"lag of the event loop, p50 of {len(lags)} samples, ms", f"{percentile(lags, 50) * 1000:.1f}"),
        Row("lag of the event loop, p99, ms", f"{percentile(lags, 99) * 1000:.1f}", "<= 50"),
        Row("the same, each stall counted for all that it held up, ms", f"{percentile(spread(lags), 99) * 1000:.1f}"),
        Row("lag of the event loop, the longest, ms", f"{max(lags) * 1000:.0f}"),
        Row("resident, at its highest, MB", f"{peak:.0f}", "<= 200"),
    ]


def spread(lags: Sequence[float]) -> list[float]:
    """Count a stall as often as a sampler would have that came every 10 ms also meanwhile."""
    return [late for lag in lags for late in [lag, *(lag - SLEEP * n for n in range(1, int(lag / SLEEP) + 1))]]


async def fly(process: Process, url: str, count: int, seconds: float) -> Flight:
    """Send all requests, watch the number of runs, and wait until it is nought."""
    connections = [await Connection.open(url) for _ in range(min(_CONNECTIONS, count))]
    looking = await Connection.open(url)
    cpu = process.cpu_seconds()
    flight = Flight(time.monotonic())
    numbers = iter(range(count))
    ids: list[str] = []

    async def ask(connection: Connection) -> None:
        for number in numbers:
            status, answer = await connection.request("POST", "/api/deploy", {"name": f"flight-{number}"})
            assert status == 202, answer
            ids.append(answer["deploymentId"])

    asking = asyncio.gather(*(ask(connection) for connection in connections))
    give_up = time.monotonic() + 10 * seconds + 120
    while True:
        await asyncio.sleep(0.5)
        running = (await looking.request("GET", "/health"))[1]["runner"]["running"]
        if running > flight.most:
            flight.most, flight.cpu_until_all_run = running, process.cpu_seconds() - cpu
        if asking.done() and running == 0:
            break
        assert time.monotonic() < give_up, f"{running} still run"
    await asking
    flight.ended = time.monotonic()
    flight.cpu = process.cpu_seconds() - cpu
    records = [(await looking.request("GET", f"/api/deployments/{each}"))[1] for each in ids]
    flight.failed = [record["problem"] or record["status"] for record in records if record["conclusion"] != "succeeded"]
    for each in flight.failed[:3]:
        tell(f"  did not succeed: {each}")
    for connection in (*connections, looking):
        connection.close()
    return flight
