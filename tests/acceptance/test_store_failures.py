"""The store fails under a portal in a process of its own: what it says, and that it goes on when the store is back."""

import asyncio
import os
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from app.store.engine import Database
from app.store.migrations import migrate
from tests.acceptance.process import ROOT, Process
from tests.ports import reserve_port
from tests.postgresql import PostgresServer, serve_postgresql
from tests.programs import need_program
from tests.servers import ADMIN_TOKEN, NO_LIMITS_IN_ENVIRONMENT, SUFFIX, TOKEN, Emulator, http_client, sqlite_url
from tests.waiting import WAIT_SECONDS, wait_until

# A second each.
HEARTBEATS_AWAY = 10


class Portal:
    """A portal in a process of its own."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self.client = http_client(base_url=url)

    def deploy(self, name: str) -> dict[str, Any]:
        answer = self.client.post("/api/deploy", json={"name": name})
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def wait(self, deployment_id: str) -> dict[str, Any]:
        """Wait until a deployment is over, whatever the portal says meanwhile."""

        def over() -> dict[str, Any] | None:
            answer = self.client.get(f"/api/deployments/{deployment_id}")
            record: dict[str, Any] | None = answer.json() if answer.status_code == httpx.codes.OK else None
            return record if record and record["conclusion"] else None

        return wait_until(over, tell=lambda: self.process.output, pause=0.05)

    def numbers(self, deployment_id: str) -> list[int]:
        """Numbers of every event that was recorded."""
        answer = self.client.get(
            f"/api/deployments/{deployment_id}/events?follow=false", headers={"accept": "application/x-ndjson"}
        )
        return [int(line.partition('"n":')[2].partition(",")[0]) for line in answer.text.splitlines()]

    def wait_until_ready_says(self, trouble: str | None) -> None:
        """Wait until /ready tells this trouble; None for being ready."""

        def says_so() -> bool:
            answer = self.client.get("/ready")
            body = answer.json()
            assert answer.status_code == (200 if body["trouble"] is None else 503)
            assert body["ready"] is (body["trouble"] is None)
            return bool(body["trouble"] == trouble)

        wait_until(says_so, tell=lambda: self.process.output, pause=0.1)

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
def serve(portal_command: Callable[..., Process], emulator: Emulator) -> Iterator[Callable[[str], Portal]]:
    """Start a portal on a database and wait until it is ready."""
    started: list[Portal] = []

    def run(database_url: str) -> Portal:
        port = reserve_port()
        url = f"http://127.0.0.1:{port}"
        process = portal_command("serve", PORT=str(port), **environment(emulator, database_url))
        process.answers(f"{url}/ready")
        started.append(Portal(process, url))
        return started[-1]

    yield run
    for portal in started:
        portal.client.close()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for one module, to be stopped and started at will."""
    with serve_postgresql() as server:
        yield server


def ask_for_password(server: PostgresServer, user: str) -> None:
    """Create a user whose password nobody knows."""
    server.psql(f"DROP ROLE IF EXISTS {user}", f"CREATE ROLE {user} LOGIN PASSWORD 'unknown'")
    rules = server.data / "pg_hba.conf"
    if user not in (text := rules.read_text()):
        rules.write_text(f"local all {user} scram-sha-256\n{text}")
    server.reload()


# In the middle


