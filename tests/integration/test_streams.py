"""Event streams over real sockets: nothing lost, nothing twice, whoever reads, from wherever, in whatever language."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent, connect_sse

from app.i18n import LANGUAGES
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED, wait_for_held
from tests.integration.test_failures import new_name
from tests.integration.test_http import assert_problem
from tests.servers import AMPLE_SECONDS, Emulator, PortalServer, http_client, portal_settings, serve_portal
from tests.waiting import wait_until

EVENT = {"n", "at", "type", "key", "params", "message", "status", "currentPhase", "undoing", "conclusion", "effects"}
# What of an effect is said in the reader's language.
WORDS = {"text", "words", "note", "step"}
RELOAD = [{"effect": "reload"}]


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@contextmanager
def stream(
    portal: PortalServer, deployment_id: str, last_event_id: str | None = None, **query: str
) -> Iterator[EventSource]:
    """One stream on a connection of its own, as a browser opens it."""
    headers = {"last-event-id": last_event_id} if last_event_id is not None else {}
    url = f"{portal.url}/api/deployments/{deployment_id}/events"
    with (
        http_client() as client,
        connect_sse(client, "GET", url, headers=headers, params=query) as source,
    ):
        yield source


def read(
    portal: PortalServer, deployment_id: str, last_event_id: str | None = None, **query: str
) -> list[ServerSentEvent]:
    """Everything of one stream, until the server ends it."""
    events: list[ServerSentEvent] = []
    deadline = time.monotonic() + AMPLE_SECONDS
    with stream(portal, deployment_id, last_event_id, **query) as source:
        for event in source.iter_sse():
            assert time.monotonic() < deadline, "the stream does not end"
            events.append(event)
    return events


def read_to_the_end(
    portal: PortalServer, emulator: Emulator, deployment_id: str, *queries: dict[str, str]
) -> list[list[ServerSentEvent]]:
    """Read one stream for each query, and let Dokploy go on once all of them are open."""
    with ThreadPoolExecutor(len(queries)) as pool:
        reading = [pool.submit(read, portal, deployment_id, **query) for query in queries]
        portal.wait_for_watchers(len(queries))
        emulator.release()
        return [each.result() for each in reading]


def numbers(events: list[ServerSentEvent]) -> list[int]:
    """Numbers of the deployment's own events; a heartbeat has none of its own."""
    return [json.loads(event.data)["n"] for event in events if "n" in json.loads(event.data)]


@pytest.fixture
def over(servers: Servers) -> tuple[PortalServer, str, int]:
    """A run that is over: its portal, its id and the number of its last event."""
    deployment_id = servers.portal.deploy(new_name())["deploymentId"]
    return servers.portal, deployment_id, servers.portal.wait(deployment_id)["lastEvent"]


# Where a reader begins


def test_a_replay_from_any_number(over: tuple[PortalServer, str, int]):
    portal, deployment_id, last = over

    for after in range(last):
        rest = list(range(after + 1, last + 1))
        assert numbers(read(portal, deployment_id, after=str(after))) == rest
        events = read(portal, deployment_id, last_event_id=str(after))
        assert numbers(events) == rest
        assert [int(event.id) for event in events if event.event != "heartbeat"] == rest
    assert numbers(read(portal, deployment_id)) == list(range(1, last + 1))


@pytest.mark.parametrize(
    ("header", "after", "first"),
    [("3", "7", 4), ("3", "nonsense", 4), ("nonsense", "7", 1), ("-1", "7", 1), ("1.5", "7", 1), ("1" * 30, "7", 1)],
)
def test_the_header_beats_the_parameter_and_nonsense_in_it_counts_as_nought(
    over: tuple[PortalServer, str, int], header: str, after: str, first: int
):
    portal, deployment_id, last = over

    events = read(portal, deployment_id, last_event_id=header, after=after)

    assert numbers(events) == list(range(first, last + 1))


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", " 1", "\u0663", "1" * 10, "0x1", "NaN"])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_parameter_that_is_no_number(over: tuple[PortalServer, str, int], after: str, accept: str):
    portal, deployment_id, _ = over

    answer = portal.client.get(
        f"/api/deployments/{deployment_id}/events", params={"after": after}, headers={"accept": accept}
    )

    assert_problem(answer, 400, "after_invalid")
    assert [error["field"] for error in answer.json()["errors"]] == ["after"]


