"""Many at once: how soon requests are answered, deployments done, and watchers told."""

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import httpx

from tests.benchmarks.processes import TOKEN, Connection, Process, emulator, moment, portal
from tests.benchmarks.table import Row, percentile

DEPLOY_SECONDS = 2.0
TITLE = f"Many at once: Dokploy's part takes {DEPLOY_SECONDS} s, no latency, unlimited queue, 32 calls at once"


def measure(options: argparse.Namespace) -> list[Row]:
    """Start, idle, one at a time, many at once, many watchers."""
    count = options.deployments
    with (
        emulator(DEPLOY_SECONDS=DEPLOY_SECONDS) as emulator_url,
        portal(emulator_url, options.database_url) as (process, portal_url, ready),
    ):
        rows = [Row("ready after process start, s", f"{ready:.2f}", "<= 2")]
        time.sleep(2)
        rows.append(Row("resident when idle, MB", f"{process.megabytes():.0f}", "<= 150"))
        path = asyncio.run(critical_path(emulator_url))
        took = statistics.median(asyncio.run(one_at_a_time(portal_url, 7)))
        rounds = [
            asyncio.run(many_at_once(process, portal_url, count, f"many-{number}")) for number in range(options.rounds)
        ]
        p50 = statistics.median(percentile(each["post"], 50) for each in rounds)
        p99 = statistics.median(percentile(each["post"], 99) for each in rounds)
        p95 = statistics.median(percentile(each["completed"], 95) for each in rounds)
        cpu = statistics.median(each["cpu"] for each in rounds)
        rows += [
            Row("critical path of calls to Dokploy, s (median of 10)", f"{path:.3f}"),
            Row(
                f"one deployment beyond it and {DEPLOY_SECONDS} s, s (median of 7)",
                f"{took - path - DEPLOY_SECONDS:.3f}",
                "<= 0.3",
            ),
            Row(f"{count} at once: POST p50, s", f"{p50:.3f}"),
            Row(f"{count} at once: POST p99, s", f"{p99:.3f}", "<= 0.5"),
            Row(f"{count} at once: completed p95, s", f"{p95:.2f}", "<= 6.0"),
            Row(f"{count} at once: processor time of the portal each, ms", f"{cpu * 1000:.1f}", "<= 30"),
            Row("resident afterwards, MB", f"{process.megabytes():.0f}"),
        ]
        learned = asyncio.run(watchers(portal_url, emulator_url, options.watchers))
        return [
            *rows,
            Row(f"{len(learned)} watchers learn of an event: p50, s", f"{percentile(learned, 50):.3f}"),
            Row(f"{len(learned)} watchers learn of an event: the last, s", f"{max(learned):.3f}", "<= 0.5"),
        ]


async def wait_over(client: httpx.AsyncClient, deployment_id: str) -> dict[str, Any]:
    while True:
        record: dict[str, Any] = (await client.get(f"/api/deployments/{deployment_id}")).json()
        if record["conclusion"] is not None:
            return record
        await asyncio.sleep(0.2)


def seconds_of(record: dict[str, Any], began: float) -> float:
    return float(moment(record["concludedAt"]) - began)


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
    # Asking for records costs the portal as well, so until all of them are over only their number is asked for.
    await asyncio.sleep(DEPLOY_SECONDS)
    while (await connections[0].request("GET", "/health"))[1]["runner"]["running"]:
        await asyncio.sleep(0.5)
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
