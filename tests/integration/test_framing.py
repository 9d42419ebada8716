"""Where a request ends: the portal and its parser agree, or nothing that follows the headers is read as a request."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import uvicorn

from app.web.middleware.slow_clients import SlowClients, connection_class, listen, listen_on
from tests.raw_clients import connect, post, read_to_end, status, statuses
from tests.servers import PortalServer
from tests.waiting import WAIT_SECONDS, wait_until

_ORDER: Final = b'{"name": "smuggled"}'
# A request of another visitor, if it were one.
HIDDEN: Final = post(Content_Length=str(len(_ORDER))) + _ORDER
LENGTH: Final = f"Content-Length: {len(HIDDEN)}"
CHUNKED: Final = "Transfer-Encoding: chunked"
HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"


@pytest.fixture
def portal(start_portal: Callable[..., PortalServer]) -> PortalServer:
    """A portal that cuts nobody for being slow within a test: what is closed was closed for something else."""
    return start_portal(request_timeout_seconds=300, runs=False)


def head(*lines: str, first: str = "POST /api/plan HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: portal", *lines, "", ""]).encode()


def has_run(portal: PortalServer) -> bool:
    """Whether the hidden request has: its name is taken then."""
    return bool(portal.client.post("/api/deploy", json={"name": "smuggled"}).status_code != 202)


def send(client: socket.socket, *pieces: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            client.sendall(piece)


def exchange(portal: PortalServer, first: bytes, rest: bytes, way: str) -> bytes:
    """Send both at once, or one after the other, or the rest only once the first has been answered."""
    with connect(portal.url) as client:
        if way == "at once":
            send(client, first + rest)
            return read_to_end(client)
        send(client, first)
        received = client.recv(65536) if way == "after the answer" else b""
        send(client, rest)
        return received + read_to_end(client)


def test_the_hidden_request_would_run_by_itself(portal: PortalServer):
    with connect(portal.url) as client:
        client.sendall(HIDDEN)
        assert status(client.recv(65536)) == 202

    assert has_run(portal)


WAYS: Final = ["at once", "in two pieces", "after the answer"]
# Each of these ends at its headers for the parser, whatever they say of a body.
SWITCHES: Final = {
    "upgrade": ["Connection: Upgrade", "Upgrade: x", LENGTH],
    "websocket": ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", LENGTH],
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", LENGTH],
    "length before": [LENGTH, "Connection: Upgrade", "Upgrade: x"],
    "several options": ["Connection: keep-alive, uPgRaDe , x", "Upgrade: x", LENGTH],
    "several headers, the last": ["Connection: close", "Connection: upgrade", "Upgrade: x", LENGTH],
    "several headers, the first": ["Connection: upgrade", "Connection: keep-alive", "Upgrade: x", LENGTH],
    "several upgrades": ["Connection: upgrade", "Upgrade: x", "Upgrade: websocket", LENGTH],
    "in chunks": ["Connection: Upgrade", "Upgrade: x", CHUNKED],
    "for a proxy": ["Proxy-Connection: Upgrade", "Upgrade: x", LENGTH],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lines", SWITCHES.values(), ids=SWITCHES)
def test_a_body_behind_an_upgrade_is_refused_and_never_a_request(portal: PortalServer, lines: list[str], way: str):
    answers = exchange(portal, head(*lines), HIDDEN, way)

    assert statuses(answers) == [400]
    assert b"\r\nconnection: close\r\n" in answers
    assert not has_run(portal)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lines", [[LENGTH], [CHUNKED], []], ids=["length", "chunks", "nothing"])
@pytest.mark.parametrize("target", ["portal:443", "/api/plan"])
def test_what_follows_a_connect_is_never_a_request(portal: PortalServer, target: str, lines: list[str], way: str):
    answers = exchange(portal, head(*lines, first=f"CONNECT {target} HTTP/1.1"), HIDDEN, way)

    assert len(statuses(answers)) == 1
    assert 400 <= status(answers) < 500
    assert not has_run(portal)


@pytest.mark.parametrize("way", WAYS)
def test_an_upgrade_without_a_body_is_answered_and_is_the_last_of_its_connection(portal: PortalServer, way: str):
    first = head("Connection: Upgrade", "Upgrade: websocket", first="GET /health HTTP/1.1")

    answers = exchange(portal, first, HIDDEN, way)

    assert statuses(answers) == [200]
    assert b"\r\nconnection: close\r\n" in answers
    assert not has_run(portal)


def test_a_client_still_reads_why_its_upgrade_with_a_large_body_is_refused(portal: PortalServer):
    with connect(portal.url) as client:
        client.sendall(head("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 1000000"))
        send(client, b"x" * 1_000_000)

        assert status(read_to_end(client)) == 400


@pytest.mark.parametrize("way", ["at once", "in two pieces"])
@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: upgrade", LENGTH],
        ["Upgrade: x", LENGTH],
        ["Connection: close-not, keep-alive", "Upgrade: x", LENGTH],
        ["Connection: upgrade", "Upgrade:", LENGTH],
        ["HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", LENGTH],
        ["Content-Length: 0" + LENGTH.partition(" ")[2]],
        [LENGTH + " \t"],
    ],
    ids=["no Upgrade", "no Connection", "another option", "empty Upgrade", "settings", "zeros", "spaces"],
)
def test_a_body_with_a_length_is_a_body(portal: PortalServer, lines: list[str], way: str):
    first, rest = (
        head(*lines, "Content-Type: application/json"),
        HIDDEN + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    )

    answers = exchange(portal, first, rest, way)

    assert statuses(answers)[0] == 400
    assert b"body_not_json" in answers
    # An upgrade that nobody may ask for so ends the connection at most.
    assert statuses(answers)[1:] in ([200], [])
    assert not has_run(portal)


@pytest.mark.parametrize("way", ["at once", "in two pieces"])
@pytest.mark.parametrize(
    "lines",
    [
        [f"Transfer-Encoding: {coding}"]
        for coding in (
            "identity",
            "",
            "xchunked",
            "gzip",
            "chunked, identity",
            "chunked,",
            "chunked;a=b",
            "chunked\x0b",
        )
    ]
    + [
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding:", " chunked"],
        ["Transfer-Encoding : chunked"],
        [CHUNKED, LENGTH],
        [LENGTH, CHUNKED],
        ["Transfer-Encoding: identity", LENGTH],
        [LENGTH, LENGTH],
        ["Content-Length: 0", LENGTH],
        ["Content-Length:"],
        ["Content-Length: +9"],
        ["Content-Length: -1"],
        ["Content-Length: 1_0"],
        ["Content-Length: 1 0"],
        ["Content-Length: 0x10"],
        ["Content-Length: 10, 10"],
        ["Content-Length: 1", " 0"],
        ["Content-Length: 18446744073709551617"],
        ["Content-Length : 10"],
    ],
    ids=" | ".join,
)
def test_a_body_whose_length_can_be_read_in_two_ways_is_refused(
    portal: PortalServer, capfd: pytest.CaptureFixture[str], lines: list[str], way: str
):
    # Nor does the request itself run: it would order a stack.
    answers = exchange(portal, post().removesuffix(b"\r\n") + head(*lines)[len(head()) - 2 :], HIDDEN, way)

    assert statuses(answers) == [400]
    assert not has_run(portal)
    portal.stop()
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("way", ["at once", "in two pieces"])
@pytest.mark.parametrize("coding", ["identity, chunked", ",chunked", "CHUNKED", "chunked "])
def test_what_follows_a_body_in_chunks_is_never_a_request(portal: PortalServer, coding: str, way: str):
    first = head(f"Transfer-Encoding: {coding}", "Content-Type: application/json")

    answers = exchange(portal, first, b'e\r\n{"name":"ada"}\r\n0\r\n\r\n' + HIDDEN, way)

    assert statuses(answers) == [200]
    assert not has_run(portal)


@pytest.mark.parametrize(
    "end", ["0\n\n", "0\r\n\n", "0\n\r\n", "0 \r\n\r\n", "0;\n\r\n\r\n", "0\r\nA: b\n\r\n", "2\r\nxx\n0\r\n\r\n"]
)
def test_chunks_that_can_be_read_in_two_ways_are_refused(portal: PortalServer, end: str):
    answers = exchange(portal, head(CHUNKED, "Content-Type: application/json"), end.encode() + HIDDEN, "at once")

    assert statuses(answers)[:1] == [400]
    assert not has_run(portal)


@pytest.mark.parametrize("way", ["at once", "in two pieces"])
@pytest.mark.parametrize(
    "first",
    [
        b"PRI * HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/1.1\r\nHost: portal\r\n\r\n",
        b"GET /health\r\n",
        b"GET /health HTTP/1.1\nHost: portal\n\n",
        b"GET /health HTTP/1.1\r\nHost: portal\r\n\n",
        b"GET /health HTTP/1.1\r\nHost: portal\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: portal\r\r\n",
        b"GET /health HTTP/1.1\r\nX: y\r\n folded\r\n\r\n",
    ],
)
def test_headers_that_end_in_two_ways_are_refused(portal: PortalServer, first: bytes, way: str):
    answers = exchange(portal, first, HIDDEN, way)

    assert statuses(answers) == [400]
    assert not has_run(portal)


@pytest.mark.parametrize(
    "first", [b"GET /health HTTP/1.0\r\n\r\n", head("Connection: close", first="GET /health HTTP/1.1")]
)
def test_what_follows_the_last_request_is_never_a_request(portal: PortalServer, first: bytes):
    answers = exchange(portal, first, HIDDEN, "at once")

    assert statuses(answers) == [200]
    assert not has_run(portal)


# What the application is told


class Told:
    """A server whose application reads a whole body, and answers with the headers of its request, if it is to."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.began = threading.Event()
        sockets = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        config = uvicorn.Config(
            SlowClients(self._answer),
            log_config=None,
            access_log=False,
            http=connection_class(WAIT_SECONDS),
            ws="none",
            interface="asgi3",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=[sockets], daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.began.set()
        if scope["path"] == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.ended.set()
            return
        await asyncio.sleep(0)
        while (await receive()).get("more_body", False):
            pass
        names = json.dumps([name.decode() for name, _ in scope["headers"]]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-body", b"whole")]})
        await send({"type": "http.response.body", "body": names})

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)


@pytest.fixture
def told() -> Iterator[Told]:
    server = Told()
    yield server
    server.stop()


@pytest.mark.parametrize("way", ["at once", "in two pieces"])
def test_trailers_are_no_headers(told: Told, way: str):
    rest = b"1\r\nx\r\n0\r\nX-Forwarded-User: alice\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    with connect(told.url) as client:
        send(client, *([head(CHUNKED) + rest] if way == "at once" else [head(CHUNKED), rest]))
        answer = read_to_end(client)

    assert b"x-body: whole" in answer
    assert b"transfer-encoding" in answer.partition(b"\r\n\r\n")[2]
    assert b"x-forwarded-user" not in answer


@pytest.mark.parametrize("endless", [b"X-Many: x\r\n" * 1000, b"x" * 10_000], ids=["many", "one"])
def test_trailers_without_end_are_cut(told: Told, endless: bytes):
    with connect(told.url) as client:
        client.sendall(head(CHUNKED, first="POST /wait HTTP/1.1") + b"0\r\nX: y")
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                client.sendall(endless)

    assert told.ended.wait(WAIT_SECONDS)


@pytest.mark.parametrize("lines", [[], ["Content-Length: 5"], [CHUNKED]], ids=["none", "length", "chunks"])
def test_a_request_that_waits_behind_a_body_hides_no_client_who_has_gone(told: Told, lines: list[str]):
    body = {"": b"", "Content-Length: 5": b"\r\n\r\nx", CHUNKED: b"4\r\n\r\n\r\n\r\n0\r\n\r\n"}["".join(lines)]
    with connect(told.url) as client:
        client.sendall(head(*lines, first="POST /wait HTTP/1.1") + body + HEALTH)
        assert told.began.wait(WAIT_SECONDS)

    assert told.ended.wait(WAIT_SECONDS), "the application waits for a client who has gone"


def test_a_client_who_leaves_a_stream_with_a_request_waiting_breaks_nothing(
    portal: PortalServer, capfd: pytest.CaptureFixture[str]
):
    deployment = portal.deploy("ada")["deploymentId"]
    first = head(CHUNKED, first=f"GET /api/deployments/{deployment}/events HTTP/1.1")
    for _ in range(3):
        with connect(portal.url) as client:
            client.sendall(first + b"0\r\n\r\n" + HEALTH)
            assert status(client.recv(65536)) == 200

    wait_until(lambda: not portal.client.get("/health").json().get("streams"))
    portal.stop()
    output = "".join(capfd.readouterr())
    assert "request_broke" not in output
    assert "Traceback" not in output


# Addresses to listen on

_HERE: Final = (socket.AF_INET, ("127.0.0.1", 0))
# Reserved for documentation: no machine has it. AF_IPX: no kernel has it any more.
_NOT_HERE: Final = [(socket.AF_INET6, ("2001:db8::1", 0, 0, 0)), (socket.AF_INET, ("192.0.2.1", 0)), (4, ("x", 0))]


@pytest.mark.parametrize("missing", _NOT_HERE, ids=["IPv6", "IPv4", "family"])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_address_that_this_machine_lacks_is_left_out(missing: Any, is_first: bool):
    listening = listen_on([missing, _HERE] if is_first else [_HERE, missing])

    with contextlib.ExitStack() as stack:
        for each in listening:
            stack.enter_context(each)
        assert [each.getsockname()[0] for each in listening] == ["127.0.0.1"]


@pytest.mark.parametrize("missing", _NOT_HERE, ids=["IPv6", "IPv4", "family"])
def test_a_machine_with_none_of_the_addresses_is_told_so(missing: Any):
    with pytest.raises(OSError, match=r"assign|support"):
        listen_on([missing])


def test_an_address_in_use_is_no_missing_one():
    with listen("127.0.0.1", 0)[0] as taken, pytest.raises(OSError, match="in use"):
        listen_on([_HERE, (socket.AF_INET, taken.getsockname())])
