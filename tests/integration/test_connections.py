"""Slow, huge and stuck clients on raw sockets: each is answered where that can be, and cut, and nobody else is."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from app.web.deps import MAX_BODY
from app.web.middleware.slow_clients import SlowClients, connection_class, listen
from tests.raw_clients import connect, post, read_to_end, status, statuses
from tests.servers import PortalServer
from tests.waiting import WAIT_SECONDS, wait_until

SECONDS = 0.4


@pytest.fixture
def portal(start_portal: Callable[..., PortalServer]) -> PortalServer:
    """A portal that cuts whoever is slow, and soon."""
    return start_portal(request_timeout_seconds=SECONDS, runs=False)


@pytest.fixture
def patient_portal(start_portal: Callable[..., PortalServer]) -> PortalServer:
    """One that cuts nobody for being slow within a test: what is cut was cut for something else."""
    return start_portal(request_timeout_seconds=300, runs=False)


@contextlib.contextmanager
def connect_with(portal: PortalServer, first: bytes) -> Iterator[socket.socket]:
    """Connect, and have this sent before the portal's time begins, however busy the machine is."""
    still, go_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        still.set()
        go_on.wait(WAIT_SECONDS)

    portal._loop.call_soon_threadsafe(stand_still)
    assert still.wait(WAIT_SECONDS)
    try:
        with connect(portal.url) as client:
            client.sendall(first)
            go_on.set()
            yield client
    finally:
        go_on.set()


def problem(answer: bytes) -> Any:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return json.loads(body)


def drip(client: socket.socket, data: bytes, pause: float = SECONDS / 8) -> None:
    """Send one byte after the other until all are sent, or nobody takes them any more."""
    with contextlib.suppress(OSError):
        for byte in data:
            client.send(bytes([byte]))
            time.sleep(pause)


# Requests that are late


def test_headers_that_come_byte_by_byte_are_refused(portal: PortalServer):
    with connect_with(portal, b"GET / HTTP/1.1\r\n") as client:
        drip(client, b"Host: portal\r\nX-Slow: " + b"x" * 20)

        answer = read_to_end(client)

    assert status(answer) == 408
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("data", [b"", b"\r\n" * 20, b"G"])
def test_a_connection_on_which_no_request_comes_is_closed(portal: PortalServer, data: bytes):
    began = time.monotonic()
    with connect_with(portal, data[:1]) as client:
        drip(client, data[1:])

        assert status(read_to_end(client)) == 408 if data == b"G" else not read_to_end(client)
        assert time.monotonic() - began >= SECONDS * 0.9


@pytest.mark.parametrize("body", [b"", b'{"name": "ada", "and": "never the end of it'])
@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_that_does_not_come_is_refused(portal: PortalServer, form: str, body: bytes):
    head = post(Content_Length="200") if form == "length" else post(Transfer_Encoding="chunked")
    with connect_with(portal, head) as client:
        if form == "length":
            drip(client, body)
        else:
            for byte in body:
                drip(client, b"1\r\n" + bytes([byte]) + b"\r\n", pause=0)
                time.sleep(SECONDS / 8)

        answer = read_to_end(client)

    assert status(answer) == 408
    assert problem(answer)["code"] == "request_timeout"
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_form_that_does_not_come_is_refused(portal: PortalServer):
    with connect_with(portal, post("/deploy", Content_Length="20")) as client:
        assert problem(read_to_end(client))["code"] == "request_timeout"


def test_a_body_that_nobody_reads_does_not_hold_the_connection(patient_portal: PortalServer):
    with connect(patient_portal.url) as client:
        client.sendall(post("/api/stack/ada/redeploy", Content_Length="20"))

        answer = read_to_end(client)

    assert status(answer) == 404


def test_a_connection_may_rest_between_two_requests(portal: PortalServer):
    request = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"
    with connect_with(portal, request) as client:
        assert status(client.recv(65536)) == 200
        time.sleep(SECONDS * 2)  # nothing happens meanwhile, which no event tells; a slow machine only rests for longer
        client.sendall(request)
        assert status(client.recv(65536)) == 200


def test_an_answer_may_take_longer_than_a_request(portal: PortalServer, patient_portal: PortalServer):
    deployment = patient_portal.deploy("ada")["deploymentId"]
    began = time.monotonic()
    path = f"/api/deployments/{deployment}/events"
    with connect_with(portal, f"GET {path} HTTP/1.1\r\nHost: portal\r\n\r\n".encode()) as client:
        received = b""
        while received.count(b"event: waiting") < 2:  # one every 2 s
            piece = client.recv(65536)
            assert piece, "the stream was cut"
            received += piece

    assert time.monotonic() - began > SECONDS * 4


