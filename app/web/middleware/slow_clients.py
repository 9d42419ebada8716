"""Limits for clients that send or read too slowly, or too much.

The server's own protocol parses HTTP. `Connection` stands around it and hands it one request at a time; `SlowClients`
stands around the application and says when a request has reached it, and when it is answered. The kernel ends a
connection whose client does not read its answers: see `listen`.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Address and headers of one request. Browsers send a few kB, and proxies have similar limits.
_MAX_HEAD: Final = 64 * 1024
# What may come before the previous request is answered. Browsers and proxies send nothing.
_MAX_AHEAD: Final = 64 * 1024
# How long the rest of an unread body may keep coming after the answer: a client reads the answer meanwhile.
_LINGER_SECONDS: Final = 2.0

_END_OF_HEAD: Final = b"\r\n\r\n"
_CLOSE: Final = (b"connection", b"close")
# The length of a body in chunks.
_UNKNOWN: Final = math.inf

_current: ContextVar["Connection | None"] = ContextVar("connection", default=None)


class Connection(asyncio.Protocol):
    """The server's protocol for one connection, with limits around it.

    The address and headers of a request must come within `seconds` of their first byte, or of the connection's start.
    The routes limit the time of a body. Between two requests a connection may rest for as long as the server allows.
    """

    served_by: ClassVar[type[asyncio.Protocol]]
    seconds: ClassVar[float]

    def __init__(self, **parts: Any) -> None:
        """`parts`: what the server gives its own protocol."""
        self._protocol = self.served_by(**parts)
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        # What came before the server could take it.
        self._held = b""
        # Of the present request: whether its head is not complete, how much of that came, its last bytes; whether it is
        # in the application, and how much of its body has not come.
        self._in_head = True
        self._head_size = 0
        self._tail = b""
        self._is_served = False
        self._body_left: float = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._expect_nothing()
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the present request, and hold back the rest."""
        if self._in_head:
            self._take_head(data)
        elif self._body_left:
            self._take_body(data)
        else:
            self._held += data
            self._check_held()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def begin(self, body: float) -> None:
        """Note that a request has reached the application; `body`: how long its body is."""
        self._expect_nothing()
        self._is_served, self._body_left = True, body
        if body and self._held:
            held, self._held = self._held, b""
            self._take_body(held)
        else:
            self._check_held()

    def end(self) -> None:
        """Note that a request is answered: the next one may come."""
        self._is_served, self._body_left = False, 0
        self._in_head, self._head_size, self._tail = True, 0, b""
        if self._held and not self._transport.is_closing():
            held, self._held = self._held, b""
            self._take_head(held)

    def _take_head(self, data: bytes) -> None:
        if not self._head_size:
            # Empty lines may stand before a request.
            data = data.lstrip(b"\r\n")
            if not data:
                return
        if self._late is None:
            self._expect_head()
        seen = self._tail + data
        end = seen.find(_END_OF_HEAD) + len(_END_OF_HEAD) - len(self._tail)
        if end >= len(_END_OF_HEAD) - len(self._tail):
            self._in_head = False
            if end < len(data):
                data, self._held = data[:end], data[end:]
        self._tail = seen[-3:]
        self._head_size += len(data)
        if self._head_size > _MAX_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        _current.set(self)
        self._protocol.data_received(data)

    def _take_body(self, data: bytes) -> None:
        if len(data) > self._body_left:
            end = int(self._body_left)
            data, self._held = data[:end], data[end:]
        self._body_left -= len(data)
        self._protocol.data_received(data)
        self._check_held()

    def _check_held(self) -> None:
        # Before the application has seen the request, it may be its body.
        if self._is_served and len(self._held) > _MAX_AHEAD:
            self._transport.abort()

    def _expect_head(self) -> None:
        self._late = self._loop.call_later(self.seconds, self._is_late)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        if self._head_size and self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in place of the application, which has not seen the request, and close."""
        if self._transport.is_closing():
            return
        text = status.phrase
        self._transport.write(
            f"HTTP/1.1 {status.value} {text}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"x-content-type-options: nosniff\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
            f"{text}".encode()
        )
        self._transport.close()


class SlowClients:
    """Tells a `Connection` of its requests. The outermost middleware; plain ASGI, as `headers` is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = _current.get()
        if scope["type"] != "http" or connection is None:
            await self._app(scope, receive, send)
            return
        body = _length_of_body(scope["headers"])
        request = _Request(connection, receive, send, body)
        connection.begin(body)
        try:
            await self._app(scope, request.receive if body else receive, request.send)
        finally:
            request.end()


class _Request:
    """One request on its connection.

    It is the last one there if its body is not complete when it is answered, or came in chunks: only the server's
    protocol knows where those end.
    """

    def __init__(self, connection: Connection, receive: Receive, send: Send, body: float) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._is_complete = not body
        self._is_last = body == _UNKNOWN
        self._is_answered = False

    async def receive(self) -> Message:
        """Read on, and note when the body is complete."""
        message = await self._receive()
        self._is_complete = self._is_complete or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Answer; where the body is not complete, throw away the rest of it for a while, and close."""
        if message["type"] == "http.response.start":
            self._is_last = self._is_last or not self._is_complete
            if self._is_last:
                headers = [each for each in message.get("headers", ()) if each != _CLOSE]
                message = {**message, "headers": [*headers, _CLOSE]}
            await self._send(message)
        elif message["type"] != "http.response.body" or message.get("more_body", False):
            await self._send(message)
        else:
            if not self._is_complete:
                await self._send({**message, "more_body": True})
                await self._throw_body_away()
                message = {"type": "http.response.body", "body": b""}
            await self._send(message)
            self.end()

    def end(self) -> None:
        """Let the next request come."""
        if not self._is_answered:
            self._is_answered = True
            self._connection.end()

    async def _throw_body_away(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass


def _length_of_body(headers: Iterable[tuple[bytes, bytes]]) -> float:
    length: float = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return _UNKNOWN
        if name == b"content-length":
            length = int(value)
    return length


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Be an application, where one has to be named."""


def connection_class(seconds: float) -> type[Connection]:
    """Return the `http` setting of a server that cuts clients slower than `seconds`."""
    own = uvicorn.Config(_nothing, http="httptools", log_config=None)
    own.load()
    return type("Connection", (Connection,), {"served_by": own.http_protocol_class, "seconds": seconds})


def listen(host: str, port: int, seconds: float | None = None) -> list[socket.socket]:
    """Listen on every address of a host. The kernel cuts a client that reads nothing of an answer for `seconds`.

    Raises OSError.
    """
    addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in addresses):
            listening.append(socket.create_server(address[:2], family=family))
            # Connections take it over from the socket that accepts them. Only Linux has it.
            if seconds is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = max(1, int(seconds * 1000))
                listening[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    except OSError:
        for each in listening:
            each.close()
        raise
    return listening
