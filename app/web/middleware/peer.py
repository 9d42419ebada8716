"""The address of the peer, kept before a proxy's headers replace it."""

from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

log = structlog.get_logger()

_FORWARDED: Final = b"x-forwarded-for"


class Peer:
    """Keeps the peer's address as `peer` in the request's state, and has X-Forwarded headers of proxies believed.

    Outside of everything that reads addresses, which finds that of the client behind the proxy in its place.
    """

    def __init__(self, app: ASGIApp, *, believed: str) -> None:
        """`believed`: FORWARDED_ALLOW_IPS."""
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=believed)  # type: ignore[arg-type]  # uvicorn's own words
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            address = scope["client"][0] if scope.get("client") else None
            scope.setdefault("state", {})["peer"] = address
            self._warn_of_unknown_proxy(scope, address)
        await self._app(scope, receive, send)  # type: ignore[arg-type]  # as above

    def _warn_of_unknown_proxy(self, scope: Scope, address: str | None) -> None:
        """Say once that a proxy may be missing in the list: all its clients then have its own address."""
        if self._has_warned or address in self._app.trusted_hosts:
            return
        if any(name == _FORWARDED for name, _ in scope["headers"]):
            self._has_warned = True
            log.warning(
                "forwarded_not_believed",
                peer=address,
                hint="if this is your proxy, add it to FORWARDED_ALLOW_IPS: everybody behind it counts as one client",
            )
