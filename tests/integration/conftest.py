"""Servers that the tests of one module share, where each of many cases needs no more of them than an empty Dokploy."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import pytest

from app.sandbox import SandboxSettings, serve_in_thread
from app.store import postgresql
from app.store.engine import Database
from app.store.migrations import migrate
from tests.integration.holding import UNHURRIED
from tests.servers import AMPLE_SECONDS, Emulator, PortalServer, portal_settings, serve_portal, sqlite_url

# Most of a case is waiting, so that several at once take little longer than one.
AT_ONCE = 4


FAST = SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=0)
# Deadlines that end soon, for tests of what happens then.
HURRIED: dict[str, Any] = {
    "dokploy_timeout_seconds": 0.5,
    "dokploy_patience_seconds": 3,
    "deploy_timeout_seconds": 1.5,
    "deploy_appear_seconds": 1,
    "verify_timeout_seconds": 1,
    "undo_timeout_seconds": 1.5,
}
# What cannot be removed is left soon; no other deadline ends in a test's time.
LEAVES_SOON: dict[str, Any] = {**UNHURRIED, "undo_timeout_seconds": 1.5}
# One deployment at a time, as Dokploy's own default is.
ONE_AT_A_TIME = FAST.model_copy(update={"CONCURRENCY": 1, "DEPLOY_SECONDS": 0.1})


@dataclass(frozen=True)
class Servers:
    """A portal and the emulator behind it."""

    portal: PortalServer
    emulator: Emulator


@cache
def _schema() -> bytes:
    """The file of an empty store: to migrate each one anew would take longer than to start its portal."""

    async def make(folder: str) -> None:
        database = Database(sqlite_url(Path(folder)))
        await migrate(database)
        await database.close()

    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(make(folder))).result()
        return (Path(folder) / "portal.db").read_bytes()


@pytest.fixture(scope="session", autouse=True)
def patient_store() -> Iterator[None]:
    """PostgreSQL is not taken for away because this machine is slow; one that is away says so at once."""
    with pytest.MonkeyPatch.context() as patch:
        for deadline in ("_CONNECT_SECONDS", "_STATEMENT_SECONDS"):
            patch.setattr(postgresql, deadline, AMPLE_SECONDS)
        yield


@contextmanager
def serve_both(folder: Path, sandbox: SandboxSettings = FAST, **values: Any) -> Iterator[Servers]:
    """Serve an emulator and a portal. `values`: its settings; without any its deadlines end soon."""
    (folder / "portal.db").write_bytes(_schema())
    with serve_in_thread(sandbox) as url:
        settings = portal_settings(url, sqlite_url(folder), **{**HURRIED, **values})
        with closing(Emulator(url)) as emulator, serve_portal(settings) as portal:
            yield Servers(portal, emulator)


@pytest.fixture(scope="module")
def portal_values() -> dict[str, Any]:
    """Settings of the portals that serve side by side; a test module may override it."""
    return {}


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    """Settings of the portal that a module's tests share; a module that waits for no deadline returns UNHURRIED."""
    return {}


@pytest.fixture(scope="module")
def shared_servers(shared_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with serve_both(tmp_path_factory.mktemp("shared"), **shared_values) as servers:
        yield servers


@pytest.fixture
def servers(shared_servers: Servers) -> Servers:
    """The module's servers, with an empty Dokploy and nothing under way that an earlier test has begun."""
    shared_servers.emulator.clear_faults()
    shared_servers.emulator.release(0)
    shared_servers.portal.wait_until_idle()
    shared_servers.emulator.reset()
    return shared_servers


def at_once(cases: Iterable[str], check: Callable[[str], None]) -> None:
    """Check cases several at once; every one that fails is told."""

    def check_one(case: str) -> Exception | None:
        try:
            check(case)
        except Exception as error:
            error.add_note(f"case: {case}")
            return error
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [failure for failure in pool.map(check_one, cases) if failure is not None]
    if failures:
        raise ExceptionGroup("some cases fail", failures)


class Scenarios:
    """Cases that need servers of their own kind, each a function of them with a name, and checked side by side."""

    def __init__(self) -> None:
        self._all: dict[str, tuple[SandboxSettings, dict[str, Any], Callable[[Servers], None]]] = {}

    def add(
        self, sandbox: SandboxSettings = FAST, **values: Any
    ) -> Callable[[Callable[[Servers], None]], Callable[[Servers], None]]:
        """Enter the function below. `values`: settings of its portal."""

        def enter(scenario: Callable[[Servers], None]) -> Callable[[Servers], None]:
            self._all[scenario.__name__] = (sandbox, values, scenario)
            return scenario

        return enter

    def check(self, folder: Path) -> None:
        """Check them all."""
        starting = Lock()

        def check_one(name: str) -> None:
            sandbox, values, scenario = self._all[name]
            own = folder / name
            own.mkdir()
            with ExitStack() as stack:
                with starting:  # Alembic migrates one database at a time
                    servers = stack.enter_context(serve_both(own, sandbox, **values))
                scenario(servers)

        at_once(self._all, check_one)


SideBySide = Callable[[Iterable[str], Callable[[Servers, str], None]], None]


@pytest.fixture(scope="module")
def side_by_side(portal_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    """Check cases several at once, each against servers that it has to itself; every case that fails is told."""
    idle: SimpleQueue[Servers] = SimpleQueue()

    def check_all(cases: Iterable[str], check: Callable[[Servers, str], None]) -> None:
        def check_one(case: str) -> None:
            servers = idle.get()
            try:
                servers.emulator.reset()
                check(servers, case)
            finally:
                idle.put(servers)

        at_once(cases, check_one)

    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            idle.put(stack.enter_context(serve_both(tmp_path_factory.mktemp("side"), **portal_values)))
        yield check_all