@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_who_has_seen_all_of_it_is_told_to_stop(over: tuple[PortalServer, str, int], beyond: int):
    portal, deployment_id, last = over

    for request in ({"params": {"after": last + beyond}}, {"headers": {"last-event-id": str(last + beyond)}}):
        answer = portal.client.get(f"/api/deployments/{deployment_id}/events", **request)
        assert (answer.status_code, answer.content) == (204, b"")


def test_headers_and_shape(over: tuple[PortalServer, str, int]):
    portal, deployment_id, _ = over

    with stream(portal, deployment_id) as source:
        headers = source.response.headers
        events = list(source.iter_sse())

    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store, no-transform", "no")
    # The first bytes come at once, and say how soon to come back.
    assert (events[0].event, events[0].id, events[0].retry) == ("heartbeat", "", 1000)
    for event in events[1:]:
        data = json.loads(event.data)
        assert data.keys() == EVENT
        assert (event.event, event.id) == (data["type"], str(data["n"]))
        assert data["message"]
    assert [json.loads(event.data)["conclusion"] for event in events[-2:]] == [None, "succeeded"]


def test_a_reader_that_wants_no_names_gets_the_same_events_as_messages(start_portal, emulator: Emulator):
    """A browser drops events whose names nobody listens to, so a page asks for none of them to be named."""
    portal = start_portal(sse_heartbeat_seconds=0.1, sse_timeout_seconds=0.3)
    deployment_id = deploy_slowly(portal, emulator)

    live = read(portal, deployment_id, after="900", named="false")
    emulator.release()
    portal.wait(deployment_id)
    named, unnamed = read(portal, deployment_id), read(portal, deployment_id, named="false")

    assert {event.event for event in [*live, *unnamed]} == {"message"}
    kinds = [json.loads(event.data)["type"] for event in live]
    assert (kinds[:2], kinds[-1], live[-1].retry) == (["heartbeat", "gap"], "pause", 1000)
    assert [(event.id, event.data) for event in unnamed[1:]] == [(event.id, event.data) for event in named[1:]]


def test_names_that_browsers_use_are_not_used(servers: Servers):
    """A creation, one that fails and one that is undone, and a removal: every kind of event there is."""
    names: set[str] = set()
    faults: tuple[dict[str, Any] | None, ...] = ({"kind": "fail"}, {"kind": "open"}, None)
    for fault in faults:
        if fault:
            servers.emulator.fault(**fault)
        accepted = servers.portal.deploy(new_name())
        servers.portal.wait(accepted["deploymentId"])
        names |= {event.event for event in read(servers.portal, accepted["deploymentId"])}
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    removal = servers.portal.client.delete(f"/api/stack/{accepted['stackName']}", headers=key).json()
    names |= {event.event for event in read(servers.portal, removal["deploymentId"])}

    assert len(names) >= 9
    assert names.isdisjoint({"error", "open", "message", "close"})


# A run that goes on


def deploy_slowly(portal: PortalServer, emulator: Emulator) -> str:
    """Begin a deployment that Dokploy holds until `release`, and come back when it is in the middle of it."""
    emulator.fault("stuck")
    deployment_id = str(portal.deploy(new_name())["deploymentId"])
    portal.wait_for(deployment_id, "progressed", what="container_running")
    return deployment_id


