"""Fixtures of every tier.

- `emulator`: an emulated Dokploy that works fast, fresh for each test; `tests/servers.py` has its verbs.
- `database_url`: a fresh SQLite database; `postgres_url`: a fresh one on PostgreSQL; `any_database_url`: the test runs
  on both. Each has the schema already; with `empty_` or `any_empty_` before the name it has none.
- `start_portal`: starts a portal against the emulator, with settings of the test's choice; stopped at the end.
- `portal`: one that is started already.
- `anyio_backend`: asyncio, for `@pytest.mark.anyio`.

No variable of the portal's in the environment, and no `.env`, reaches a test.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.config.settings import Settings
from app.sandbox import SandboxSettings, serve_in_thread
from app.store.engine import Database
from app.store.migrations import migrate
from tests import tiers
from tests.postgresql import PostgresServer, serve_postgresql
from tests.servers import Emulator, PortalServer, portal_settings, sqlite_url

pytest_plugins = ["tests.process_state", "tests.run_folder", "tests.summary"]


def pytest_configure(config: pytest.Config) -> None:
    """Take the portal's variables, and everybody's proxies, out of the environment, and know the tiers."""
    tiers.declare(config)
    is_real = os.environ.get("CONTRACT_REAL") or config.getoption("--real-dokploy", default=False)
    kept = {"DOKPLOY_URL", "DOKPLOY_API_TOKEN"} if is_real else set()
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"}
    for name in set(os.environ) - kept:
        ours = name.lower().removesuffix("_file") in Settings.model_fields or name.startswith("SANDBOX_")
        if ours or name.lower() in proxies:
            del os.environ[name]
    # A traceback with the value of every variable takes seconds of processor time, and nobody reads it.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], plain],
        # Not among what a command says, which may be tried beside a portal that logs.
        logger_factory=structlog.PrintLoggerFactory(sys.__stdout__),
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tiers."""
    tiers.mark(items)


# Tiers whose tests share within a file what takes long to start: a file of them stays in one worker.
_BY_FILE = ("tests/browser/", "tests/acceptance/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each file of a heavy tier in one worker, where several run side by side; all else goes where there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class ByTier(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0] if nodeid.startswith(_BY_FILE) else nodeid

    return ByTier(config, log)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def sandbox_settings() -> SandboxSettings:
    """How fast the emulator is; a test module may override it."""
    return SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=0)


@pytest.fixture
def emulator(sandbox_settings: SandboxSettings) -> Iterator[Emulator]:
    with serve_in_thread(sandbox_settings) as url:
        emulated = Emulator(url)
        yield emulated
        emulated.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing else."""
    folder = tmp_path_factory.mktemp("migrated")
    _migrate(sqlite_url(folder))
    return folder / "portal.db"


@pytest.fixture
def empty_database_url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path)


@pytest.fixture
def database_url(empty_database_url: str, migrated_file: Path, tmp_path: Path) -> str:
    shutil.copyfile(migrated_file, tmp_path / "portal.db")
    return empty_database_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this process."""
    with serve_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres: PostgresServer) -> str:
    """The name of a database with the schema and nothing else."""
    postgres.psql("CREATE DATABASE migrated")
    _migrate(postgres.url("migrated"))
    return "migrated"


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
def postgres_url(postgres: PostgresServer, migrated_database: str) -> Iterator[str]:
    with postgres.database(template=migrated_database) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("database_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def any_empty_database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("empty_database_url" if request.param == "sqlite" else "empty_postgres_url"))


def _migrate(url: str) -> None:
    """Bring a database's schema up to date, in a thread, since a browser's driver may keep a loop in this one."""

    async def work() -> None:
        database = Database(url)
        await migrate(database)
        await database.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


@pytest.fixture
def start_portal(emulator: Emulator, database_url: str) -> Iterator[Callable[..., PortalServer]]:
    started: list[PortalServer] = []

    def start(*, listen_on: int = 0, runs: bool = True, **values: Any) -> PortalServer:
        values.setdefault("database_url", database_url)
        server = PortalServer(portal_settings(emulator.url, **values), port=listen_on, runs=runs)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def portal(start_portal: Callable[..., PortalServer]) -> PortalServer:
    return start_portal()
