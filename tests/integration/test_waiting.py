"""The portal's own line: who waits while its limit is reached is told the place, and nobody else is."""

import json
from collections.abc import Callable

import pytest
from httpx_sse import ServerSentEvent

from app.i18n import LANGUAGES
from tests.integration.test_pages import HTML, Page
from tests.integration.test_streams import numbers, read, stream
from tests.servers import Emulator, PortalServer, fetch

NDJSON = {"accept": "application/x-ndjson"}


def place_of(event: ServerSentEvent) -> int:
    return int(json.loads(event.data)["position"])


@pytest.fixture
def busy(start_portal: Callable[..., PortalServer], emulator: Emulator, any_database_url: str) -> PortalServer:
    """A portal that runs one deployment at a time, and is at it."""
    portal = start_portal(runner_concurrency=1, database_url=any_database_url)
    portal.wait(portal.deploy("before")["deploymentId"])
    emulator.fault("stuck")
    portal.wait_for(portal.deploy("first")["deploymentId"], "progressed")
    return portal


def test_the_place_is_on_the_stream_the_lines_and_the_page(busy: PortalServer):
    ids = [busy.deploy(name)["deploymentId"] for name in ("second", "third")]

    places = {}
    for deployment_id in ids:
        with stream(busy, deployment_id, lang="nl") as source:
            places[deployment_id] = next(each for each in source.iter_sse() if each.event == "waiting")

    for position, deployment_id in enumerate(ids, 1):
        told = places[deployment_id]
        assert told.id == "1", "it is no event of the record: whoever goes on does so after the last that is"
        place = json.loads(told.data)
        assert (place["position"], place["total"]) == (position, 2)
        # One was measured, and one runs at a time.
        assert 0 < place["estimateSeconds"] < 30 * position
        url = f"{busy.url}/api/deployments/{deployment_id}/events?after=1&follow=false&lang=nl"
        (line,) = fetch(url, headers=NDJSON).text.splitlines()
        assert json.loads(line) == {"type": "waiting", **place}
        page = Page(fetch(f"{busy.url}/deployments/{deployment_id}?lang=nl", headers=HTML))
        assert place["message"] in page.words
    assert (
        "Het portaal is druk. Deze uitrol is de volgende, over ongeveer" in json.loads(places[ids[0]].data)["message"]
    )


def test_who_waits_moves_up_and_then_goes(busy: PortalServer, emulator: Emulator):
    busy.deploy("second")
    third = busy.deploy("third")["deploymentId"]
    with stream(busy, third) as source:
        events = source.iter_sse()
        assert next(place_of(each) for each in events if each.event == "waiting") == 2
        emulator.fault("stuck")  # the second is held as well
        emulator.release()  # the first
        assert next(place_of(each) for each in events if each.event == "waiting" and place_of(each) != 2) == 1
        emulator.release()
        rest = [each for each in events if each.event not in {"heartbeat", "waiting"}]

    assert rest[-1].event == "deployment_completed"
    assert numbers(rest) == list(range(2, len(rest) + 2))


def test_a_deployment_that_begins_at_once_waits_nowhere(start_portal: Callable[..., PortalServer]):
    portal = start_portal()
    deployment_id = portal.deploy("ada")["deploymentId"]

    assert "waiting" not in {each.event for each in read(portal, deployment_id)}


@pytest.mark.parametrize("language", list(LANGUAGES.values()), ids=list(LANGUAGES))
def test_a_place_is_said_in_every_language(language):
    from app.engine.queue import Place, describe_place

    said = {
        describe_place(Place(position, 20, seconds), language) for position in (1, 2, 3, 12) for seconds in (None, 60)
    }

    assert len(said) == 8
    assert all("{" not in each for each in said)