def test_a_quiet_stream_beats_and_its_beats_move_no_browsers_place(start_portal, emulator: Emulator):
    """A heartbeat is an event, so that scripts see it; it has no id, so that a browser comes back to the same place."""
    portal = start_portal(sse_heartbeat_seconds=0.1)
    deployment_id = deploy_slowly(portal, emulator)
    lines: list[str] = []
    with (
        http_client() as client,
        client.stream("GET", f"{portal.url}/api/deployments/{deployment_id}/events") as answer,
    ):
        for line in answer.iter_lines():
            lines.append(line)
            if line == "event: heartbeat" and lines.count(line) == 4:
                emulator.release()

    blocks = [block.splitlines() for block in "\n".join(lines).split("\n\n")]
    beats = [block for block in blocks if "event: heartbeat" in block]
    assert len(beats) >= 4
    assert not [line for block in beats for line in block if line.startswith("id")]
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert ids == list(range(1, portal.record(deployment_id)["lastEvent"] + 1))


def test_a_stream_pauses_and_the_next_one_goes_on_without_loss(start_portal, emulator: Emulator):
    portal = start_portal(sse_heartbeat_seconds=0.1, sse_timeout_seconds=0.2)
    deployment_id = deploy_slowly(portal, emulator)
    place: str | None = None
    seen: list[int] = []
    streams: list[list[ServerSentEvent]] = []
    while not streams or streams[-1][-1].event != "deployment_completed":
        streams.append(read(portal, deployment_id, last_event_id=place))
        seen += numbers(streams[-1])
        place = str(seen[-1])
        if len(streams) == 3:
            emulator.release()

    assert len(streams) > 3
    assert seen == list(range(1, portal.record(deployment_id)["lastEvent"] + 1))
    for events in streams[:-1]:
        assert (events[-1].event, events[-1].retry) == ("pause", 1000)
    assert emulator.state()["calls"]["project.create"] == 1


def test_a_place_beyond_the_end_of_a_live_run_is_a_gap(servers: Servers):
    portal = servers.portal
    deployment_id = deploy_slowly(portal, servers.emulator)
    last = portal.record(deployment_id)["lastEvent"]

    (events,) = read_to_the_end(portal, servers.emulator, deployment_id, {"after": "900"})

    gap = events[1]
    assert (gap.event, gap.id, json.loads(gap.data)) == ("gap", "", {"after": 900, "last": last, "effects": RELOAD})
    # From there on it goes on live, and what comes is not lost.
    assert numbers(events) == list(range(last + 1, portal.record(deployment_id)["lastEvent"] + 1))


def test_every_viewer_reads_his_language(servers: Servers):
    portal = servers.portal
    deployment_id = deploy_slowly(portal, servers.emulator)

    viewers = read_to_the_end(portal, servers.emulator, deployment_id, *({"lang": lang} for lang in LANGUAGES))
    seen = {
        lang: [json.loads(event.data) for event in events if event.id]
        for lang, events in zip(LANGUAGES, viewers, strict=True)
    }

    def without_words(event: dict[str, Any]) -> dict[str, Any]:
        effects = [{**effect, **dict.fromkeys(WORDS & effect.keys())} for effect in event["effects"]]
        return {**event, "message": "", "effects": effects}

    facts = {lang: [without_words(event) for event in events] for lang, events in seen.items()}
    assert all(each == facts["en"] for each in facts.values())
    for told in zip(*seen.values(), strict=True):
        if told[0]["type"] != "log_line":
            assert len({each["message"] for each in told}) == len(LANGUAGES), told
    name = seen["en"][0]["params"]["name"]
    assert f"\u2068{name}\u2069" in seen["ar"][0]["message"], "a name within Arabic is isolated"
    # Whoever changes the language on the way loses nothing.
    half = len(seen["nl"]) // 2
    rest = [
        json.loads(event.data) for event in read(portal, deployment_id, last_event_id=str(half), lang="ar") if event.id
    ]
    assert seen["nl"][:half] + rest == seen["nl"][:half] + seen["ar"][half:]


