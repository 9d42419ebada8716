"""Two deployments of one application at once (DDA-26): in no order is ours taken for somebody else's, or theirs for ours.

Each order is forced: what must come later is held by the emulator. Random interleavings of the same are in `make bench`,
and some of them here, for the orders that nobody has thought of.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from app.sandbox import SandboxSettings
from tests.benchmarks.attribution import Server, interleave, rows_noted
from tests.integration.holding import UNHURRIED, deadlines
from tests.servers import Emulator, PortalServer
from tests.waiting import wait_until


class Order(StrEnum):
    """When somebody else asks for a deployment of the application, and which of the two ends first."""

    BEFORE = "before ours is asked for, and it ends first"
    BEFORE_AND_LONGER = "before ours is asked for, and ours ends first"
    WAITING = "while ours waits for its turn"
    RUNNING = "while ours runs, and ours ends first"
    RUNNING_AND_SHORTER = "while ours runs, and it ends first"
    AFTER = "when ours has ended, and nobody has seen that yet"


# Dokploy's own default is to work on one deployment at a time, so that the second has to wait.
AT_ONCE = {
    1: (Order.BEFORE, Order.WAITING, Order.RUNNING, Order.AFTER),
    0: (Order.BEFORE, Order.BEFORE_AND_LONGER, Order.RUNNING, Order.RUNNING_AND_SHORTER, Order.AFTER),
}
FAULT = {Server.UNTITLED: "drop_title", Server.UNNAMED: "drop_both"}


@pytest.fixture(params=Server)
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


@pytest.fixture(params=AT_ONCE)
def sandbox_settings(request: pytest.FixtureRequest) -> SandboxSettings:
    return SandboxSettings(
        DEPLOY_SECONDS=0.1, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.05, CONCURRENCY=request.param
    )


@dataclass(frozen=True)
class Case:
    """How the two deployments of one application meet, and end."""

    order: Order
    ours_fails: bool
    theirs_fails: bool
    theirs_title: str | None

    def __str__(self) -> str:
        ends = ["fails" if fails else "succeeds" for fails in (self.ours_fails, self.theirs_fails)]
        return f"theirs comes {self.order}; ours {ends[0]}, theirs {ends[1]}, called {self.theirs_title}"


def cases(orders: tuple[Order, ...], server: Server) -> Iterator[Case]:
    """Yield each order with each pair of ends; where waiting takes long, with ends that differ."""
    ends = list(product((False, True), repeat=2)) if server is Server.TITLED else [(False, True), (True, False)]
    few = server in {Server.UNNAMED, Server.LOSING}
    for number, order in enumerate(orders):
        for ours, theirs in [ends[number % 2]] if few else ends:
            # Now and then theirs has a title of its own.
            yield Case(order, ours, theirs, "somebody's" if number % 3 == 0 else None)


class Meeting:
    """One case on the wire: the portal's deployment, and somebody else's of the same application."""

    def __init__(self, portal: PortalServer, emulator: Emulator, server: Server, case: Case, name: str) -> None:
        self.portal, self.emulator, self.server, self.case, self.name = portal, emulator, server, case, name
        self.ours = self.application_id = ""
        self.theirs = f"theirs-{name}"

    def play(self) -> None:
        """Let both be asked for and end, in the order of the case."""
        self._bring_to_its_deployment()
        match self.case.order:
            case Order.BEFORE | Order.BEFORE_AND_LONGER:
                self._ask_theirs()
                self._until_held(self.theirs)
                self._ask_ours()
                self._end(*self._in_the_order_of_their_ends())
            case Order.WAITING:
                blocker = self._block_the_queue()
                self._ask_ours()
                self._ask_theirs()
                self._end(blocker, self.ours, self.theirs)
            case Order.RUNNING | Order.RUNNING_AND_SHORTER:
                self._ask_ours()
                self._until_held(self.ours)
                self._ask_theirs()
                self._end(*self._in_the_order_of_their_ends())
            case Order.AFTER:
                self._ask_ours()
                self._until_held(self.ours)
                self.emulator.fault("hold", "deployment.all", match=self.application_id)
                self._until_held(self.application_id)
                self._end(self.ours)
                self._ask_theirs()
                self._end(self.theirs)
                self.emulator.release(match=self.application_id)

    def assert_right(self, database: Path) -> None:
        """Ours decides how the run ends; where Dokploy names neither, a run may also fail rather than guess."""
        record = self.portal.wait(self.ours)
        code = record["problem"]["code"] if record["problem"] else None
        if self.server is Server.UNNAMED and code == "deploy_not_found":
            return
        asked = [row for row in self._asked() if row["title"] == self.ours]
        told = f"{record['conclusion']} {code}, {self.case}\n{self._asked()}"
        assert (record["conclusion"], code) == (
            ("failed", "deploy_failed") if self.case.ours_fails else ("succeeded", None)
        ), told
        if not self.case.ours_fails:
            assert rows_noted(database)[self.ours] in {row["deploymentId"] for row in asked}, told
        if self.server is Server.TITLED:
            assert len(asked) == 1, told

    def _bring_to_its_deployment(self) -> None:
        """Begin a creation, and hold it where it asks for its deployment."""
        emulator, losing = self.emulator, self.server is Server.LOSING
        emulator.fault("hold", "project.create", match=self.name)
        self.ours = self.portal.deploy(self.name)["deploymentId"]
        self._until_held(self.name)
        # What is lost is asked for again, and that one is to fare no better.
        for match, fails, times in (
            (self.ours, self.case.ours_fails, 2 if losing else 1),
            (self.theirs, self.case.theirs_fails, 1),
        ):
            emulator.fault("stuck", match=match, times=times)
            if fails:
                emulator.fault("fail", match=match, times=times)
        if losing:
            emulator.fault("lose_queue", match=self.ours)
        emulator.fault("hold", "application.deploy", match=self.ours)
        emulator.release(match=self.name)
        self._until_held(self.ours)
        (found,) = emulator.ask("application.search", name=self.name)["items"]
        self.application_id = found["applicationId"]

    def _ask_ours(self) -> None:
        """Let the call for ours through, and wait until it is asked for; a lost one again."""
        self.emulator.release(match=self.ours)
        times = 2 if self.server is Server.LOSING else 1
        wait_until(
            lambda: sum(row["title"] == self.ours for row in self._asked()) >= times, tell=self._asked, pause=0.05
        )

    def _ask_theirs(self) -> None:
        # Dokploy drops what it does not know: `by` is there for the faults to match.
        title = {"title": self.case.theirs_title} if self.case.theirs_title else {}
        self.emulator.call("application.deploy", applicationId=self.application_id, by=self.theirs, **title)

    def _block_the_queue(self) -> str:
        """Have Dokploy work on another application."""
        match, emulator = f"blocker-{self.name}", self.emulator
        environment_id = emulator.call("project.create", name=match)["environment"]["environmentId"]
        application_id = emulator.call("application.create", name=match, environmentId=environment_id)["applicationId"]
        emulator.call("application.update", applicationId=application_id, sourceType="docker", dockerImage="nginx")
        emulator.fault("stuck", match=match)
        emulator.call("application.deploy", applicationId=application_id, title=match)
        self._until_held(match)
        return match

    def _in_the_order_of_their_ends(self) -> tuple[str, str]:
        theirs_first = self.case.order in {Order.BEFORE, Order.RUNNING_AND_SHORTER}
        return (self.theirs, self.ours) if theirs_first else (self.ours, self.theirs)

    def _until_held(self, match: str) -> None:
        wait_until(lambda: self.emulator.held(match=match), tell=self.emulator.state, pause=0.05)

    def _end(self, *matches: str) -> None:
        for match in matches:
            self.emulator.release(match=match)

    def _asked(self) -> list[dict[str, Any]]:
        return [row for row in self.emulator.asked() if row["applicationId"] == self.application_id]


def test_in_every_order_ours_alone_decides(
    server: Server,
    sandbox_settings: SandboxSettings,
    start_portal: Callable[..., PortalServer],
    emulator: Emulator,
    tmp_path: Path,
):
    portal = start_portal(**UNHURRIED)
    if server in FAULT:
        emulator.fault(FAULT[server], times=-1)

    meetings = [
        Meeting(portal, emulator, server, case, f"stack-{number}")
        for number, case in enumerate(cases(AT_ONCE[sandbox_settings.CONCURRENCY], server))
    ]

    for each in meetings:
        each.play()

    # Who cannot tell which row is ours gives up after a while; here at once, now that all is over.
    soon = {"deploy_appear_seconds": 0.2} if server is Server.UNNAMED else {}
    with deadlines(portal, **soon):
        for each in meetings:
            each.assert_right(tmp_path / "portal.db")


@pytest.mark.fuzzing
def test_in_orders_left_to_chance_ours_alone_decides(
    server: Server, start_portal: Callable[..., PortalServer], emulator: Emulator, tmp_path: Path
):
    # Where nothing tells which is ours it is given up, and soon; nowhere else is it given up at all.
    gives_up = {"deploy_appear_seconds": 1} if server is Server.UNNAMED else {}
    portal = start_portal(**{**UNHURRIED, **gives_up})

    report = asyncio.run(
        interleave(portal.url, emulator.url, tmp_path / "portal.db", range(16), seed=26, server=server, at_once=16)
    )

    assert report.total, report
    assert not report.wrong, "\n".join(report.wrong)
    if server is Server.TITLED:
        assert report.again == 0


def test_a_server_that_keeps_neither_title_nor_description(portal: PortalServer, emulator: Emulator):
    emulator.fault("drop_both", times=2)

    record = portal.wait(portal.deploy("nameless")["deploymentId"])

    assert record["conclusion"] == "succeeded", "so many rows as were asked for, and nobody else's"
    assert emulator.state()["calls"]["application.deploy"] == 2
