"""One HTTP exchange over bare ASGI: reads the request, answers it, or breaks off as servers do in trouble."""

import asyncio
import json
from typing import Any

from starlette.types import Receive, Scope, Send

from app.sandbox.wire import current_wire

_LARGEST_BODY = 1024 * 1024
_LONGEST_HANG_SECONDS = 120.0
_COMMON = [(b"x-frame-options", b"DENY"), (b"x-content-type-options", b"nosniff"), (b"vary", b"Accept-Encoding")]


class BodyTooLargeError(Exception):
    """The body is over the megabyte that Dokploy reads."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was read."""


class Connection:
    """The request and the way back to its client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }

    @property
    def host(self) -> str:
        """The host the client asked for, without its port."""
        host = self.headers.get("host", "").lower()
        if host.startswith("["):
            return host.partition("]")[0] + "]"
        return host.partition(":")[0]

    async def body(self) -> bytes:
        """Read the body, unless it is too large."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > _LARGEST_BODY:
                raise BodyTooLargeError
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def answer(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with these bytes."""
        sent = [*_COMMON, (b"content-length", str(len(body)).encode())]
        if status == 204:
            sent.pop()
        if content_type is not None:
            sent.append((b"content-type", content_type.encode()))
        for name, value in (headers or {}).items():
            sent.append((name.lower().encode(), value.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def answer_json(self, status: int, value: Any, content_type: str = "application/json") -> None:
        """Answer with a JSON value."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        await self.answer(status, text.encode("utf-8", "surrogatepass"), content_type)

    async def hang(self) -> None:
        """Keep the client waiting until it gives up, or for two minutes; then break off."""
        try:
            async with asyncio.timeout(_LONGEST_HANG_SECONDS):
                await self._until_gone()
        except TimeoutError:
            await self.drop()

    async def drop(self) -> None:
        """Close the connection without an answer."""
        wire = current_wire()
        if wire is None:
            # A client that calls the application directly is told the same.
            raise ConnectionResetError("The emulated server closed the connection.")
        wire.cut()
        await self._until_gone()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