# Requests that are too large


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 2**17,
        b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 2**17,
        b"GET / HTTP/1.1\r\nHost: portal\r\nX-Long: " + b"x" * (2**16 + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Many: x\r\n" * 10_000,
        b"GET / HTTP/1.1\r\nHost: portal\r\n" + b"X-Many: x\r\n" * 10_000 + b"\r\n",
    ],
    ids=["address", "header without end", "header", "headers without end", "headers"],
)
def test_headers_that_are_too_long_are_refused(patient_portal: PortalServer, head: bytes):
    with connect(patient_portal.url) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head)

        answer = read_to_end(client)

    # What was still on its way when the connection closed may have taken the answer with it.
    assert not answer or status(answer) == 431
    assert patient_portal.client.get("/health").status_code == 200


def test_headers_may_be_long(patient_portal: PortalServer):
    assert patient_portal.client.get("/health", headers={"x-long": "x" * 60_000}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_64_kb_and_not_a_byte_more(patient_portal: PortalServer, chunked: bool):
    def send(size: int) -> Any:
        body = b"x" * size
        content: Any = (body[n : n + 5000] for n in range(0, size, 5000)) if chunked else body
        return patient_portal.client.post("/api/deploy", content=content, headers={"content-type": "application/json"})

    assert send(MAX_BODY).json()["code"] == "body_not_json"
    refused = send(MAX_BODY + 1)
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("said", [str(MAX_BODY + 1), "10000000000", "9" * 18])
def test_a_body_that_says_that_it_is_too_large_is_refused_unread(patient_portal: PortalServer, said: str):
    with connect(patient_portal.url) as client:
        client.sendall(post(Content_Length=said, Expect="100-continue"))

        assert statuses(read_to_end(client)) == [413], "and it is not told to go on"


def test_what_comes_beyond_what_was_said_is_no_part_of_the_body(
    patient_portal: PortalServer, capfd: pytest.CaptureFixture[str]
):
    with connect(patient_portal.url) as client:
        client.sendall(post(Content_Length="14") + b'{"name":"ada"}' + b"}" * 1000)

        answer = read_to_end(client)

    # As on any connection the rest would be the next request, and it is none.
    assert answer.count(b"HTTP/1.1 ") <= 2
    assert b"HTTP/1.1 400 Bad Request" in answer
    patient_portal.stop()
    assert "request_broke" not in capfd.readouterr().out, "who goes away in the middle breaks nothing"


def test_chunks_without_end_are_refused_and_the_connection_is_cut(patient_portal: PortalServer):
    with connect(patient_portal.url) as client:
        client.sendall(post(Transfer_Encoding="chunked"))
        chunk, sent, end = b"1000\r\n" + b"x" * 4096 + b"\r\n", 0, time.monotonic() + WAIT_SECONDS
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                client.sendall(chunk)
                sent += 1
                time.sleep(0.005)
            raise AssertionError("it takes whatever comes")
        with contextlib.suppress(ConnectionError):
            assert status(client.recv(65536)) == 413
    assert sent * 4096 > MAX_BODY


# Readers that do not read


class Endless:
    """A server with one answer that never ends. `seconds`: how long a reader may take nothing."""

    def __init__(self, seconds: float) -> None:
        self.ended = threading.Event()
        sockets = listen("127.0.0.1", 0, seconds)
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
        gone = asyncio.ensure_future(self._until_gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 8192, "more_body": True})
            await asyncio.sleep(0)
        self.ended.set()

    async def _until_gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)


@pytest.fixture
def start_endless() -> Iterator[Callable[[float], Endless]]:
    with contextlib.ExitStack() as stack:

        def start(seconds: float) -> Endless:
            server = Endless(seconds)
            stack.callback(server.stop)
            return server

        yield start


def test_a_reader_who_stops_to_read_is_cut(start_endless: Callable[[float], Endless]):
    endless = start_endless(SECONDS)
    with connect(endless.url, SO_RCVBUF=4096) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n")
        client.recv(1000)

        assert endless.ended.wait(WAIT_SECONDS), "it is held for ever"


