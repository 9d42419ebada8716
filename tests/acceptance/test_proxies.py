"""nginx and haproxy in front of the portal, with nothing set but the address behind them: streams come as they happen."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.proxies import PACKAGES, serve_proxy
from tests.acceptance.replicas import Replica, replica_settings, seconds_since
from tests.servers import Emulator, sqlite_url
from tests.test_docs import blocks, section

SSE = "text/event-stream"
LINES = "application/x-ndjson"
BEAT = 1.0
# From the moment that stands in an event until its reader has it. What a proxy holds back until more comes is later.
SOON = 0.75

StartPortal = Callable[..., Replica]


@pytest.fixture
def start_portal(start_replica: StartPortal, emulator: Emulator, tmp_path: Path) -> StartPortal:
    """Start a portal whose streams beat fast."""

    def start(**more: str) -> Replica:
        settings = replica_settings(sqlite_url(tmp_path), emulator.url, SSE_HEARTBEAT_SECONDS=str(BEAT), **more)
        return start_replica(settings).ready()

    return start


@dataclass(frozen=True)
class Arrival:
    """Something that came over a stream: when, and the event; what is no event of the deployment has no number."""

    moment: float
    event: dict[str, Any]

    @property
    def late(self) -> float:
        return -seconds_since(self.event, self.moment)


def read(url: str, deployment: str, accept: str, **headers: str) -> Iterator[Arrival]:
    """One stream, as it comes, until the server ends it."""
    address = f"{url}/api/deployments/{deployment}/events"
    with (
        httpx.Client(timeout=20, trust_env=False) as client,
        client.stream("GET", address, headers={"accept": accept, **headers}) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, accept)
        yield Arrival(time.time(), {"type": "open"})
        for line in answer.iter_lines():
            data = line if accept == LINES else line.removeprefix("data: ") if line.startswith("data: ") else ""
            if data:
                yield Arrival(time.time(), json.loads(data))


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [each.event["n"] for each in arrivals if "n" in each.event]


def documented(proxy: str) -> list[str]:
    """The lines that DEPLOYMENT.md has for a proxy, without those that say what is behind it."""
    (block,) = (
        body for language, body in blocks(section("DEPLOYMENT.md", "Another proxy in front")) if language == proxy
    )
    lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
    assert len([line for line in lines if "127.0.0.1:3010" in line]) == 1
    return [line for line in lines if "127.0.0.1:3010" not in line]


@pytest.mark.parametrize(
    ("proxy", "lines"),
    [
        ("nginx", []),
        ("nginx", [f"gzip_types {SSE} {LINES};"]),
        ("haproxy", []),
        ("haproxy", documented("haproxy")),
    ],
    ids=["nginx", "nginx that compresses", "haproxy", "haproxy as documented"],
)
def test_events_come_through_as_they_happen(
    start_portal: StartPortal,
    emulator: Emulator,
    tmp_path: Path,
    proxy: str,
    lines: list[str],
    record_property: Callable[[str, Any], None],
):
    portal = start_portal()
    # A moment between the first events, and a long one before the last.
    for call in ("project.create", "application.create", "domain.create"):
        emulator.fault("slow", call, seconds=1.2)
    emulator.fault("stuck", seconds=3)
    with serve_proxy(proxy, tmp_path, portal.url, *lines) as url, ThreadPoolExecutor(2) as pool:
        accepted = httpx.post(f"{url}/api/deploy", json={"name": "ada"}, trust_env=False).json()
        deployment = accepted["deploymentId"]
        reading = {form: pool.submit(lambda form: list(read(url, deployment, form)), form) for form in (SSE, LINES)}
        streams = {form: each.result() for form, each in reading.items()}

        for form, arrivals in streams.items():
            # Of those that happened before it was there, a reader knows nothing.
            begun = arrivals[0].moment
            events = [each for each in arrivals if "n" in each.event and seconds_since(each.event, begun) > 0]
            assert numbers(arrivals) == list(range(1, arrivals[-1].event["n"] + 1))
            assert arrivals[-1].event["conclusion"] == "succeeded"
            # By itself haproxy lets pieces wait for 0.1 to 0.2 s.
            late = max(each.late for each in events)
            record_property(f"late {form}", late)
            print(f"\n{proxy} {form}: {late:.3f} s")
            assert late < SOON, [(each.event["type"], round(each.late, 3)) for each in events]
            # They were spread, so that nothing can have come in time by chance.
            pauses = [after.moment - before.moment for before, after in pairwise(events)]
            assert sum(pause > SOON for pause in pauses) >= 3, pauses
            # And while nothing happened, the stream was heard.
            assert max(after.moment - before.moment for before, after in pairwise(arrivals)) < BEAT + SOON
            assert sum("n" not in each.event for each in arrivals) >= 4

        # From any number on, by the header that browsers send by themselves.
        last = streams[SSE][-1].event["n"]
        for after in (1, last // 2, last - 1):
            for form in (SSE, LINES):
                again = numbers(list(read(url, deployment, form, **{"last-event-id": str(after)})))
                assert again == list(range(after + 1, last + 1))
        over = httpx.get(
            f"{url}/api/deployments/{deployment}/events", headers={"last-event-id": str(last)}, trust_env=False
        )
        assert (over.status_code, over.content) == (204, b"")


@pytest.mark.parametrize(
    ("proxy", "short", "enough"),
    [
        ("nginx", ["proxy_read_timeout 500ms;"], ["proxy_read_timeout 2s;"]),
        ("haproxy", ["timeout server 500ms"], ["timeout server 2s"]),
    ],
    ids=list(PACKAGES),
)
def test_heartbeats_keep_a_stream_open_for_longer_than_the_proxy_would_wait(
    start_portal: StartPortal, emulator: Emulator, tmp_path: Path, proxy: str, short: list[str], enough: list[str]
):
    portal = start_portal()
    emulator.fault("stuck", seconds=5)
    deployment = portal.deploy("ada")
    portal.wait_for(deployment, "progressed", what="container_running")
    with serve_proxy(proxy, tmp_path, portal.url, *short) as url, pytest.raises(httpx.RemoteProtocolError):
        list(read(url, deployment, SSE))

    with serve_proxy(proxy, tmp_path, portal.url, *enough) as url:
        arrivals = list(read(url, deployment, SSE))

    assert numbers(arrivals) == list(range(1, arrivals[-1].event["n"] + 1))
    assert arrivals[-1].event["conclusion"] == "succeeded"
    assert arrivals[-1].moment - arrivals[0].moment > 2


# What the document has set


def send_form(url: str, **headers: str) -> httpx.Response:
    """Send the form as a browser does over plain HTTP: it tells where the form comes from, and no more."""
    headers = {"accept": "text/html", "origin": url, **headers}
    return httpx.post(f"{url}/deploy", data={"name": "ada"}, headers=headers, trust_env=False)


def test_what_is_documented_lets_forms_in_and_leaves_compression_to_the_portal(
    start_portal: StartPortal, emulator: Emulator, tmp_path: Path
):
    portal = start_portal()
    emulator.fault("stuck")

    # nginx tells another host than the one that the browser knows, and compresses whatever is HTML.
    with serve_proxy("nginx", tmp_path, portal.url) as url:
        assert send_form(url).status_code == 403
        page = httpx.get(url + send_form(url, **{"sec-fetch-site": "same-origin"}).headers["location"], trust_env=False)
        assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
    for proxy in PACKAGES:
        with serve_proxy(proxy, tmp_path, portal.url, *documented(proxy)) as url:
            assert send_form(url).status_code == 409, "it comes through: the name is taken by now"
            again = httpx.get(url + page.url.path, trust_env=False)
            assert (again.status_code, again.headers.get("content-encoding")) == (200, None)


@pytest.mark.parametrize(("believed", "scheme"), [("127.0.0.1", "https"), ("10.0.0.0/8", "http")])
def test_forwarded_headers_are_believed_of_the_proxies_that_are_set(
    start_portal: StartPortal, tmp_path: Path, believed: str, scheme: str
):
    portal = start_portal(FORWARDED_ALLOW_IPS=believed)
    # As the documented lines are where nginx has the certificate.
    lines = [line.replace("$scheme", "https") for line in documented("nginx")]
    with serve_proxy("nginx", tmp_path, portal.url, *lines) as url:
        page = httpx.get(url, headers={"host": "portal.example.com"}, trust_env=False).text

    assert f'href="{scheme}://portal.example.com/?lang=nl"' in page