def test_the_language_of_a_stream_follows_the_header_too(over: tuple[PortalServer, str, int]):
    portal, deployment_id, _ = over
    url = f"/api/deployments/{deployment_id}/events"
    accept = {"accept": "application/x-ndjson"}

    dutch = portal.client.get(url, headers={**accept, "accept-language": "nl-BE,en;q=0.5"}).text
    chosen = portal.client.get(url, headers={**accept, "accept-language": "en", "cookie": "lang=nl"}).text
    asked = portal.client.get(url, headers={**accept, "cookie": "lang=ar"}, params={"lang": "nl"}).text

    assert dutch == chosen == asked != portal.client.get(url, headers=accept).text


def test_a_hundred_watchers_each_see_every_event(start_portal, emulator: Emulator):
    portal = start_portal()
    deployment_id = deploy_slowly(portal, emulator)

    seen = read_to_the_end(portal, emulator, deployment_id, *[{}] * 100)

    last = portal.record(deployment_id)["lastEvent"]
    assert {events[-1].event for events in seen} == {"deployment_completed"}
    assert all(numbers(events) == list(range(1, last + 1)) for events in seen)
    portal.wait_for_watchers(0)


def test_a_browser_that_closes_changes_nothing(start_portal, emulator: Emulator):
    portal = start_portal(sse_heartbeat_seconds=0.1)
    deployment_id = deploy_slowly(portal, emulator)
    with stream(portal, deployment_id) as source:
        next(source.iter_sse())

    portal.wait_for_watchers(0)

    emulator.release()
    assert portal.wait(deployment_id)["conclusion"] == "succeeded"


# How many one address may hold


def refusal(portal: PortalServer, deployment_id: str, **headers: str) -> httpx.Response | None:
    """Ask for one stream more, and leave it: the answer, if that was a refusal."""
    url = f"/api/deployments/{deployment_id}/events"
    with portal.client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 200:
            return None
        answer.read()
        return answer


def wait_for_room(portal: PortalServer, deployment_id: str) -> None:
    wait_until(lambda: refusal(portal, deployment_id) is None, tell=lambda: "what has ended is still held")


def test_an_address_holds_so_many_streams_and_no_more(start_portal, emulator: Emulator):
    portal = start_portal(max_streams_per_address=2, forwarded_allow_ips="127.0.0.0/8")
    deployment_id = deploy_slowly(portal, emulator)

    with stream(portal, deployment_id) as one, stream(portal, deployment_id) as other:
        held = one.iter_sse(), other.iter_sse()
        assert [next(each).event for each in held] == ["heartbeat"] * 2
        for accept in ("text/event-stream", "application/x-ndjson"):
            refused = refusal(portal, deployment_id, accept=accept)
            assert refused is not None
            assert_problem(refused, 429, "too_many_streams")
            assert refused.headers["retry-after"] == "10"
            assert refused.headers["ratelimit"] == '"streams";r=0'
            assert refused.headers["ratelimit-policy"] == '"streams";q=2'
        # What a page does instead, and other addresses.
        assert portal.events(deployment_id)
        assert refusal(portal, deployment_id, **{"x-forwarded-for": "203.0.113.7"}) is None
    # Each time another one is taken and left, so none of these is held for ever.
    for _ in range(5):
        wait_for_room(portal, deployment_id)


def test_a_stream_is_held_until_it_ends_by_itself(start_portal, emulator: Emulator):
    portal = start_portal(max_streams_per_address=1, sse_heartbeat_seconds=0.1, sse_timeout_seconds=0.2)
    deployment_id = deploy_slowly(portal, emulator)

    assert read(portal, deployment_id)[-1].event == "pause"
    wait_for_room(portal, deployment_id)
    emulator.release()
    portal.wait(deployment_id)
    wait_for_room(portal, deployment_id)
    assert read(portal, deployment_id)[-1].event == "deployment_completed"
    wait_for_room(portal, deployment_id)


# JSON lines