def test_a_disk_that_is_full_is_told_and_waited_for(serve, database_url: str, emulator: Emulator):
    portal = serve(database_url)
    emulator.fault("stuck")
    deployment_id = portal.deploy("ada")["deploymentId"]
    wait_until(lambda: emulator.ask("deployment.queueList"))

    # From here on no file of the process may grow past its first byte.
    before = resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    portal.wait_until_ready_says("failing")
    portal.assert_refuses("store_failing")
    # Dokploy is done meanwhile, and it cannot be recorded.
    emulator.release()
    wait_until(lambda: not emulator.ask("deployment.queueList"))
    portal.wait_until_ready_says("failing")
    assert portal.client.get(f"/api/deployments/{deployment_id}").json()["conclusion"] is None
    resource.prlimit(portal.process.pid, resource.RLIMIT_FSIZE, before)

    portal.wait_until_ready_says(None)
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

    portal.wait_until_ready_says("corrupt")
    answer = portal.client.get("/api/stack/ada", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_corrupt")
    portal.assert_refuses("store_corrupt")
    assert portal.process.terminate() == 0
    assert "Traceback" not in portal.process.output


def read_stream(url: str, seen: list[int], beats: list[int]) -> None:
    """Read one stream to its end, on one connection; beats: how much of it was read at each heartbeat."""
    with (
        http_client() as client,
        connect_sse(client, "GET", url) as source,
    ):
        for event in source.iter_sse():
            if event.event == "heartbeat":
                beats.append(len(seen))
            elif event.id and event.event != "pause":
                seen.append(int(event.id))


def test_runs_and_streams_survive_a_postgresql_outage(serve, own_postgres, emulator: Emulator):
    portal = serve(own_postgres.url())
    emulator.fault("stuck", times=5)
    runs = [portal.deploy(f"stack-{number}")["deploymentId"] for number in range(5)]
    seen: dict[str, list[int]] = {run: [] for run in runs}
    beats: dict[str, list[int]] = {run: [] for run in runs}
    with ThreadPoolExecutor(5) as pool:
        streams = [
            pool.submit(read_stream, f"{portal.url}/api/deployments/{run}/events", seen[run], beats[run])
            for run in runs
        ]
        wait_until(lambda: len(emulator.ask("deployment.queueList")) == 5 and all(seen.values()))

        own_postgres.stop("immediate")
        portal.wait_until_ready_says("away")
        portal.assert_refuses("store_unavailable")
        # What happens meanwhile is recorded afterwards. It takes so many heartbeats that the leases run out, too.
        emulator.release()
        before = {run: len(beats[run]) for run in runs}
        wait_until(lambda: all(len(beats[run]) >= before[run] + HEARTBEATS_AWAY for run in runs))
        assert portal.client.get("/ready").status_code == 503
        assert not any(stream.done() for stream in streams), "every stream is still open"
        own_postgres.start()

        portal.wait_until_ready_says(None)
        records = [portal.wait(run) for run in runs]
        for stream in streams:
            stream.result(WAIT_SECONDS)

    assert {record["conclusion"] for record in records} == {"succeeded"}
    for record in records:
        numbers = list(range(1, record["lastEvent"] + 1))
        assert seen[record["id"]] == numbers, "each event once, on one connection"
        assert portal.numbers(record["id"]) == numbers
    calls = emulator.state()["calls"]
    assert (calls["project.create"], calls["application.create"], calls["application.deploy"]) == (5, 5, 5)
    assert "Traceback" not in portal.process.output


# At the start


def starts_not(process: Process, *says: str) -> None:
    """It ends at once, with one line and no traceback."""
    assert process.wait() == 1
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
    prefix = [need_program("setpriv"), "--bounding-set", powers, "--inh-caps", powers] if os.geteuid() == 0 else []

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


def test_serve_names_a_folder_that_may_not_be_written(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), f"uid {os.geteuid()}")


def test_serve_names_a_folder_that_cannot_be_made(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder / "deeper")), str(folder / "deeper"), "Permission denied")


def test_serve_names_the_key_file_that_cannot_be_written(start_without_rights, folder: Path):
    folder.chmod(0o500)

    starts_not(start_without_rights(sqlite_url(folder), SECRET_KEY=""), str(folder / "secret.key"), "SECRET_KEY")


@pytest.mark.parametrize("of_folder", [0o700, 0o500])
def test_serve_names_a_database_that_may_only_be_read(start_without_rights, folder: Path, of_folder: int):
    filled(folder)
    (folder / "portal.db").chmod(0o400)
    folder.chmod(of_folder)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), f"uid {os.geteuid()}")


def test_serve_names_a_lock_that_belongs_to_another_user(start_without_rights, folder: Path):
    filled(folder)
    (folder / "portal.db.lock").touch(mode=0o400)

    starts_not(start_without_rights(sqlite_url(folder)), str(folder / "portal.db"), "cannot be written")


@pytest.mark.parametrize("damage", ["another", "head", "rest"])
def test_serve_names_a_file_that_is_no_database(portal_command, emulator: Emulator, folder: Path, damage: str):
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
def test_serve_says_why_postgresql_refuses(
    portal_command, emulator: Emulator, own_postgres, change: tuple[str, str], says: str
):
    assert change[0] in own_postgres.url()
    ask_for_password(own_postgres, "locked")

    process = portal_command("serve", **environment(emulator, own_postgres.url().replace(*change)))

    starts_not(process, str(own_postgres.folder), says)


def test_a_postgresql_that_comes_later_is_waited_for(portal_command, emulator: Emulator, own_postgres):
    own_postgres.stop("immediate")
    port = reserve_port()
    process = portal_command("serve", PORT=str(port), **environment(emulator, own_postgres.url()))
    process.says("store_awaited")

    own_postgres.start()

    process.answers(f"http://127.0.0.1:{port}/ready")


def test_waiting_for_a_postgresql_can_be_ended(portal_command, emulator: Emulator):
    url = "postgresql+asyncpg://portal:hunter2@127.0.0.1:9/portal"
    process = portal_command("serve", **environment(emulator, url))
    process.says("store_awaited")

    assert process.terminate() == 0
    # It ended at once, and not because it would not wait for longer.
    assert "did not answer for" not in process.output
    assert "127.0.0.1:9" in process.output
    assert "hunter2" not in process.output
    assert "Traceback" not in process.output
