"""Limits for clients that send or read too slowly, or too much.

The server's own protocol parses HTTP. `Connection` extends it and hands it one request at a time; `SlowClients`
wraps the application and says when a request has reached it, and when it is answered. The kernel ends a connection
whose client does not read its answers: see `listen`.

The parser decides where a request ends, and calls back the protocol. `Connection` compares that with the bytes that it
passed on: a second request can never start within the first.
"""

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Iterable, Sequence
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
# How much of a body in chunks may come without content: sizes, extensions and trailers.
_MAX_WITHOUT_CONTENT: Final = 64 * 1024

_END_OF_HEAD: Final = b"\r\n\r\n"
_CLOSE: Final = (b"connection", b"close")
# The length of a body in chunks.
_UNKNOWN: Final = math.inf
# Errors of an address, or of a family of addresses, that this machine does not have.
_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_SWITCHES: Final = b"Requests that switch protocols cannot have a body"

_current: ContextVar["Connection | None"] = ContextVar("connection", default=None)


class Connection(asyncio.Protocol):
    """The server's protocol for one connection, with limits around it. `connection_class` joins the two.

    The address and headers of a request must come within `seconds` of their first byte, or of the connection's start.
    The routes limit the time of a body. Between two requests a connection may rest for as long as the server allows.
    """

    seconds: ClassVar[float]

    def __init__(self, **parts: Any) -> None:
        """`parts`: what the server gives its own protocol."""
        super().__init__(**parts)
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        # What came before the server could take it.
        self._held = b""
        # Of the present request: whether its head is not complete, how much of that came, the last bytes that were
        # passed on; whether it is in the application, and how much of its body has not come.
        self._in_head = True
        self._head_size = 0
        self._tail = b""
        self._is_served = False
        self._body_left: float = 0
        # The same as the parser sees it: whether it has begun, has all its headers, and is complete.
        self._has_begun = False
        self._has_headers = False
        self._is_complete = False
        self._without_content = 0
        # Whether the server refused the request after its headers, and whether all that comes is thrown away.
        self.is_refused = False
        self._is_deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the present request, and hold back the rest."""
        if self._is_deaf:
            return
        if self._in_head:
            self._take_head(data)
        elif self._body_left:
            self._take_body(data)
        else:
            self._held += data
            self._check_held()

    def on_message_begin(self) -> None:
        """Refuse a request within another. The parser calls this and what follows."""
        if self._has_begun:
            raise ValueError("A request begins before the last one is answered.")
        self._has_begun = True
        self._callbacks.on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drop trailers: a proxy that sets or removes a header knows only those before the body."""
        if not self._has_headers:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note it."""
        self._has_headers = True
        self._callbacks.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note it."""
        self._without_content = 0
        self._callbacks.on_body(body)

    def on_message_complete(self) -> None:
        """Note it."""
        self._is_complete = True
        self._callbacks.on_message_complete()

    def begin(self, body: float) -> bool:
        """Note that a request has reached the application; `body`: how long its body is.

        Returns whether the parser sees a body, too. Where it does not, what follows the headers is thrown away.
        """
        self._expect_nothing()
        self._is_served, self._tail, self._without_content = True, b"", 0
        if self._is_complete != (not body):
            self._is_deaf, self._held = True, b""
            return False
        self._body_left = body
        if body and self._held:
            held, self._held = self._held, b""
            self._take_body(held)
        else:
            self._check_held()
        return True

    def end(self) -> None:
        """Note that a request is answered: the next one may come."""
        self._is_served, self._body_left = False, 0
        self._in_head, self._head_size, self._tail = True, 0, b""
        self._has_begun = self._has_headers = self._is_complete = False
        if self._held and not self._transport.is_closing():
            held, self._held = self._held, b""
            self._take_head(held)

    @property
    def _callbacks(self) -> Any:
        """The server's own protocol, as its parser calls it back."""
        return super()

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
        super().data_received(data)
        if not self._in_head:
            if not self._has_headers:
                self._refuse(HTTPStatus.BAD_REQUEST)
            self.is_refused = self._transport.is_closing()

    def _take_body(self, data: bytes) -> None:
        if self._body_left == _UNKNOWN:
            data = self._take_chunks(data)
        else:
            end = min(len(data), int(self._body_left))
            self._body_left -= end
            super().data_received(data[:end])
            data = data[end:]
        self._held += data
        self._check_held()

    def _take_chunks(self, data: bytes) -> bytes:
        """Pass on what belongs to a body in chunks, and return the rest.

        Such a body ends with an empty line. No piece goes beyond one, so the parser sees nothing that follows the body.
        """
        seen, done = self._tail + data, len(self._tail)
        while done < len(seen) and not self._is_complete and not self._transport.is_closing():
            found = seen.find(_END_OF_HEAD, max(0, done - 3))
            end = len(seen) if found < 0 else found + len(_END_OF_HEAD)
            self._without_content += end - done
            super().data_received(seen[done:end])
            done = end
        self._tail = seen[max(0, done - 3) : done]
        if self._is_complete:
            self._body_left = 0
        elif self._without_content > _MAX_WITHOUT_CONTENT:
            self._transport.abort()
        return seen[done:]

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
        if connection.is_refused:
            await _until_gone(receive)
            return
        body = _length_of_body(scope["headers"])
        request = _Request(connection, receive, send, body, is_last=body == _UNKNOWN or _switches(scope))
        if connection.begin(body):
            await self._app(scope, request.receive if body else receive, request.send)
        else:
            await request.refuse(HTTPStatus.BAD_REQUEST, _SWITCHES)


class _Request:
    """One request on its connection.

    It is the last one there if its body is not complete when it is answered, came in chunks, or asks for another
    protocol. A request without a whole answer is the last one, too: the server closes.
    """

    def __init__(self, connection: Connection, receive: Receive, send: Send, body: float, *, is_last: bool) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._is_complete = not body
        self._is_last = is_last

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
            self._connection.end()

    async def refuse(self, status: HTTPStatus, text: bytes) -> None:
        """Answer in place of the application, wait a while for the client to read that, and close."""
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", str(len(text)).encode()),
            _CLOSE,
        ]
        await self._send({"type": "http.response.start", "status": status.value, "headers": headers})
        await self._send({"type": "http.response.body", "body": text, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await _until_gone(self._receive)
        await self._send({"type": "http.response.body", "body": b""})

    async def _throw_body_away(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _switches(scope: Scope) -> bool:
    """Return whether a request may ask for another protocol on its connection."""
    return scope["method"] == "CONNECT" or any(name == b"upgrade" for name, _ in scope["headers"])


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
    return type("Connection", (Connection, own.http_protocol_class), {"seconds": seconds})


def listen(host: str, port: int, seconds: float | None = None) -> list[socket.socket]:
    """Listen on every address of a host. The kernel cuts a client that reads nothing of an answer for `seconds`.

    Raises OSError.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return listen_on(list(dict.fromkeys((family, address) for family, _, _, _, address in found)), seconds)


def listen_on(addresses: Sequence[tuple[int, Any]], seconds: float | None = None) -> list[socket.socket]:
    """Listen on addresses with their families. Those that this machine does not have are left out, unless all are.

    Raises OSError.
    """
    listening: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in addresses:
            try:
                listening.append(socket.create_server(address, family=family))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            # Connections take it over from the socket that accepts them. Only Linux has it.
            if seconds is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = max(1, int(seconds * 1000))
                listening[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if missing is not None and not listening:
            raise missing
    except OSError:
        for each in listening:
            each.close()
        raise
    return listening
