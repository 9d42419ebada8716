"""The probe: requests a stack's address as a visitor without a password, and classifies the answer."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from app.config.settings import host_and_port
from app.security.tls import trusted

# A stranger's browser gives up later, but a probe is asked again anyway.
_TIMEOUT_SECONDS: Final = 5.0
# The status by which a proxy says that nothing lives at an address.
NOBODY: Final = 404


@dataclass(frozen=True)
class ProbeResult:
    """What one probe met: a status, or the code of a problem where there was none.

    tls_trouble: whether the certificate was not accepted, and was then passed over.
    """

    status: int | None
    code: str | None = None
    tls_trouble: bool = False


class Prober:
    """Probes addresses, each time over a connection of its own, as a stranger would; never sends a credential."""

    def __init__(self, connect_to: str | None, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """`connect_to`: host:port to connect to instead of the address's own, as curl's --connect-to does.

        `timeout`: seconds for one probe.
        """
        self._timeout = timeout
        self._connect_to = host_and_port(connect_to) if connect_to else None
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def probe(self, url: str) -> ProbeResult:
        """Ask a URL once. A certificate that is not accepted is noted and passed over (ASD-2)."""
        result = await self._ask(url, verify=True)
        if result.code == "tls":
            result = await self._ask(url, verify=False)
            if result.code == "tls":  # not even a handshake
                return ProbeResult(None, "address_refused", tls_trouble=True)
            return ProbeResult(result.status, result.code, tls_trouble=True)
        return result

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, url: str, *, verify: bool) -> ProbeResult:
        address = httpx.URL(url)
        headers = {"host": address.netloc.decode(), "accept": "*/*", "user-agent": "ai-stack-deployer"}
        extensions = {"sni_hostname": address.host}
        if self._connect_to:
            host, port = self._connect_to
            address = address.copy_with(host=host, port=port)
        client = self._client(verify=verify)
        request = client.build_request("GET", address, headers=headers, extensions=extensions)
        try:
            async with asyncio.timeout(self._timeout):
                response = await client.send(request, stream=True)
                # Only the status matters; whoever answers may be anybody, so the body is left where it is.
                await response.aclose()
        except TimeoutError:
            return ProbeResult(None, "address_timeout")
        except httpx.HTTPError as error:
            return ProbeResult(None, _code_of(error))
        return ProbeResult(response.status_code)

    def _client(self, *, verify: bool) -> httpx.AsyncClient:
        if verify not in self._clients:
            self._clients[verify] = httpx.AsyncClient(
                timeout=2 * self._timeout,  # never reached: one asyncio.timeout a probe comes before it
                # What one stack sets must not be told to another: with `connect_to` all of them are one host here.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                verify=trusted() if verify else False,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._clients[verify]


def _code_of(error: httpx.HTTPError) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, socket.gaierror):
            return "address_unresolved"
    return "address_refused"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Every exception behind one, also within groups: which library wraps which differs by version."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
