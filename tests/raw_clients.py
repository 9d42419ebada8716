"""Clients that send bytes of their own choosing, and read what comes back."""

import contextlib
import socket
from collections.abc import Iterator

from tests.waiting import WAIT_SECONDS


@contextlib.contextmanager
def connect(url: str, **options: int) -> Iterator[socket.socket]:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as client:
        for name, value in options.items():
            client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        client.settimeout(WAIT_SECONDS)
        client.connect((host, int(port)))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


def read_to_end(client: socket.socket) -> bytes:
    """What comes until the connection is closed, which it has to be in time."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            received += piece
    return received


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer.split(b" ", 2)[1])


def statuses(answers: bytes) -> list[int]:
    """The statuses of several answers; no body may hold a status line."""
    return [int(each[:3]) for each in answers.split(b"HTTP/1.1 ")[1:]]


def post(path: str = "/api/deploy", **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: portal", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
