"""Failpoints: which there are, what passing one does, and that there are none unless they are asked for."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.dokploy import DokployClient, DokployUnreachable
from app.engine.failpoints import Failpoints
from app.engine.leases import Leases
from app.errors import SettingsError
from app.store.migrations import migrate
from tests.servers import sqlite_url
from tests.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[2]


def test_there_are_none_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FAILPOINTS", raising=False)

    assert Failpoints.from_environment() is None


@pytest.mark.parametrize("given", ["kill", "kill:", "hold:", "trace:", "sleep:1", "after project.create#1"])
def test_what_cannot_be_read_is_refused(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAILPOINTS", given)

    with pytest.raises(SettingsError, match="FAILPOINTS is malformed"):
        Failpoints.from_environment()


def test_calls_are_counted_by_name_and_traced_also_when_they_fail(tmp_path: Path):
    def answer(request: httpx.Request) -> httpx.Response:
        if "project.create" in request.url.path:
            raise httpx.ReadError("broken")
        return httpx.Response(200, stream=httpx.ByteStream(b"[]"))

    async def call() -> None:
        points = Failpoints(trace=tmp_path / "trace")
        async with DokployClient(
            "http://dokploy:3000", "the-key", transport=httpx.MockTransport(answer), wrap=points.wrap
        ) as client:
            await client.list_projects()
            await client.list_projects()
            with pytest.raises(DokployUnreachable):
                await client.create_project("any", "any")

    asyncio.run(call())

    assert (tmp_path / "trace").read_text().splitlines() == [
        "before project.all#1",
        "after project.all#1",
        "before project.all#2",
        "after project.all#2",
        "before project.create#1",
        "after project.create#1",
    ]


def test_transactions_are_named_by_whose_they_are_and_renewals_are_none(tmp_path: Path):
    async def write() -> None:
        database = Failpoints(trace=tmp_path / "trace").open(sqlite_url(tmp_path))
        await migrate(database)
        leases = Leases(database)
        worker = await leases.register(4.0, alone=True)
        assert await leases.renew(worker, 4.0)
        await leases.leave(worker)
        await database.close()

    asyncio.run(write())

    passed = (tmp_path / "trace").read_text().splitlines()
    assert passed == [
        f"{when} {what}#1" for what in ("migrate", "Leases.register", "Leases.leave") for when in ("before", "after")
    ]


@pytest.mark.parametrize(("given", "done"), [("kill", ["one"]), ("hold", ["one", "meanwhile"])])
def test_a_process_dies_at_its_point_and_not_before(given: str, done: list[str]):
    program = """
import asyncio
from app.engine.failpoints import Failpoints

async def main():
    points = Failpoints.from_environment()
    for number in ("one", "two", "three"):
        async with points.around("something"):
            print(number, flush=True)
        asyncio.get_running_loop().call_soon(print, "meanwhile")

asyncio.run(main())
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "FAILPOINTS": f"{given}:before something#2"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    assert process.returncode == -signal.SIGKILL
    assert [line for line in process.stdout.splitlines() if "failpoints" not in line] == done
