"""The connection below a request: ASGI has no word for closing it without an answer, as a server in trouble does."""

import asyncio
from contextvars import ContextVar
from typing import Any, ClassVar, cast

import uvicorn
from starlette.types import Receive, Scope, Send

_current: ContextVar["Wire | None"] = ContextVar("wire", default=None)


class Wire(asyncio.Protocol):
    """The HTTP server's own protocol for one connection, whose transport its requests can reach."""

    served_by: ClassVar[type[asyncio.Protocol]]

    def __init__(self, **parts: Any) -> None:
        """`parts`: what the server gives its own protocol."""
        self._protocol = self.served_by(**parts)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on; the request that begins with it inherits the context."""
        _current.set(self)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def cut(self) -> None:
        """Close the connection now."""
        self._transport.abort()


def current_wire() -> Wire | None:
    """Return the connection of the present request; None where no server of `wire_class` serves it."""
    return _current.get()


def wire_class() -> type[Wire]:
    """Return the `http` setting of a uvicorn server whose requests can cut their connection."""
    own = uvicorn.Config(_nothing, http="httptools", log_config=None)
    own.load()
    return type("Wire", (Wire,), {"served_by": own.http_protocol_class})


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Be an application, where one has to be named."""
