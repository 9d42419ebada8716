"""Where trials of the crash matrix take place: an emulator, a port for a portal, and databases that are fresh."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.acceptance.process import Launcher
from tests.ports import reserve_port
from tests.postgresql import PostgresServer
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
        self.port, emulator_port = reserve_port(), reserve_port()
        self.address = f"127.0.0.1:{emulator_port}"
        self._emulator = launcher.start(
            ["emulator", "--port", str(emulator_port)], folder, folder / "emulator.log", HOST="127.0.0.1", **EMULATOR
        )
        self.emulator = Emulator(f"http://{self.address}")
        self._emulator.answers(f"http://{self.address}/sandbox/state")

    def close(self) -> None:
        self.emulator.close()
        self._emulator.kill()
        self.launcher.close()


class Store:
    """Fresh databases of one kind."""

    def __init__(self, server: PostgresServer | None = None) -> None:
        """`server`: a PostgreSQL server; None for SQLite."""
        self._server = server

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[str]:
        """The address of a database that is empty, and gone afterwards."""
        if self._server is None:
            yield f"sqlite+aiosqlite:///{folder / 'portal.db'}"
            return
        with self._server.database() as url:
            yield url

    def end_leases(self, url: str) -> None:
        """End the leases of processes that are dead, so that nobody has to wait until they run out."""
        if self._server is not None:
            self._server.psql("UPDATE worker SET expires_at = 0", database=urlsplit(url).path.strip("/"))
