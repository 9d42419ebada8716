"""Several portals as processes of their own on one PostgreSQL, an emulated Dokploy beside them, and readers of streams."""

import asyncio
import contextlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from tests.acceptance.process import Process
from tests.ports import reserve_port
from tests.servers import ADMIN_TOKEN, NO_LIMITS_IN_ENVIRONMENT, TOKEN, Emulator, http_client
from tests.waiting import WAIT_SECONDS, wait_until

Command = Callable[..., Process]


class Replica:
    """One portal process, with verbs for what tests do to it; may be started again at the same address."""

    def __init__(self, command: Command, settings: dict[str, str], *arguments: str) -> None:
        self._command = command
        self._arguments = arguments
        self._settings = {**settings, "HOST": "127.0.0.1", "PORT": str(reserve_port())}
        self.url = f"http://127.0.0.1:{self._settings['PORT']}"
        self.client = http_client(base_url=self.url)
        self.start()

    def start(self) -> None:
        """Start it, without waiting."""
        self.process = self._command("serve", *self._arguments, **self._settings)

    def ready(self) -> "Replica":
        """Wait until it takes requests."""
        self.process.answers(f"{self.url}/ready")
        return self

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.client.get("/health").raise_for_status().json()
        return health

    def deploy(self, name: str) -> str:
        """Deploy, expect that it is taken in, and return the deployment's id."""
        answer = self.client.post("/api/deploy", json={"name": name})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["deploymentId"])

    def events(self, deployment: str) -> list[dict[str, Any]]:
        """The events there are."""
        answer = self.client.get(
            f"/api/deployments/{deployment}/events",
            params={"follow": "false"},
            headers={"accept": "application/x-ndjson"},
        )
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def wait_for(self, deployment: str, event_type: str, **params: Any) -> dict[str, Any]:
        """Wait for an event of a type, with these parameters."""

        def found() -> dict[str, Any] | None:
            for event in self.events(deployment):
                if event["type"] == event_type and params.items() <= event["params"].items():
                    return event
            return None

        return wait_until(found, tell=lambda: f"no {event_type} in {self.events(deployment)}", pause=0.02)

    def succeeds(self, deployment: str) -> list[dict[str, Any]]:
        """Wait until it is over, and return its events: it succeeded, and each of them is there once."""
        completed = self.wait_for(deployment, "deployment_completed")
        events = self.events(deployment)
        assert completed["conclusion"] == "succeeded", [
            (event["at"], event["key"], event["params"]) for event in events
        ]
        assert [event["n"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events].count("deployment_completed") == 1
        return events


def replica_settings(database_url: str, dokploy_url: str, **more: str) -> dict[str, str]:
    """What replicas share, as an operator would set it. No deadline of theirs is so short that a busy machine misses it.

    A lease ends where its holder gives it up. A test of one that runs out gives a lease of its own.
    """
    return {
        "APP_ENV": "development",
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "DATABASE_URL": database_url,
        "DOKPLOY_URL": dokploy_url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "DOKPLOY_TIMEOUT_SECONDS": str(WAIT_SECONDS),
        "DOKPLOY_MAX_CONCURRENCY": "16",
        "STACK_DOMAIN_SUFFIX": "stacks.example",
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": dokploy_url.removeprefix("http://"),
        "CERTIFICATE_MODE": "none",
        "RUNNER_LEASE_SECONDS": "300",
        "SSE_TIMEOUT_SECONDS": "3600",
        **NO_LIMITS_IN_ENVIRONMENT,
        **more,
    }


@dataclass
class Reader:
    """Reads one deployment's stream as a browser does: connects again, to any replica, after the last number."""

    deployment: str
    addresses: Sequence[str]
    place: int
    """Which address is asked first."""
    numbers: list[int] = field(default_factory=list)
    moments: list[tuple[float, float]] = field(default_factory=list)
    """When each event was recorded, and when it came."""
    connections: int = 0
    pauses: int = 0
    conclusion: str | None = None
    given_up: bool = False

    async def read(self, client: httpx.AsyncClient) -> None:
        """Read to the end of the deployment."""
        while self.conclusion is None and not self.given_up:
            with contextlib.suppress(httpx.TransportError):
                await self._connect(client)
            if self.conclusion is None:
                self.place += 1
                await asyncio.sleep(random.uniform(0.05, 0.3))

    async def _connect(self, client: httpx.AsyncClient) -> None:
        url = f"{self.addresses[self.place % len(self.addresses)]}/api/deployments/{self.deployment}/events"
        headers = {"last-event-id": str(self.numbers[-1])} if self.numbers else {}
        async with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                assert "retry-after" in answer.headers
                return
            assert answer.status_code == 200, answer.status_code
            self.connections += 1
            retry, number, kind = None, None, ""
            async for line in answer.aiter_lines():
                if self.given_up:
                    return
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "retry":
                    retry = value
                elif name == "event":
                    kind = value
                elif name == "data" and number is not None:
                    self._take(number, json.loads(value))
                elif not line:
                    if kind == "pause":
                        assert retry, "a reader is told when to come back"
                        self.pauses += 1
                    retry, number, kind = None, None, ""

    def _take(self, number: int, event: dict[str, Any]) -> None:
        self.numbers.append(number)
        self.moments.append((datetime.fromisoformat(event["at"]).timestamp(), time.time()))
        self.conclusion = event["conclusion"]


@contextlib.contextmanager
def reading(readers: Sequence[Reader]) -> Iterator[None]:
    """Read with all of them beside the block; at its end wait until all have read to the end."""

    async def work() -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=WAIT_SECONDS, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for reader in readers:
                group.create_task(reader.read(client))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: asyncio.run(work()))
        try:
            yield
            wait_for_count(lambda: math.inf if done.done() else sum(len(each.numbers) for each in readers), math.inf)
        except BaseException:
            for reader in readers:
                reader.given_up = True
            raise
        done.result()


def wait_for_count(count: Callable[[], float], wanted: float) -> None:
    """Wait until a count is reached, for as long as it grows: how long that takes is a matter of how many there are."""
    reached = -1.0

    def grown() -> float | None:
        now = count()
        return now if now > reached or now >= wanted else None

    while reached < wanted:
        reached = wait_until(grown, tell=lambda: f"Wanted are {wanted}.", pause=0.02)


def wait_until_at_work(dokploy: Emulator, count: int) -> None:
    """Wait until Dokploy works on so many deployments."""
    wait_for_count(lambda: len(dokploy.ask("deployment.queueList")), count)


def lines_of(process: "Process", event: str) -> list[dict[str, Any]]:
    """The lines of a process's log that tell of an event."""
    found = []
    for line in process.output.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("event") == event:
                found.append(entry)
    return found
