"""nginx and haproxy in front of the portal, with nothing set but the address behind them: streams come as they happen."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.proxies import PACKAGES, serve_proxy
from tests.docs.markdown import blocks, section
from tests.servers import Emulator, PortalServer, http_client
from tests.waiting import WAIT_SECONDS, wait_until

SSE = "text/event-stream"
LINES = "application/x-ndjson"
# What a proxy is told to wait for the next piece of an answer, in seconds, and a heartbeat that is always in time.
PROXY_WAITS = 2
BEAT = 0.1

StartPortal = Callable[..., PortalServer]


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=WAIT_SECONDS, trust_env=False)


def read(url: str, deployment: str, accept: str, **headers: str) -> Iterator[dict[str, Any]]:
    """One stream, as it comes, until the server ends it; what is no event of the deployment has no number."""
    address = f"{url}/api/deployments/{deployment}/events"
    with (
        http_client() as client,
        client.stream("GET", address, headers={"accept": accept, **headers}) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, accept)
        for line in answer.iter_lines():
            data = line if accept == LINES else line.removeprefix("data: ") if line.startswith("data: ") else ""
            if data:
                yield json.loads(data)


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [each["n"] for each in events if "n" in each]


@contextmanager
def streamed_to_the_end(url: str, deployment: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Read a deployment's events in both forms, as they come; after the block it ends well, and none was missed."""
    streams: dict[str, list[dict[str, Any]]] = {SSE: [], LINES: []}
    with ThreadPoolExecutor(2) as pool:
        readings = [
            pool.submit(lambda form: streams[form].extend(read(url, deployment, form)), form) for form in streams
        ]
        yield streams
        for each in readings:
            each.result(WAIT_SECONDS)
    for events in streams.values():
        assert numbers(events) == list(range(1, events[-1]["n"] + 1))
        assert events[-1]["conclusion"] == "succeeded"


def documented(proxy: str) -> list[str]:
    """The lines that the documentation has for a proxy, without those that say what is behind it."""
    ((_, block),) = blocks(section("docs/how-to/reverse-proxy.md", proxy), proxy)
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
def test_an_event_comes_through_before_the_next_one_happens(
    start_portal: StartPortal, emulator: Emulator, tmp_path: Path, proxy: str, lines: list[str]
):
    # Too slow to push on what a proxy holds back.
    portal = start_portal(sse_heartbeat_seconds=10)
    emulator.fault("stuck")
    with serve_proxy(proxy, tmp_path, portal.url, *lines) as url:
        deployment = httpx.post(
            f"{url}/api/deploy", json={"name": "ada"}, timeout=WAIT_SECONDS, trust_env=False
        ).json()["deploymentId"]
        with streamed_to_the_end(url, deployment) as streams:
            portal.wait_for(deployment, "progressed", what="container_running")

            def are_up_to_date() -> bool:
                happened = [event["n"] for event in portal.events(deployment)]
                return all(numbers(events) == happened for events in streams.values())

            wait_until(are_up_to_date, tell=lambda: streams)
            emulator.release()

        # From any number on, by the header that browsers send by themselves.
        last = streams[SSE][-1]["n"]
        for after in (1, last // 2, last - 1):
            for form in (SSE, LINES):
                again = numbers(list(read(url, deployment, form, **{"last-event-id": str(after)})))
                assert again == list(range(after + 1, last + 1))
        over = get(f"{url}/api/deployments/{deployment}/events", **{"last-event-id": str(last)})
        assert (over.status_code, over.content) == (204, b"")


@pytest.mark.parametrize(
    ("proxy", "line"),
    [("nginx", f"proxy_read_timeout {PROXY_WAITS}s;"), ("haproxy", f"timeout server {PROXY_WAITS}s")],
    ids=list(PACKAGES),
)
def test_heartbeats_keep_a_stream_open_for_longer_than_the_proxy_would_wait(
    start_portal: StartPortal, emulator: Emulator, tmp_path: Path, proxy: str, line: str
):
    emulator.fault("stuck")
    silent = start_portal(sse_heartbeat_seconds=10)
    deployment = silent.deploy("ada")["deploymentId"]
    silent.wait_for(deployment, "progressed", what="container_running")
    with serve_proxy(proxy, tmp_path, silent.url, line) as url, pytest.raises(httpx.RemoteProtocolError):
        list(read(url, deployment, SSE))

    # Another process on the same store.
    beating = start_portal(sse_heartbeat_seconds=BEAT)
    with serve_proxy(proxy, tmp_path, beating.url, line) as url, streamed_to_the_end(url, deployment) as streams:
        # So many heartbeats take longer than the proxy waits.
        enough = 2 * PROXY_WAITS / BEAT
        wait_until(lambda: all(sum("n" not in event for event in events) > enough for events in streams.values()))
        emulator.release()


# What the document has set


def send_form(url: str, **headers: str) -> httpx.Response:
    """Send the form as a browser does over plain HTTP: it tells where the form comes from, and no more."""
    headers = {"accept": "text/html", "origin": url, **headers}
    return httpx.post(f"{url}/deploy", data={"name": "ada"}, headers=headers, timeout=WAIT_SECONDS, trust_env=False)


def test_what_is_documented_lets_forms_in_and_leaves_compression_to_the_portal(
    start_portal: StartPortal, emulator: Emulator, tmp_path: Path
):
    portal = start_portal()
    emulator.fault("stuck")

    # nginx tells another host than the one that the browser knows, and compresses whatever is HTML.
    with serve_proxy("nginx", tmp_path, portal.url) as url:
        assert send_form(url).status_code == 403
        page = get(url + send_form(url, **{"sec-fetch-site": "same-origin"}).headers["location"])
        assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
    for proxy in PACKAGES:
        with serve_proxy(proxy, tmp_path, portal.url, *documented(proxy)) as url:
            assert send_form(url).status_code == 409, "it comes through: the name is taken by now"
            again = get(url + page.url.path)
            assert (again.status_code, again.headers.get("content-encoding")) == (200, None)


@pytest.mark.parametrize(("believed", "scheme"), [("127.0.0.1", "https"), ("10.0.0.0/8", "http")])
def test_forwarded_headers_are_believed_of_the_proxies_that_are_set(
    start_portal: StartPortal, tmp_path: Path, believed: str, scheme: str
):
    portal = start_portal(forwarded_allow_ips=believed)
    # As the documented lines are where nginx has the certificate.
    lines = [line.replace("$scheme", "https") for line in documented("nginx")]
    with serve_proxy("nginx", tmp_path, portal.url, *lines) as url:
        page = get(url, host="portal.example.com").text

    assert f'href="{scheme}://portal.example.com/?lang=nl"' in page
