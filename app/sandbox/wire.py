"""The connection below a request: ASGI has no word for closing it without an answer, as a server in trouble does."""

import asyncio
from contextvars import ContextVar
from typing import cast

import uvicorn
from starlette.types import Receive, Scope, Send

_current: ContextVar["Wire | None"] = ContextVar("wire", default=None)


class Wire(asyncio.Protocol):
    """One connection, whose transport its requests can reach. `wire_class` joins it to the HTTP server's protocol."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on; the request that begins with it inherits the context."""
        _current.set(self)
        super().data_received(data)

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
    return type("Wire", (Wire, own.http_protocol_class), {})


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Be an application, where one has to be named."""
