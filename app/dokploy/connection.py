"""The connection that every call passes: API key, deadline, size bound and circuit; it turns failures into errors."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from app.dokploy.circuit import Circuit
from app.dokploy.errors import (
    DokployBadRequest,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.dokploy.masking import Mask

# More than any answer that is read, and little enough to hold many of.
MAX_ANSWER_BYTES: Final = 16 * 2**20
# Fields of our own requests that must never come back in a message.
_SECRET_FIELDS: Final = ("password", "env", "username")
_MESSAGE_LENGTH: Final = 500
# Node, and so Dokploy, closes a connection that was idle for 5 s. Whether a create that is sent just then was read is
# unknown, and its whole deadline would have to be waited out.
_IDLE_SECONDS: Final = 2.0
# Nothing was sent yet, so nothing can have happened.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Connection:
    """Speaks HTTP with one Dokploy server.

    Adds the key, keeps the deadline, bounds how many calls are under way, asks the circuit, maps failures to the tree
    of `app.dokploy.errors` and masks secrets. reachable, key_accepted, last_answer (Unix time): what calls have told.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float,
        max_concurrency: int,
        circuit: Circuit,
        may_write: Callable[[], None],
        transport: httpx.AsyncBaseTransport | None = None,
        wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """All as in DokployClient."""
        self.timeout = timeout
        self.circuit = circuit
        self._may_write = may_write
        self.mask = Mask([token])
        """Knows the key, and what was sent in fields that hold secrets: any later answer may repeat it."""
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "x-api-key": token,
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "ai-stack-deployer",
        }
        # One connection a slot, and as many slots as calls may be under way; the one used last is used next. A pool of
        # httpx looks at each of its connections for every call: with 32 of them a third of the processor time.
        self._slots: asyncio.LifoQueue[httpx.AsyncBaseTransport] = asyncio.LifoQueue()
        self._tls = _tls_for(self._base_url)
        self._transport = transport
        self._wrap = wrap
        for _ in range(max_concurrency):
            self._slots.put_nowait(self._new_slot())
        self.reachable: bool | None = None
        self.key_accepted = False
        self.last_answer: float | None = None

    def _new_slot(self) -> httpx.AsyncBaseTransport:
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)
        slot = self._transport or httpx.AsyncHTTPTransport(verify=self._tls, limits=one, trust_env=False)
        return self._wrap(slot) if self._wrap else slot

    async def close(self) -> None:
        """Close the connections."""
        while not self._slots.empty():
            await self._slots.get_nowait().aclose()

    async def call(
        self,
        method: str,
        call: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Make one call and return the body of its answer. Raises DokployError; every call passes here."""
        changes = method == "POST"
        if body:
            self.mask.add(value for field in _SECRET_FIELDS for value in _parts(body.get(field)))
        request = httpx.Request(
            method, f"{self._base_url}/api/{call}", params=params or None, json=body, headers=self._headers
        )
        slot = await self._slots.get()
        try:
            if changes:
                self._may_write()
            self.circuit.before(call)
            try:
                content = await self._exchange(slot, request, call, body)
            except DokployError as error:
                self.circuit.after(error)
                raise
            self.circuit.after(None)
        except (asyncio.CancelledError, DokployTimeout):
            # Broken off in the middle. Its one connection may never become free again, were it cancelled twice.
            self._slots.put_nowait(self._new_slot())
            await slot.aclose()
            raise
        except BaseException:
            self._slots.put_nowait(slot)
            raise
        self._slots.put_nowait(slot)
        return content

    async def _exchange(
        self, slot: httpx.AsyncBaseTransport, request: httpx.Request, call: str, body: Mapping[str, Any] | None
    ) -> bytes:
        changes = request.method == "POST"
        try:
            async with asyncio.timeout(self.timeout):
                response = await slot.handle_async_request(request)
                content = await _read_body(response)
        except TimeoutError:
            self.reachable = False
            raise DokployTimeout(call, f"no answer within {self.timeout:g} s", uncertain=changes) from None
        except httpx.HTTPError as error:
            self.reachable = False
            sent = not isinstance(error, _NOT_SENT)
            message = f"{type(error).__name__}: {self._mask(str(error), body)}"
            raise DokployUnreachable(call, message, uncertain=changes and sent) from None
        if content is None:
            raise DokployUnreadable(call, "the answer is too long", status=response.status_code, uncertain=changes)
        if response.status_code == httpx.codes.OK:
            self.reachable, self.key_accepted, self.last_answer = True, True, time.time()
            return content
        raise await self._error(slot, call, response, content, body, changes=changes)

    async def _error(
        self,
        slot: httpx.AsyncBaseTransport,
        call: str,
        response: httpx.Response,
        content: bytes,
        body: Mapping[str, Any] | None,
        *,
        changes: bool,
    ) -> DokployError:
        status = response.status_code
        try:
            answer = json.loads(content)
            message, code = str(answer["message"]), answer.get("code")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            message, code = content.decode(errors="replace"), None
            if not message.startswith(("Invalid JSON", "Body exceeded")):  # Dokploy's only two answers in plain text
                message = self._mask(message, body)
                return DokployUnreadable(call, message, status=status, uncertain=changes)
        message = self._mask(message, body)
        if status == httpx.codes.UNAUTHORIZED and code is None:
            return await self._tell_apart(slot, call, message)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return DokployForbidden(call, message, status=status)
        if status == httpx.codes.NOT_FOUND:
            return DokployNotFound(call, message, status=status)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return DokployServerError(call, message, status=status, uncertain=changes)
        return DokployBadRequest(call, message, status=status)

    async def _tell_apart(self, slot: httpx.AsyncBaseTransport, call: str, message: str) -> DokployError:
        """Find out what a bare 401 means: the one call that needs no key and asks Dokploy's database answers 500."""
        request = httpx.Request("GET", f"{self._base_url}/api/trpc/settings.health")
        try:
            async with asyncio.timeout(self.timeout):
                health = await slot.handle_async_request(request)
                await _read_body(health)
        except (TimeoutError, httpx.HTTPError):
            self.reachable = False
            return DokployUnreachable(call, "401, and then no answer", status=401)
        if health.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return DokployDatabaseDown(call, "401 while its database is down", status=401)
        return DokployKeyRefused(call, message, status=401)

    def _mask(self, text: str, body: Mapping[str, Any] | None) -> str:
        """Take secrets out of Dokploy's words: the key, and whatever we sent in fields that hold secrets."""
        also = [value for field in _SECRET_FIELDS for value in _parts((body or {}).get(field))]
        return self.mask(re.split(r"\s*params: ", text, maxsplit=1)[0], most=_MESSAGE_LENGTH, also=also)


def _tls_for(url: str) -> ssl.SSLContext:
    """Whom to believe at a URL: over plain HTTP nobody is asked, and reading every certificate takes 50 ms."""
    return httpx.create_ssl_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _parts(value: Any) -> list[str]:
    """Texts by which a secret could be recognised: the whole of it, and the value of each line `NAME=value`."""
    if not isinstance(value, str) or not value:
        return []
    values = [line.partition("=")[2].strip("\"'`") for line in value.splitlines()]
    return [text for text in [value, *values] if len(text) > 3]


async def _read_body(response: httpx.Response) -> bytes | None:
    """Read an answer of bounded length; None where it is longer."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return None
            chunks.append(chunk)
    finally:
        await response.aclose()
    return b"".join(chunks)