def lines(portal: PortalServer, deployment_id: str, **query: str) -> list[dict[str, Any]]:
    headers = {"accept": "application/x-ndjson"}
    answer = portal.client.get(f"/api/deployments/{deployment_id}/events", headers=headers, params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.headers["cache-control"] == "no-store, no-transform"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_json_lines_are_the_same_events(over: tuple[PortalServer, str, int]):
    portal, deployment_id, last = over

    events = lines(portal, deployment_id)

    assert events == [json.loads(event.data) for event in read(portal, deployment_id) if event.id]
    assert lines(portal, deployment_id, after=str(last - 1)) == events[-1:]
    assert lines(portal, deployment_id, after="2", follow="false") == events[2:]


def test_json_lines_of_a_live_run(start_portal, emulator: Emulator):
    portal = start_portal(sse_heartbeat_seconds=0.1)
    deployment_id = deploy_slowly(portal, emulator)

    now = lines(portal, deployment_id, follow="false")
    gap: list[dict[str, Any]] = []
    url, accept = f"/api/deployments/{deployment_id}/events", {"accept": "application/x-ndjson"}
    with portal.client.stream("GET", url, params={"after": "900"}, headers=accept) as answer:
        for line in answer.iter_lines():
            gap.append(json.loads(line))
            if gap[-1] == {"type": "heartbeat"} and gap.count(gap[-1]) == 1:
                emulator.release()
    everything = lines(portal, deployment_id)

    assert now[-1]["conclusion"] is None
    assert gap[0] == {"type": "gap", "after": 900, "last": len(now), "effects": RELOAD}
    assert {"type": "heartbeat"} in gap
    assert gap[-1] == everything[-1]
    assert everything[-1]["type"] == "deployment_completed"
    assert everything[: len(now)] == now


# More than one portal, and one that restarts


# On SQLite one process at a time runs deployments, and nobody tells the others.
@pytest.mark.parametrize("any_database_url", ["postgresql"], indirect=True)
def test_a_watcher_at_another_portal_sees_events_as_they_come(start_portal, emulator: Emulator, any_database_url: str):
    first = start_portal(database_url=any_database_url)
    deployment_id = deploy_slowly(first, emulator)
    # Its streams look into the store only when they are told to, by NOTIFY: no heartbeat comes in a test's time.
    settings = portal_settings(emulator.url, any_database_url).model_copy(update={"sse_heartbeat_seconds": 3600.0})
    with serve_portal(settings) as second:
        (seen,) = read_to_the_end(second, emulator, deployment_id, {})

        assert numbers(seen) == list(range(1, second.record(deployment_id)["lastEvent"] + 1))


def test_a_stream_outlives_a_restart_of_the_portal(start_portal, emulator: Emulator, any_database_url: str):
    settings = {"database_url": any_database_url, "sse_heartbeat_seconds": 0.1}
    first = start_portal(**settings)
    deployment_id = deploy_slowly(first, emulator)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, first, deployment_id)
        first.wait_for_watchers(1)
        first.stop()
        before = reading.result()

    second = start_portal(**settings)
    emulator.release()
    after = read(second, deployment_id, last_event_id=str(numbers(before)[-1]))

    # It was told to come again, rather than cut off.
    assert (before[-1].event, before[-1].retry) == ("pause", 1000)
    seen = numbers(before) + numbers(after)
    assert seen == list(range(1, seen[-1] + 1))
    assert after[-1].event == "deployment_completed"
    assert emulator.state()["calls"]["application.deploy"] == 1


def test_a_removal_that_waits_is_answered_when_the_portal_stops(
    start_portal: Callable[..., PortalServer], emulator: Emulator
):
    portal = start_portal()
    accepted = portal.deploy("ada")
    portal.wait(accepted["deploymentId"])
    emulator.fault("hold", "project.remove")
    headers = {"authorization": f"Bearer {accepted['manageKey']}", "prefer": "wait=300"}
    with ThreadPoolExecutor(1) as pool, http_client(base_url=portal.url, timeout=AMPLE_SECONDS) as client:
        waiting = pool.submit(client.delete, "/api/stack/ada", headers=headers)
        wait_for_held(emulator, "project.remove")

        portal.stop()

        answer = waiting.result()
    assert (answer.status_code, answer.json()["removed"]) == (202, False)
