"""Limits for clients that send or read too slowly, or too much.

The server's own protocol parses HTTP. `Connection` stands around it and sees only bytes; `SlowClients` stands around
the application and sees only requests. Together they know what a connection is waiting for. The kernel ends a
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
# What may come while a request's body is read. The routes have their own limit, which is much lower.
_MAX_UNREAD: Final = 1024 * 1024
# Requests that are sent before the previous one is answered. Browsers and proxies send none.
_MAX_AHEAD: Final = 64
# How long the rest of an unread body may keep coming after the answer: a client reads the answer meanwhile.
_LINGER_SECONDS: Final = 2.0

_END_OF_HEAD: Final = b"\r\n\r\n"
_CLOSE: Final = (b"connection", b"close")

_current: ContextVar["Connection | None"] = ContextVar("connection", default=None)


class Connection(asyncio.Protocol):
    """The server's protocol for one connection, with limits around it.

    A connection without a request in the application must bring one within `seconds` of its first byte. Between two
    requests it may rest for as long as the server allows.
    """

    served_by: ClassVar[type[asyncio.Protocol]]
    seconds: ClassVar[float]

    def __init__(self, **parts: Any) -> None:
        """`parts`: what the server gives its own protocol."""
        self._protocol = self.served_by(**parts)
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        self._is_gone = False
        self._waiting: set[asyncio.Future[None]] = set()
        # Requests in the application, and heads that came for it.
        self._open = 0
        self._heads = 0
        self._tail = b""
        # Bytes since the last request began or ended, how many may come, and whether they belong to a request.
        self._came = 0
        self._most: float = _MAX_HEAD
        self._has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request of this connection; the server tells only the newest one."""
        self._expect_nothing()
        self._is_gone = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came, unless there are too many requests in it."""
        self._came += len(data)
        self._heads += (self._tail + data).count(_END_OF_HEAD)
        self._tail = data[-3:]
        if self._heads > _MAX_AHEAD:
            self._transport.abort()
            return
        if not self._open:
            self._has_begun = self._has_begun or bool(data.strip(b"\r\n"))
            if self._late is None:
                self._expect_request()
        _current.set(self)
        self._protocol.data_received(data)
        if self._came > self._most:
            # A request whose head was in it has begun by then.
            self._loop.call_soon(self._check_size)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def begin(self, *, has_body: bool) -> int:
        """Note that a request has reached the application, and return how many bytes have come for it."""
        self._expect_nothing()
        came = self._came
        self._open += 1
        self._heads = max(0, self._heads - 1)
        self._came, self._has_begun = 0, False
        self._most = _MAX_UNREAD if has_body else _MAX_HEAD
        return came

    def take_body(self, *, unread: bool = False) -> None:
        """Note that a request's body is complete. unread: that the rest of it is thrown away."""
        self._came = 0
        self._most = math.inf if unread else _MAX_HEAD

    def end(self) -> None:
        """Note that the application has answered a request."""
        self._open -= 1
        if self._open:
            return
        if self._came:
            # It may be the beginning of the next request.
            self._expect_request()
        self._came, self._most = 0, _MAX_HEAD
        if self._heads:
            # By then the next request has begun, if there is one; else they were in a body.
            self._loop.call_soon(self._settle)

    async def until_gone(self) -> None:
        """Wait until the connection is closed."""
        if self._is_gone:
            return
        # The server may have paused it for a request that came too early.
        self._transport.resume_reading()
        waiting = self._loop.create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _settle(self) -> None:
        if not self._open:
            self._heads = 0

    def _check_size(self) -> None:
        if self._came <= self._most:
            return
        if self._open:
            self._transport.abort()
        else:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _expect_request(self) -> None:
        self._expect_nothing()
        self._late = self._loop.call_later(self.seconds, self._is_late)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        if self._has_begun:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in place of the application, which has not seen the request, and close."""
        if self._transport.is_closing():
            return
        text = status.phrase.encode()
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        lines += [name + b": " + value for name, value in _headers(text)]
        self._transport.write(b"\r\n".join([*lines, b"", text]))
        self._transport.close()


class SlowClients:
    """Tells a `Connection` what its requests are doing. The outermost middleware; plain ASGI, as `headers` is.

    A request that is answered before its body is complete is the last one of its connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = _current.get()
        if scope["type"] != "http" or connection is None:
            await self._app(scope, receive, send)
            return
        has_body = _has_body(scope["headers"])
        request = _Request(connection, receive, send)
        came = connection.begin(has_body=has_body)
        try:
            app = _too_large if came > _MAX_HEAD and _size_of(scope) > _MAX_HEAD else self._app
            await app(scope, request.receive, request.send if has_body else send)
        finally:
            connection.end()


class _Request:
    """One request on its connection."""

    def __init__(self, connection: Connection, receive: Receive, send: Send) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._is_complete = False
        self._is_gone = False
        self._is_last = False

    async def receive(self) -> Message:
        """Read on; once the body is complete, wait until the client has gone."""
        if self._is_complete:
            if not self._is_gone:
                await self._connection.until_gone()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if not message.get("more_body", False):
            self._is_complete = True
            self._is_gone = message["type"] == "http.disconnect"
            self._connection.take_body()
        return message

    async def send(self, message: Message) -> None:
        """Answer; where the body is not complete, throw away the rest of it for a while, and close."""
        if message["type"] == "http.response.start" and not self._is_complete:
            self._is_last = True
            headers = [each for each in message.get("headers", ()) if each != _CLOSE]
            message = {**message, "headers": [*headers, _CLOSE]}
        if not self._is_last or message["type"] != "http.response.body" or message.get("more_body", False):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        self._connection.take_body(unread=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass
        await self._send({"type": "http.response.body", "body": b""})


async def _too_large(_scope: Scope, _receive: Receive, send: Send) -> None:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    text = status.phrase.encode()
    await send({"type": "http.response.start", "status": status.value, "headers": _headers(text)})
    await send({"type": "http.response.body", "body": text})


def _headers(text: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(text)).encode()),
        _CLOSE,
    ]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name == b"content-length":
            return value != b"0"
        if name == b"transfer-encoding":
            return True
    return False


def _size_of(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["raw_path"]) + len(scope["query_string"])


def connection_class(seconds: float) -> type[Connection]:
    """The `http` setting of a server that cuts clients slower than `seconds`."""
    own = uvicorn.Config(_too_large, http="httptools", log_config=None)
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
