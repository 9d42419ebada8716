"""Measures the portal under load and prints a table: emulator, portal and load in processes of their own.

Figures are what this machine gave; nothing here asserts. `python -m tests.benchmarks --help` says what can be changed.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

DEPLOY_SECONDS = 2.0
TOKEN = "sandbox-token"


class Process:
    """A process of ours, with its processor time and memory."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self.began = time.monotonic()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH",""), **env},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        line = next(
            line for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines() if "VmRSS" in line
        )
        return int(line.split()[1]) / 1024

    def wait_ready(self, url: str) -> float:
        """Wait until a URL answers 200; returns seconds since the process was started."""
        while True:
            try:
                if httpx.get(url, trust_env=False).status_code == 200:
                    return time.monotonic() - self.began
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                self._log.seek(0)
                raise SystemExit(f"the process ended: {self._log.read().decode()}")
            time.sleep(0.005)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=30)
        self._log.close()


@contextmanager
def running(database_url: str | None) -> Iterator[tuple[Process, str, str, float]]:
    """An emulator and a portal; yields the portal, both addresses, and how long the portal took to be ready."""
    emulator_port, portal_port = free_port(), free_port()
    emulator_url, portal_url = f"http://127.0.0.1:{emulator_port}", f"http://127.0.0.1:{portal_port}"
    emulator = Process(
        "emulator",
        env={
            "HOST": "127.0.0.1",
            "PORT": str(emulator_port),
            "SANDBOX_DEPLOY_SECONDS": str(DEPLOY_SECONDS),
            "SANDBOX_START_SECONDS": "0",
            "SANDBOX_CONCURRENCY": "0",
        },
    )
    try:
        emulator.wait_ready(f"{emulator_url}/api/health")
        with tempfile.TemporaryDirectory() as folder:
            portal = Process(
                "serve",
                env={
                    "HOST": "127.0.0.1",
                    "PORT": str(portal_port),
                    "APP_ENV": "development",
                    "LOG_LEVEL": "warning",
                    "SECRET_KEY": "a-key-that-is-only-for-measuring",
                    "DATABASE_URL": database_url or f"sqlite+aiosqlite:///{folder}/portal.db",
                    "DOKPLOY_URL": emulator_url,
                    "DOKPLOY_API_TOKEN": TOKEN,
                    "DOKPLOY_MAX_CONCURRENCY": "32",
                    "STACK_DOMAIN_SUFFIX": "stacks.example",
                    "STACK_IMAGE": "example/opencode:1",
                    "STACK_PROBE_ADDRESS": emulator_url.removeprefix("http://"),
                    "CERTIFICATE_MODE": "none",
                },
            )
            try:
                yield portal, portal_url, emulator_url, portal.wait_ready(f"{portal_url}/ready")
            finally:
                portal.stop()
    finally:
        emulator.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]


async def wait_over(client: httpx.AsyncClient, deployment_id: str) -> dict[str, Any]:
    while True:
        record: dict[str, Any] = (await client.get(f"/api/deployments/{deployment_id}")).json()
        if record["conclusion"] is not None:
            return record
        await asyncio.sleep(0.2)


def seconds_of(record: dict[str, Any], began: float) -> float:
    return float(moment(record["concludedAt"]) - began)


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


