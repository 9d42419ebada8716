"""The comparison of our calls with a server's own document: over the wire, in the watch, and in the portal's health."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog

from app.dokploy import DokployClient, DokployError, DokployServerError
from app.dokploy.compatibility import find_misfits
from app.dokploy.health import HealthWatch
from tests.servers import TOKEN, Emulator, PortalServer
from tests.waiting import WAIT_SECONDS, wait_until

GONE = "domain.create is not there"


@pytest.fixture
async def client(anyio_backend: str, emulator: Emulator) -> AsyncIterator[DokployClient]:
    async with DokployClient(emulator.url, TOKEN, timeout=WAIT_SECONDS) as opened:
        yield opened


async def misfits(client: DokployClient) -> list[str]:
    return [str(misfit) for misfit in await find_misfits(client)]


def told(watch: HealthWatch) -> list[str] | None:
    known = watch.now.incompatible
    return None if known is None else [str(misfit) for misfit in known]


@pytest.mark.anyio
async def test_every_call_fits_the_version_that_the_portal_was_built_against(client: DokployClient):
    assert await misfits(client) == []


@pytest.mark.anyio
async def test_what_another_version_renamed_is_told(client: DokployClient, emulator: Emulator):
    emulator.fault("renamed_call", "domain.create")
    emulator.fault("renamed_field", "application.deploy", field="title")
    emulator.fault("renamed_field", "mounts.listByServiceId", field="serviceId")

    assert await misfits(client) == [
        "application.deploy does not take title",
        "mounts.listByServiceId needs serviceIdNew, and does not take serviceId",
        GONE,
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "more"), [("renamed_call", {}), ("status", {"status": 404}), ("html", {})])
async def test_calls_of_no_document_are_known_by_their_read(
    client: DokployClient, emulator: Emulator, kind: str, more: dict[str, Any]
):
    emulator.fault(kind, "dockerVolume.getVolumes", times=-1, **more)

    why = "is in no document, and dockerVolume.getVolumes does not answer"
    assert await misfits(client) == [f"dockerVolume.getVolumes {why}", f"dockerVolume.removeVolume {why}"]


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "more"), [("renamed_call", {}), ("status", {"status": 404}), ("html", {})])
async def test_no_document_is_one_misfit(client: DokployClient, emulator: Emulator, kind: str, more: dict[str, Any]):
    emulator.fault(kind, "settings.getOpenApiDocument", times=-1, **more)

    assert await misfits(client) == [
        "settings.getOpenApiDocument answers nothing that can be read as an OpenAPI document"
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["settings.getOpenApiDocument", "dockerVolume.getVolumes"])
async def test_a_server_in_trouble_is_no_misfit(client: DokployClient, emulator: Emulator, call: str):
    emulator.fault("status", call, status=500, times=-1)

    with pytest.raises(DokployServerError):
        await find_misfits(client)


@pytest.mark.anyio
async def test_the_watch_compares_once_a_version_and_logs_each_misfit_once(client: DokployClient, emulator: Emulator):
    watch = HealthWatch(client)
    assert told(watch) is None

    with structlog.testing.capture_logs() as logs:
        await watch.ask()
        emulator.fault("renamed_call", "domain.create")
        await watch.ask()
    assert (told(watch), logs) == ([], [])
    assert emulator.state()["calls"]["settings.getOpenApiDocument"] == 1

    emulator.fault("other_version")
    with structlog.testing.capture_logs() as logs:
        await watch.ask()
        await watch.ask()
    assert told(watch) == [GONE]
    assert logs == [
        {
            "event": "dokploy_call_does_not_fit",
            "log_level": "warning",
            "call": "domain.create",
            "why": "is not there",
            "version": "v0.31.0",
        }
    ]

    emulator.clear_faults()
    await watch.ask()
    assert (watch.now.version, told(watch)) == ("v0.30.2", [])


@pytest.mark.anyio
async def test_the_watch_knows_nothing_of_a_new_version_until_it_could_ask(client: DokployClient, emulator: Emulator):
    watch = HealthWatch(client)
    await watch.ask()
    emulator.fault("other_version")
    emulator.fault("status", "settings.getOpenApiDocument", status=500, times=-1)

    await watch.ask()
    assert (watch.now.version, watch.now.trouble, told(watch)) == ("v0.31.0", None, None)

    emulator.clear_faults()
    emulator.fault("other_version")
    await watch.ask()
    assert told(watch) == []


@pytest.mark.anyio
async def test_misfits_are_looked_for_again_and_told_once(client: DokployClient, emulator: Emulator):
    watch = HealthWatch(client, compare_again=0)
    emulator.fault("renamed_call", "domain.create")

    with structlog.testing.capture_logs() as logs:
        await watch.ask()
        await watch.ask()
    assert (told(watch), len(logs)) == ([GONE], 1)

    emulator.clear_faults()
    await watch.ask()
    assert told(watch) == []


@pytest.mark.anyio
async def test_the_watch_outlives_every_answer(client: DokployClient, emulator: Emulator):
    for kind, more in (("hang", {}), ("drop_after", {}), ("html", {}), ("status", {"status": 403})):
        watch = HealthWatch(client)
        client.connection.timeout = 0.1 if kind == "hang" else WAIT_SECONDS
        emulator.fault(kind, "settings.getOpenApiDocument", times=-1, **more)
        await watch.ask()
        assert (watch.now.version, watch.now.trouble) == ("v0.30.2", None)
        emulator.clear_faults()
    with pytest.raises(DokployError):
        emulator.fault("database_down")
        await find_misfits(client)


def test_the_portal_tells_in_its_health_what_does_not_fit(
    emulator: Emulator, start_portal: Callable[..., PortalServer]
):
    emulator.fault("hang", "settings.getOpenApiDocument", times=-1)
    portal = start_portal()
    assert portal.client.get("/ready").status_code == 200, "it is ready before anything is compared"
    assert portal.client.get("/health").json()["dokploy"]["incompatible"] is None
    portal.stop()

    emulator.clear_faults()
    assert known(start_portal(database_url=portal.settings.database_url)) == []
    emulator.fault("renamed_call", "domain.create")
    assert known(start_portal(database_url=portal.settings.database_url)) == [GONE]


def known(portal: PortalServer) -> list[str]:
    """What the portal has found that does not fit, once it has looked."""
    (told,) = wait_until(
        lambda: None if (found := portal.client.get("/health").json()["dokploy"]["incompatible"]) is None else (found,)
    )
    return list(told)
