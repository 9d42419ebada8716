"""What the benchmarks start and ask: emulator, portals and PostgreSQL in processes of their own, lean connections."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.ports import reserve_port
from tests.postgresql import serve_postgresql
from tests.servers import NO_LIMITS_IN_ENVIRONMENT

TOKEN = "sandbox-token"
ROOT = Path(__file__).parents[2]


class Process:
    """A process of ours, with its processor time and memory. `module`: what is run, if not the portal's own."""

    def __init__(self, *arguments: str, env: Mapping[str, str], module: str = "app") -> None:
        self.began = time.monotonic()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu(self) -> float:
        """Processor seconds so far, by the kernel's own clock for the process: far finer than its ticks."""
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def megabytes(self, *, peak: bool = False) -> float:
        """Resident memory, now or at its highest."""
        name = "VmHWM" if peak else "VmRSS"
        line = next(line for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines() if name in line)
        return int(line.split()[1]) / 1024

    def wait_ready(self, url: str) -> float:
        """Wait until a URL answers 200; returns seconds since the process was started."""
        with httpx.Client(trust_env=False) as client:
            while True:
                try:
                    if client.get(url).status_code == 200:
                        return time.monotonic() - self.began
                except httpx.TransportError:
                    pass
                if self._process.poll() is not None:
                    raise SystemExit(f"the process ended: {self.output()}")
                time.sleep(0.005)

    def output(self) -> str:
        """What it has said so far."""
        self._log.seek(0)
        return self._log.read().decode()

    def kill(self) -> float:
        """End it as the kernel would, without a word to it; returns the moment."""
        at = time.time()
        self._process.kill()
        self._process.wait(timeout=30)
        return at

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()


@contextmanager
def emulator(**settings: object) -> Iterator[str]:
    """An emulated Dokploy; `settings` are those of the emulator, without their prefix."""
    port = reserve_port()
    given = {"START_SECONDS": 0, "CONCURRENCY": 0, **settings}
    process = Process(
        "emulator",
        env={
            "HOST": "127.0.0.1",
            "PORT": str(port),
            **{f"SANDBOX_{name}": str(value) for name, value in given.items()},
        },
    )
    try:
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(f"{url}/api/health")
        yield url
    finally:
        process.stop()


def start_portal(emulator_url: str, database_url: str, *, module: str = "app", **env: str) -> tuple[Process, str]:
    """Start a portal against an emulator; returns it with its address, as soon as it has begun."""
    port = reserve_port()
    process = Process(
        "serve",
        module=module,
        env={
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "APP_ENV": "development",
            "LOG_LEVEL": "warning",
            "SECRET_KEY": "a-key-that-is-only-for-measuring",
            "DATABASE_URL": database_url,
            "DOKPLOY_URL": emulator_url,
            "DOKPLOY_API_TOKEN": TOKEN,
            "DOKPLOY_MAX_CONCURRENCY": "32",
            "STACK_DOMAIN_SUFFIX": "stacks.example",
            "STACK_IMAGE": "example/opencode:1",
            "STACK_PROBE_ADDRESS": emulator_url.removeprefix("http://"),
            "CERTIFICATE_MODE": "none",
            **NO_LIMITS_IN_ENVIRONMENT,
            **env,
        },
    )
    return process, f"http://127.0.0.1:{port}"


@contextmanager
def portal(
    emulator_url: str, database_url: str | None, *, module: str = "app", **env: str
) -> Iterator[tuple[Process, str, float]]:
    """A portal, by default on a fresh SQLite file; yields it, its address, and how long it took to be ready."""
    with tempfile.TemporaryDirectory() as folder:
        process, url = start_portal(
            emulator_url, database_url or f"sqlite+aiosqlite:///{folder}/portal.db", module=module, **env
        )
        try:
            yield process, url, process.wait_ready(f"{url}/ready")
        finally:
            process.stop()


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server as the tests use it, with one fresh database; yields its address."""
    with serve_postgresql() as server, server.database() as url:
        yield url


def moment(text: str) -> float:
    """Seconds since 1970 of a time as the portal or Dokploy writes it."""
    return datetime.fromisoformat(text).timestamp()


class Connection:
    """One kept-alive connection, read by hand: a client library would cost more than the portal it measures."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host, self._reader, self._writer = host, reader, writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        host, port = url.removeprefix("http://").split(":")
        return cls(host, *await asyncio.open_connection(host, int(port)))

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
