"""Two deployments of one application at once (DDA-26): in no order is ours taken for somebody else's, or theirs for ours.

The interleavings are those of `make bench`, fewer of them, and a right conclusion is asserted here.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from app.sandbox import SandboxSettings
from tests.benchmarks.attribution import Server, interleave
from tests.servers import Emulator, PortalServer

SEED = 26
# Dokploy's own default is to work on one at a time; there rows appear latest. How many, and how they are queued:
TRIED = {Server.TITLED: (40, 3), Server.UNTITLED: (8, 1), Server.UNNAMED: (8, 4), Server.LOSING: (8, 4)}


@pytest.fixture(params=TRIED)
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


@pytest.fixture
def sandbox_settings(server: Server) -> SandboxSettings:
    return SandboxSettings(
        DEPLOY_SECONDS=0.1, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.05, CONCURRENCY=TRIED[server][1]
    )


def test_ours_is_never_taken_for_another(
    server: Server, start_portal: Callable[..., PortalServer], emulator: Emulator, tmp_path: Path
):
    portal = start_portal(dokploy_timeout_seconds=5, deploy_appear_seconds=1)
    count, _ = TRIED[server]

    report = asyncio.run(
        interleave(
            portal.url,
            emulator.url,
            tmp_path / "portal.db",
            range(count),
            seed=SEED,
            server=server,
            at_once=20,
            longest=0.2,
        )
    )

    assert not report.wrong, "\n".join(report.wrong)
    assert report.total > count * 0.6, "too few of the others came in time to mean anything"
    if server is Server.TITLED:
        assert {"before", "waiting", "running", "after"} <= report.orders.keys()
        assert report.naive_wrong, "interleavings that the simplest rule survives would prove nothing"
        assert report.again == 0


@pytest.mark.parametrize("server", [Server.UNNAMED])
def test_a_server_that_keeps_neither_title_nor_description(portal: PortalServer, emulator: Emulator):
    emulator.fault("drop_both", times=2)

    record = portal.wait(portal.deploy("nameless")["deploymentId"])

    assert record["conclusion"] == "succeeded", "so many rows as were asked for, and nobody else's"
    assert emulator.state()["calls"]["application.deploy"] == 2
