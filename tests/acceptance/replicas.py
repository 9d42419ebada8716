"""Several portals as processes of their own on one PostgreSQL, an emulated Dokploy beside them, and readers of streams."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from tests.servers import ADMIN_TOKEN, NO_LIMITS_IN_ENVIRONMENT, TOKEN

if TYPE_CHECKING:
    from tests.acceptance.conftest import Process

Command = Callable[..., "Process"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Replica:
    """One portal process, with verbs for what tests do to it; may be started again at the same address."""

    def __init__(self, command: Command, settings: dict[str, str], *arguments: str) -> None:
        self._command = command
        self._arguments = arguments
        self._settings = {**settings, "HOST": "127.0.0.1", "PORT": str(free_port())}
        self.url = f"http://127.0.0.1:{self._settings['PORT']}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self.start()

    def start(self) -> None:
        """Start it, without waiting."""
        self.process = self._command("serve", *self._arguments, **self._settings)

    def ready(self) -> "Replica":
        """Wait until it takes requests."""
        self.process.answers(f"{self.url}/ready", 60)
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

    def wait_for(self, deployment: str, event_type: str, seconds: float = 20, **params: Any) -> dict[str, Any]:
        """Wait for an event of a type, with these parameters."""
        deadline = time.monotonic() + seconds
        while True:
            for event in (events := self.events(deployment)):
                if event["type"] == event_type and params.items() <= event["params"].items():
                    return event
            assert time.monotonic() < deadline, f"no {event_type} in {events}"
            time.sleep(0.02)

    def succeeds(self, deployment: str, seconds: float = 30) -> list[dict[str, Any]]:
        """Wait until it is over, and return its events: it succeeded, and each of them is there once."""
        completed = self.wait_for(deployment, "deployment_completed", seconds)
        events = self.events(deployment)
        assert completed["conclusion"] == "succeeded", [
            (event["at"], event["key"], event["params"]) for event in events
        ]
        assert [event["n"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events].count("deployment_completed") == 1
        return events


def replica_settings(database_url: str, dokploy_url: str, **more: str) -> dict[str, str]:
    """What replicas share, as an operator would set it, with deadlines that fit a test."""
    return {
        "APP_ENV": "development",
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "DATABASE_URL": database_url,
        "DOKPLOY_URL": dokploy_url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "DOKPLOY_TIMEOUT_SECONDS": "3",
        "DOKPLOY_MAX_CONCURRENCY": "16",
        "STACK_DOMAIN_SUFFIX": "stacks.example",
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": dokploy_url.removeprefix("http://"),
        "CERTIFICATE_MODE": "none",
        **NO_LIMITS_IN_ENVIRONMENT,
        **more,
    }


def seconds_since(event: dict[str, Any], moment: float) -> float:
    """How long after a moment, by the wall clock that all processes here share, an event was recorded."""
    return datetime.fromisoformat(event["at"]).timestamp() - moment


@dataclass
class Reader:
    """Reads one deployment's stream as a browser does: connects again, to any replica, after the last number."""

    deployment: str
    addresses: Sequence[str]
    place: int
    """Which address is asked first."""
    numbers: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """How long after it was recorded each event came."""
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
            assert answer.status_code == 200, answer.status_code
            self.connections += 1
            retry, number, kind = None, None, ""
            async for line in answer.aiter_lines():
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
        self.late.append(-seconds_since(event, time.time()))
        self.conclusion = event["conclusion"]


@contextlib.contextmanager
def reading(readers: Sequence[Reader], seconds: float) -> Iterator[None]:
    """Read with all of them beside the block; at its end wait until all have read to the end."""

    async def work() -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for reader in readers:
                group.create_task(reader.read(client))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: asyncio.run(work()))
        try:
            yield
        except BaseException:
            for reader in readers:
                reader.given_up = True
            raise
        done.result()


def lines_of(process: "Process", event: str) -> list[dict[str, Any]]:
    """The lines of a process's log that tell of an event."""
    found = []
    for line in process.output.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("event") == event:
                found.append(entry)
    return found