def test_a_reader_who_is_slow_is_cut_only_once_he_takes_nothing_more(start_endless: Callable[[float], Endless]):
    limit = 2.0
    endless = start_endless(limit)
    with connect(endless.url, SO_RCVBUF=4096) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n")
        began = last = time.monotonic()
        while time.monotonic() - began < 2 * limit:
            # Each time he takes much less than is waiting for him.
            taken = 0
            while taken < 2**14:
                piece = client.recv(2**14)
                assert piece
                taken += len(piece)
            if time.monotonic() - last > limit / 2:
                pytest.skip("the machine is too busy to read slowly on it")
            assert not endless.ended.wait(limit / 20)
            last = time.monotonic()

        # From now on he takes nothing.
        assert endless.ended.wait(WAIT_SECONDS)


# Requests ahead of their answers


def test_a_few_requests_may_be_sent_ahead(patient_portal: PortalServer):
    with connect(patient_portal.url) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n" * 10)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 10:
            piece = client.recv(65536)
            assert piece
            received += piece


def test_requests_without_end_are_cut(patient_portal: PortalServer, caplog: pytest.LogCaptureFixture):
    request = b"GET /static/portal.css HTTP/1.1\r\nHost: portal\r\n\r\n"
    with connect(patient_portal.url) as client, pytest.raises(ConnectionError):
        for _ in range(100_000):
            client.sendall(request * 100)

    assert patient_portal.client.get("/health").status_code == 200
    assert "Traceback" not in caplog.text


def test_a_request_that_waits_hides_no_reader_who_has_gone(start_endless: Callable[[float], Endless]):
    endless = start_endless(WAIT_SECONDS)
    request = b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n"
    with connect(endless.url) as client:
        client.sendall(request * 2)
        client.recv(1000)

    assert endless.ended.wait(WAIT_SECONDS), "the server waits for a client who has gone"


def test_headers_without_end_behind_a_stream_are_cut(patient_portal: PortalServer):
    deployment = patient_portal.deploy("ada")["deploymentId"]
    stream = f"GET /api/deployments/{deployment}/events HTTP/1.1\r\nHost: portal\r\n\r\n".encode()
    with connect(patient_portal.url) as client:
        client.sendall(stream)
        client.recv(1000)
        client.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                client.sendall(b"X-Many: x\r\n" * 100)


@pytest.mark.parametrize("split", range(1, 4))
def test_requests_without_end_are_cut_behind_a_stream(patient_portal: PortalServer, split: int):
    deployment = patient_portal.deploy("ada")["deploymentId"]
    stream = f"GET /api/deployments/{deployment}/events HTTP/1.1\r\nHost: portal\r\n\r\n".encode()
    request = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"
    with connect(patient_portal.url) as client:
        client.sendall(stream)
        client.recv(1000)
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                # The end of the headers comes in two pieces.
                client.sendall(request[:-split])
                client.sendall(request[-split:])


def test_a_client_still_reads_why_its_large_body_is_refused(patient_portal: PortalServer):
    with connect(patient_portal.url) as client:
        body = b"x\r\n\r\n" * 200_000
        client.sendall(post(Content_Length=str(len(body))))
        with contextlib.suppress(ConnectionError):
            client.sendall(body)

        answer = read_to_end(client)

    assert status(answer) == 413
    assert answer.lower().count(b"connection: close") == 1


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_requests_are_told_apart_in_whatever_pieces_they_come(patient_portal: PortalServer, size: int):
    body = b'{"name": "\r\n\r\nGET / HTTP/1.1\r\n\r\n"}'
    get = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"
    sent = b"\r\n" + get + post("/api/plan", Content_Length=str(len(body))) + body + b"\r\n\r\n" + get
    with connect(patient_portal.url) as client:
        for n in range(0, len(sent), size):
            client.sendall(sent[n : n + size])
        received = b""
        while received.count(b"HTTP/1.1 ") < 3 or not received.rstrip().endswith(b"}"):
            piece = client.recv(65536)
            assert piece
            received += piece

    assert [int(each[:3]) for each in received.split(b"HTTP/1.1 ")[1:]] == [200, 400, 200]


def test_a_body_in_chunks_is_the_last_of_its_connection(patient_portal: PortalServer):
    with connect(patient_portal.url) as client:
        client.sendall(post("/api/plan", Transfer_Encoding="chunked") + b'e\r\n{"name":"ada"}\r\n0\r\n\r\n')

        answer = read_to_end(client)

    assert status(answer) == 200
    assert b"\r\nconnection: close\r\n" in answer
