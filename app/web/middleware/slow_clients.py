"""Connections of slow or stuck clients, which are cut: a request arrives whole in time, and an answer is taken."""

import asyncio
import contextlib
import fcntl
import struct
import termios
from http import HTTPStatus
from typing import Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# Address and headers of one request; browsers send a few kB, and proxies bound it likewise.
_MOST_HEAD: Final = 64 * 1024
# Requests that are sent before the answer to the one before is there. Browsers send none.
_MOST_AHEAD: Final = 16
# The route answers a body that is late by itself, and on a busy machine it takes a while until that is written.
_AFTER_THE_ROUTE: Final = 10.0
# How long what nobody reads of a request may go on to come once it is answered: a client reads the answer meanwhile.
_LINGER: Final = 2.0


class TimelyProtocol(HttpToolsProtocol):
    """The server's own protocol, with an end for whoever sends or reads too slowly.

    It knows three waits. `_arrival`: from the first byte of a request, or from the connection, until the headers are
    there, and then until the body is. The server's own: between two requests. `_taking`: while an answer is stuck.
    """

    seconds: float
    _answering: RequestResponseCycle | None = None
    _arrival: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _stuck = 0
    # Of the request that arrives: whether it has begun, whether its headers are there, and how long they are, as bytes
    # that have come and as what was made of them.
    _has_begun = False
    _in_head = True
    _came = 0
    _head = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn's own words
        self._expect_within(self.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._expect_nothing()
        self._unwatch()
        super().connection_lost(exc)
        # The server itself tells only the newest of several requests, which is not the one that is being answered.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless a request's headers are too long."""
        if self._arrival is None:
            self._expect_within(self.seconds)
        if self._in_head:
            self._came += len(data)
        super().data_received(data)
        if self._in_head and self._came > _MOST_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request; several may come in one piece."""
        super().on_message_begin()
        self._has_begun, self._head = True, 0
        if self._arrival is None:
            self._expect_within(self.seconds)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        super().on_url(url)
        self._add_to_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._add_to_head(len(name) + len(value))

    def _add_to_head(self, length: int) -> None:
        self._head += length
        if self._head > _MOST_HEAD:
            raise ValueError("the headers are too long")  # which the server answers with `send_400_response`

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as the parent is called
        """Refuse what is no request, or one whose headers are too long."""
        is_long = self._head > _MOST_HEAD
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if is_long else HTTPStatus.BAD_REQUEST)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        self._in_head, self._came = False, 0
        self._expect_within(self.seconds + _AFTER_THE_ROUTE)
        if len(self.pipeline) >= _MOST_AHEAD:
            self.transport.abort()
            raise ValueError("too many requests at once")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there; what it begins may take as long as it likes."""
        super().on_message_complete()
        self._has_begun, self._in_head = False, True
        self._expect_nothing()
        if self.cycle.response_complete:  # so that the server does not wait for the next one either
            self._expect_within(self.seconds)

    def on_response_complete(self) -> None:
        """Wait no longer for the rest of a body that nobody has read."""
        if self.cycle.more_body and not self.pipeline:
            self._expect_within(_LINGER)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Watch a client that has stopped to read."""
        super().pause_writing()
        self._stuck = self._left()
        self._taking = self.loop.call_later(self.seconds, self._is_stuck)

    def resume_writing(self) -> None:
        """It reads on."""
        self._unwatch()
        super().resume_writing()

    def _is_stuck(self) -> None:
        left = self._left()
        if left < self._stuck:  # it reads, though slowly
            self._stuck = left
            self._taking = self.loop.call_later(self.seconds, self._is_stuck)
        else:
            # Closing would wait until it has read the rest.
            self.transport.abort()

    def _left(self) -> int:
        """How many bytes it has still to take, here and in the kernel, which holds a lot and asks for more at times."""
        left = self.transport.get_write_buffer_size()
        with contextlib.suppress(OSError, AttributeError):
            descriptor = self.transport.get_extra_info("socket").fileno()
            left += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return left

    def _unwatch(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._arrival = self.loop.call_later(seconds, self._is_late)

    def _expect_nothing(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _is_late(self) -> None:
        self._arrival = None
        if self.transport.is_closing():
            return
        if self._has_begun and self._in_head and (self.cycle is None or self.cycle.response_complete):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            # Nothing was asked, or an answer is under way and cannot be told from another.
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer below the application, to what is no request yet, and close."""
        if self.transport.is_closing():
            return
        text = status.phrase.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"x-content-type-options: nosniff\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + text)
        self.transport.close()


def timely(seconds: float) -> type[TimelyProtocol]:
    """The protocol for a server that cuts whoever is slower than that."""
    return type("TimelyProtocol", (TimelyProtocol,), {"seconds": seconds})
