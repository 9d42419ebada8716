"""Two portals on one PostgreSQL: how soon a stream of one tells what the other has written."""

import argparse
import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import httpx

from tests.benchmarks.processes import emulator, moment, postgres, start_portal
from tests.benchmarks.table import Row, percentile

_DEPLOY_SECONDS = 0.3
TITLE = "From one replica to a stream of the other, over PostgreSQL"


def measure(options: argparse.Namespace) -> list[Row]:
    """One deployment after the other, each watched on the replica that does not run it."""
    with emulator(DEPLOY_SECONDS=_DEPLOY_SECONDS) as emulator_url, postgres() as database_url, ExitStack() as stack:
        urls = []
        for _ in range(2):
            process, url = start_portal(emulator_url, database_url)
            stack.callback(process.stop)
            process.wait_ready(f"{url}/ready")
            urls.append(url)
        time.sleep(2)
        late = asyncio.run(_watch(urls, options.watched))
    return [
        Row(f"{len(late)} events of {options.watched} deployments: median, ms", f"{percentile(late, 50) * 1000:.1f}"),
        Row("p99, ms", f"{percentile(late, 99) * 1000:.1f}", "<= 50"),
        Row("the longest, ms", f"{max(late) * 1000:.1f}"),
    ]


async def _watch(urls: list[str], times: int) -> list[float]:
    late: list[float] = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for number in range(times):
            answer = (await client.post(f"{urls[number % 2]}/api/deploy", json={"name": f"told-{number}"})).json()
            streams = [asyncio.create_task(_read(url, answer["eventsUrl"])) for url in urls]
            await asyncio.sleep(0.25)
            # Whoever was quicker has claimed it; asked while it still runs.
            running = [(await client.get(f"{url}/health")).json()["runner"]["running"] for url in urls]
            told = await asyncio.gather(*streams)
            if sorted(running) == [0, 1]:
                late += told[running.index(0)]
    assert late, "nobody could be seen running anything"
    return late


async def _read(url: str, path: str) -> list[float]:
    """Seconds from each event's own moment, taken before it is written, until the stream has told it."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())
    connected: float | None = None
    late = []
    try:
        while line := await reader.readline():
            now = time.time()
            if not line.startswith(b"data:"):
                continue
            event: dict[str, Any] = json.loads(line[5:])
            if connected is None:
                connected = now  # the first heartbeat; what is older than that is replayed, not told
            elif event and (at := moment(event["at"])) > connected:
                late.append(now - at)
            if event.get("type") == "deployment_completed":
                break
    finally:
        writer.close()
    return late
