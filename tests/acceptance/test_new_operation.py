"""A verb that fails leaves a stack that stands as it was, wherever its process dies: its volume, its name and its service.

The operation is one that only tests have (`interrupt.py`), put into the table as a new verb would be. One stack goes
through all of its deaths, so that each finds it as the one before has left it.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.audit import COMMAND_LINE
from app.operations.service import Operations
from app.security.vault import Vault
from app.stacks.queries import Records
from app.stacks.requester import Requester
from app.store.engine import Database
from tests.acceptance.bench import Bench, Store
from tests.acceptance.interrupt import INTERRUPT
from tests.acceptance.process import ForkingLauncher, Process
from tests.acceptance.trial import NAME, OPERATOR, PORTAL
from tests.servers import http_client, portal_settings
from tests.waiting import wait_until

RETRY_SECONDS = 0.1


class Stand:
    """One stack, and one portal after the other that knows the operation."""

    def __init__(self, bench: Bench, store: Store, database: str, folder: Path) -> None:
        self.bench = bench
        self._store = store
        self._database = database
        self._folder = folder
        self.client = http_client(base_url=f"http://127.0.0.1:{bench.port}")
        self.portal: Process | None = None

    def start(self, **more: str) -> None:
        """Start a portal."""
        environment = {
            **PORTAL,
            "DATABASE_URL": self._database,
            "DOKPLOY_URL": f"http://{self.bench.address}",
            "STACK_PROBE_ADDRESS": self.bench.address,
            "LEFTOVERS_RETRY_SECONDS": str(RETRY_SECONDS),
            **more,
        }
        log = self._folder / "portal.log"
        self.portal = self.bench.launcher.start(
            ["serve", "--port", str(self.bench.port)], self._folder, log, **environment
        )

    def be_ready(self) -> "Stand":
        assert self.portal is not None
        self.portal.answers(f"http://127.0.0.1:{self.bench.port}/ready")
        return self

    def stop(self) -> None:
        """End the portal, and its lease, so that the next one need not wait until that has run out."""
        if self.portal is not None:
            self.portal.kill()
            self._store.end_leases(self._database)
        self.client.close()
        self.client = http_client(base_url=f"http://127.0.0.1:{self.bench.port}")

    def submit(self) -> str:
        """Queue the operation, as another process of the same store would."""

        async def work() -> str:
            settings = portal_settings(f"http://{self.bench.address}", self._database)
            database = Database(self._database)
            try:
                records = Records(database)
                vault = Vault([PORTAL["SECRET_KEY"]])
                operations = Operations(database, records, vault, settings, lambda _: None)
                stack = await records.find_stack(NAME)
                assert stack is not None
                return await operations.change(INTERRUPT, stack, Requester(stack.owner, COMMAND_LINE, "cli"))
            finally:
                await database.close()

        return asyncio.run(work())

    def ended(self, deployment: str) -> dict[str, Any]:
        """Wait for its end."""

        def record() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.get(f"/api/deployments/{deployment}").json()
            return found if found["conclusion"] else None

        return wait_until(record, pause=0.05)

    def dies_before_the_end_of(self, deployment: str) -> bool:
        """Wait until the portal has died or the deployment is over, and say whether it died."""
        assert self.portal is not None
        portal = self.portal

        def is_decided() -> bool:
            if portal.ends_within(0.05):
                return True
            with contextlib.suppress(httpx.TransportError):
                return bool(self.client.get(f"/api/deployments/{deployment}").json()["conclusion"])
            return False

        wait_until(is_decided)
        # A point may stand behind the last event.
        return portal.ends_within(0.3)

    def assert_untouched(self) -> None:
        """The stack is there with all that belongs to it, whole and once, and nothing is about to remove it."""
        stack = self.client.get(f"/api/stack/{NAME}", headers=OPERATOR)
        assert (stack.status_code, stack.json()["state"]) == (200, "failed"), stack.text
        assert self.client.get(f"/api/check/{NAME}").json()["available"] is False
        assert self.client.get("/api/leftovers", headers=OPERATOR).json()["items"] == []
        state = self.bench.emulator.state()
        kinds = ("projects", "applications", "domains", "mounts", "volumes", "services")
        assert {kind: len(state[kind]) for kind in kinds} == dict.fromkeys(kinds, 1)
        assert not [call for call in state["calls"] if "remove" in call.lower() or "delete" in call.lower()]


@pytest.fixture
def stand(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    launcher = ForkingLauncher("tests.acceptance.interrupt")
    bench = Bench(tmp_path, launcher)
    store = Store(request.getfixturevalue("postgres") if database == "postgresql" else None)
    with store.fresh(tmp_path) as url:
        stand = Stand(bench, store, url, tmp_path)
        try:
            stand.start()
            accepted = stand.be_ready().client.post("/api/deploy", json={"name": NAME}).json()
            assert stand.ended(accepted["deploymentId"])["conclusion"] == "succeeded"
            stand.stop()
            yield stand
        finally:
            stand.stop()
            bench.close()


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.crashes)])
def test_a_verb_that_fails_leaves_the_stack_alone_wherever_its_process_dies(stand: Stand, tmp_path: Path):
    trace = tmp_path / "trace"
    stand.start(FAILPOINTS=f"trace:{trace}")
    first = stand.submit()
    record = stand.be_ready().ended(first)
    assert (record["kind"], record["conclusion"], record["leftovers"]) == ("interrupt", "failed", [])
    stand.stop()
    points = [line for line in trace.read_text().splitlines() if "installation" not in line.lower()]
    assert len(points) > 10

    died = 0
    for point in points:
        stand.start(FAILPOINTS=f"kill:{point}")
        deployment = stand.submit()
        died += stand.dies_before_the_end_of(deployment)
        stand.stop()
        stand.start()
        record = stand.be_ready().ended(deployment)
        assert record["conclusion"] == "failed"
        # Several times the pause after which leftovers are looked at again.
        time.sleep(5 * RETRY_SECONDS)
        stand.assert_untouched()
        stand.stop()

    assert died >= len(points) / 2, "most points are reached again, whatever runs beside them"
