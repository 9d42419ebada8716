"""Fixtures of every tier.

- `emulator`: an emulated Dokploy that works fast, fresh for each test; `tests/servers.py` has its verbs.
- `database_url`: a fresh SQLite database; `postgres_url`: a fresh one on PostgreSQL; `any_database_url`: the test runs
  on both.
- `start_portal`: starts a portal against the emulator, with settings of the test's choice; stopped at the end.
- `portal`: one that is started already.
- `anyio_backend`: asyncio, for `@pytest.mark.anyio`.

No variable of the portal's in the environment, and no `.env`, reaches a test.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.sandbox import SandboxSettings, serve_in_thread
from app.settings import Settings
from tests.servers import Emulator, PortalServer, portal_settings, serve_postgresql, sqlite_url

_KEPT = {"DOKPLOY_URL", "DOKPLOY_API_TOKEN"} if os.environ.get("CONTRACT_REAL") else set()


# Tiers whose tests keep a processor busy by themselves, and share what takes long to start: each stays in one worker.
_ALONE = ("tests/browser/", "tests/acceptance/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each heavy tier in one worker, where `make test` runs several side by side; all else goes where there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class ByTier(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((tier for tier in _ALONE if nodeid.startswith(tier)), nodeid)

    return ByTier(config, log)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take our variables, and everybody's proxies, out of the environment."""
    kept = _KEPT or (
        {"DOKPLOY_URL", "DOKPLOY_API_TOKEN"} if request.config.getoption("--real-dokploy", default=False) else set()
    )
    for name in list(os.environ):
        ours = name.lower().removesuffix("_file") in Settings.model_fields or name.startswith("SANDBOX_")
        if (ours and name not in kept) or name.lower() in {"http_proxy", "https_proxy", "all_proxy", "ssl_cert_file"}:
            monkeypatch.delenv(name)


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


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server out of a wheel, for the whole session."""
    with serve_postgresql(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    name = f"portal_{secrets.token_hex(6)}"
    postgres.psql(f"CREATE DATABASE {name};")
    return str(postgres.get_uri(name)).replace("postgresql://", "postgresql+asyncpg://", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return sqlite_url(tmp_path) if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


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
