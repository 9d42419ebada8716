"""nginx and haproxy in front of the portal, with nothing set but the address behind them: streams come as they happen."""

import contextlib
import json
import socket
import threading
import time
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


PAGE = "docs/how-to/reverse-proxy.md"


def documented(proxy: str) -> list[str]:
    """The lines that the documentation has for a proxy, without those that say what is behind it."""
    ((_, block),) = blocks(section(PAGE, proxy), proxy)
    block = block.partition("backend portal\n")[2] or block
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


# Slow and greedy clients

# How each proxy's limit of time is set: for the tests a second, where they cannot wait for what is documented.
WAITS = {
    "nginx": ("client_header_timeout 1s;", "client_body_timeout 1s;", "send_timeout 1s;"),
    "haproxy": ("timeout http-request 1s", "timeout client 1s"),
}
HEAD = b"POST /api/deploy HTTP/1.1\r\nHost: portal\r\nContent-Type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 10000000000\r\n\r\n"


class Backend:
    """What stands behind a proxy here: it takes what the proxy passes on, and answers only where a test says what."""

    def __init__(self, answer: bytes = b"") -> None:
        self.received = b""
        self.closed = threading.Event()
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, contextlib.suppress(OSError):
                    self._take(connection)
                self.closed.set()

    def _take(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_SECONDS)
        while piece := connection.recv(65536):
            self.received += piece
            if self._answer:
                connection.sendall(self._answer)
                while True:
                    connection.sendall(b"x" * 65536)

    def close(self) -> None:
        self._listening.close()


def attack(url: str, first: bytes, again: bytes = b"") -> bytes:
    """Send something, then a little of it again and again, until the proxy closes the connection; tell what it says."""
    host, _, port = url.removeprefix("http://").partition(":")
    answer, end = b"", time.monotonic() + WAIT_SECONDS
    with socket.create_connection((host, int(port))) as client, contextlib.suppress(ConnectionError):
        client.sendall(first)
        client.settimeout(0.2)
        while True:
            assert time.monotonic() < end, "it is held for ever"
            with contextlib.suppress(TimeoutError):
                piece = client.recv(65536)
                if not piece:
                    break
                answer += piece
            client.sendall(again)
    return answer


@pytest.fixture
def start_backend() -> Iterator[Callable[..., Backend]]:
    with contextlib.ExitStack() as stack:

        def start(answer: bytes = b"") -> Backend:
            backend = Backend(answer)
            stack.callback(backend.close)
            return backend

        yield start


@pytest.mark.parametrize("proxy", PACKAGES)
def test_headers_that_come_slowly_end_at_the_proxy(start_backend: Callable[..., Backend], tmp_path: Path, proxy: str):
    backend = start_backend()
    with serve_proxy(proxy, tmp_path, backend.url, front=WAITS[proxy]) as url:
        answer = attack(url, HEAD, b"X-Slow: x\r\n")

    assert (answer[:12], backend.received) in [(b"", b""), (b"HTTP/1.1 408", b"")]


@pytest.mark.parametrize("proxy", PACKAGES)
def test_headers_that_are_too_long_end_at_the_proxy(start_backend: Callable[..., Backend], tmp_path: Path, proxy: str):
    backend = start_backend()
    with serve_proxy(proxy, tmp_path, backend.url) as url:
        answer = attack(url, HEAD + b"X-Long: " + b"x" * 64 * 1024 + b"\r\n\r\n")

    assert (answer[:12], backend.received) in [(b"", b""), (b"HTTP/1.1 400", b"")]


@pytest.mark.parametrize(("proxy", "is_covered"), [("nginx", True), ("haproxy", False)])
def test_a_body_that_does_not_come_ends_at_the_proxy_that_collects_it(
    start_backend: Callable[..., Backend], tmp_path: Path, proxy: str, is_covered: bool
):
    backend = start_backend()
    with serve_proxy(proxy, tmp_path, backend.url, front=WAITS[proxy]) as url:
        attack(url, HEAD + b"Content-Length: 20\r\n\r\n{")

    assert (backend.received == b"") is is_covered


def test_a_body_that_is_too_large_ends_at_nginx(start_backend: Callable[..., Backend], tmp_path: Path):
    backend = start_backend()
    with serve_proxy("nginx", tmp_path, backend.url) as url:
        answer = attack(url, HEAD + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000)

    assert (answer[:12], backend.received) in [(b"", b""), (b"HTTP/1.1 413", b"")]


def test_a_body_that_is_too_large_comes_through_haproxy(start_backend: Callable[..., Backend], tmp_path: Path):
    backend = start_backend()
    with (
        serve_proxy("haproxy", tmp_path, backend.url) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
    ):
        client.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000)

        wait_until(lambda: len(backend.received) > 2_000_000)


@pytest.mark.parametrize("proxy", PACKAGES)
def test_a_proxy_passes_on_one_request_of_a_client_at_a_time(
    start_backend: Callable[..., Backend], tmp_path: Path, proxy: str
):
    backend = start_backend()
    request = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"
    with (
        serve_proxy(proxy, tmp_path, backend.url) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
    ):
        client.sendall(request * 100)
        wait_until(lambda: backend.received)

        assert backend.received.count(b"GET /health") == 1


@pytest.mark.parametrize("proxy", PACKAGES)
def test_a_reader_who_does_not_read_is_cut_by_the_proxy(
    start_backend: Callable[..., Backend], tmp_path: Path, proxy: str
):
    backend = start_backend(STREAM)
    with (
        serve_proxy(proxy, tmp_path, backend.url, front=WAITS[proxy]) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n")

        assert backend.closed.wait(WAIT_SECONDS)


def test_a_body_that_does_not_come_through_haproxy_is_refused_by_the_portal(start_portal: StartPortal, tmp_path: Path):
    portal = start_portal(request_timeout_seconds=0.5, runs=False)
    with serve_proxy("haproxy", tmp_path, portal.url, *documented("haproxy")) as url:
        answer = attack(url, HEAD + b"Connection: close\r\nContent-Length: 20\r\n\r\n{")

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


def test_the_documentation_limits_slow_headers_at_haproxy():
    ((_, block),) = blocks(section(PAGE, "haproxy"), "haproxy")

    assert "timeout http-request 10s" in block.partition("backend")[0]