async def critical_path(emulator_url: str) -> float:
    """Seconds that the calls which must follow each other take, made straight to Dokploy."""
    async with httpx.AsyncClient(base_url=emulator_url, headers={"x-api-key": TOKEN}, trust_env=False) as dokploy:

        async def post(call: str, **body: Any) -> Any:
            answer = await dokploy.post(f"/api/{call}", json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        took = []
        for number in range(10):
            began = time.monotonic()
            project = await post("project.create", name=f"bench-{number}", description="bench")
            environment = project["environment"]["environmentId"]
            app = await post("application.create", name="bench", environmentId=environment)
            await post("application.update", applicationId=app["applicationId"], sourceType="docker", dockerImage="x")
            await post("application.deploy", applicationId=app["applicationId"], title="bench")
            took.append(time.monotonic() - began)
        return statistics.median(took)


async def one_at_a_time(portal_url: str, times: int) -> list[float]:
    async with httpx.AsyncClient(base_url=portal_url, timeout=60, trust_env=False) as client:
        took = []
        for number in range(times):
            began = time.time()
            accepted = (await client.post("/api/deploy", json={"name": f"one-{number}"})).json()
            took.append(seconds_of(await wait_over(client, accepted["deploymentId"]), began))
        return took


class Connection:
    """One kept-alive connection, read by hand: a client library would cost more than the portal it measures."""

    @classmethod
    async def open(cls, url: str) -> "Connection":
        self = cls()
        self._host, port = url.removeprefix("http://").split(":")
        self._reader, self._writer = await asyncio.open_connection(self._host, int(port))
        return self

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        content = json.dumps(body).encode() if body is not None else b""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def many_at_once(portal: Process, portal_url: str, count: int, prefix: str) -> dict[str, Any]:
    # Connections are made before the clock starts, as a proxy in front would hold them.
    connections = [await Connection.open(portal_url) for _ in range(count)]
    for connection in connections:
        await connection.request("GET", "/health")
    cpu = portal.cpu_seconds()

    async def post(number: int) -> tuple[float, float, str]:
        began = time.time()
        status, answer = await connections[number].request("POST", "/api/deploy", {"name": f"{prefix}-{number}"})
        assert status == 202, answer
        return began, time.time() - began, answer["deploymentId"]

    posts = await asyncio.gather(*(post(number) for number in range(count)))
    # Asking for records costs the portal as well, so they are asked for when all of them should be over.
    await asyncio.sleep(DEPLOY_SECONDS + 6.0)
    used = portal.cpu_seconds() - cpu
    for connection in connections:
        connection.close()
    reading = await Connection.open(portal_url)
    records = [(await reading.request("GET", f"/api/deployments/{each}"))[1] for _, _, each in posts]
    reading.close()
    failed = [record["problem"] or record["status"] for record in records if record["conclusion"] != "succeeded"]
    assert not failed, failed[:3]
    return {
        "post": [took for _, took, _ in posts],
        "completed": [seconds_of(record, began) for record, (began, _, _) in zip(records, posts, strict=True)],
        "cpu": used / count,
    }


async def watchers(portal_url: str, emulator_url: str, count: int) -> list[float]:
    """Seconds from an event's own moment until each of many connected watchers has read it."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        await client.post(f"{emulator_url}/sandbox/faults", json={"kind": "stuck", "seconds": 60})
        accepted = (await client.post(f"{portal_url}/api/deploy", json={"name": "watched"})).json()
        await asyncio.sleep(1.0)
        host, port = portal_url.removeprefix("http://").split(":")
        connected: list[asyncio.Future[None]] = []
        learned: list[float] = []

        async def watch(ready: "asyncio.Future[None]") -> None:
            reader, writer = await asyncio.open_connection(host, int(port))
            path = accepted["eventsUrl"]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())
            try:
                while line := await reader.readline():
                    if line.startswith(b"data:") and not ready.done() and b"container_running" in line:
                        ready.set_result(None)
                    if line.startswith(b"data:") and b'"cancel_requested"' in line:
                        learned.append(time.time() - moment(json.loads(line[5:])["at"]))
                        return
            finally:
                writer.close()

        tasks = []
        for _ in range(count):
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            connected.append(ready)
            tasks.append(asyncio.create_task(watch(ready)))
        await asyncio.wait_for(asyncio.gather(*connected), timeout=60)
        await asyncio.sleep(1.0)
        key = {"authorization": f"Bearer {accepted['manageKey']}"}
        answer = await client.post(f"{portal_url}/api/deployments/{accepted['deploymentId']}/cancel", headers=key)
        answer.raise_for_status()
        await asyncio.wait_for(asyncio.gather(*tasks), timeout=60)
        return learned


def row(what: str, measured: str, wanted: str) -> None:
    print(f"{what:<58} {measured:>12} {wanted:>14}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of many at once; each figure is the median")
    parser.add_argument("--database-url", help="PostgreSQL instead of a fresh SQLite file")
    options = parser.parse_args()
    print(f"{platform.system()}, {os.cpu_count()} processors, Python {platform.python_version()}; ", end="")
    print("PostgreSQL" if options.database_url else "SQLite")
    print(f"Dokploy deployment {DEPLOY_SECONDS} s, no latency, unlimited queue, DOKPLOY_MAX_CONCURRENCY=32\n")
    row("", "measured", "wanted")
    with running(options.database_url) as (portal, portal_url, emulator_url, ready):
        row("ready after process start, s", f"{ready:.2f}", "<= 2")
        time.sleep(2)
        row("resident when idle, MB", f"{portal.megabytes():.0f}", "<= 150")
        path = asyncio.run(critical_path(emulator_url))
        took = statistics.median(asyncio.run(one_at_a_time(portal_url, 7)))
        row("critical path of calls to Dokploy, s (median of 10)", f"{path:.3f}", "")
        row("one deployment beyond it and 2.0 s, s (median of 7)", f"{took - path - DEPLOY_SECONDS:.3f}", "<= 0.3")
        rounds = [
            asyncio.run(many_at_once(portal, portal_url, options.deployments, f"many-{number}"))
            for number in range(options.rounds)
        ]
        count = options.deployments
        p50 = statistics.median(percentile(each["post"], 50) for each in rounds)
        p99 = statistics.median(percentile(each["post"], 99) for each in rounds)
        p95 = statistics.median(percentile(each["completed"], 95) for each in rounds)
        cpu = statistics.median(each["cpu"] for each in rounds)
        row(f"{count} at once: POST p50, s", f"{p50:.3f}", "")
        row(f"{count} at once: POST p99, s", f"{p99:.3f}", "<= 0.5")
        row(f"{count} at once: completed p95, s", f"{p95:.2f}", "<= 6.0")
        row(f"{count} at once: processor time of the portal each, ms", f"{cpu * 1000:.1f}", "<= 30")
        row("resident afterwards, MB", f"{portal.megabytes():.0f}", "")
        learned = asyncio.run(watchers(portal_url, emulator_url, options.watchers))
        row(f"{len(learned)} watchers learn of an event: p50, s", f"{percentile(learned, 50):.3f}", "")
        row(f"{len(learned)} watchers learn of an event: the last, s", f"{max(learned):.3f}", "<= 0.5")


if __name__ == "__main__":
    main()
