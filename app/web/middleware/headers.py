"""Headers of every response, and compression of those without secrets. Plain ASGI, so that streams pass untouched."""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config.settings import Settings
from app.web import rate_limits
from app.web.assets import asset

# What no page here needs, so that no script that got in could ask for it. What is copied is written, never read.
_NEVER: Final = (
    "accelerometer autoplay camera clipboard-read display-capture encrypted-media fullscreen geolocation gyroscope hid "
    "idle-detection magnetometer microphone midi payment picture-in-picture publickey-credentials-get "
    "screen-wake-lock serial sync-xhr usb xr-spatial-tracking"
)
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _NEVER.split()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# For this host alone: what else lives below it is its operator's, and may well be plain http.
_STAY_WITH_TLS: Final = {"Strict-Transport-Security": "max-age=31536000"}
_KEPT: Final = "public, max-age=31536000, immutable"


def add_headers(headers: MutableHeaders, scope: Scope, status: int, settings: Settings) -> None:
    """Give an answer the headers that all have, and how its reader stands with the limits where he wants to know."""
    every: Mapping[str, str] = {**_SECURITY, **_STAY_WITH_TLS} if settings.portal_is_tls else _SECURITY
    for name, value in every.items():
        headers.setdefault(name, value)
    if scope["path"].startswith("/api/") or status == 429:
        for name, value in rate_limits.headers_of(scope.get("state", {}).get("standings", ())).items():
            headers[name] = value


class EveryAnswer:
    """Adds the headers that every answer has. Plain ASGI, so that a stream passes through untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                add_headers(headers, scope, message["status"], self._settings)
                if scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = _KEPT if _is_for_ever(scope, message["status"]) else "no-cache"
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class Compression:
    """Compresses static files and the first page, and lets everything else through untouched, streams above all.

    These two hold no secret. A page with a password must not be compressed: whoever makes a browser ask for it with
    guesses in the address would learn from its length which of them stand in it (BREACH).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or not _is_free_of_secrets(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Also where there was nothing to compress: another reader of the same address may get it compressed.
                if "accept-encoding" not in headers.get("vary", "").lower():
                    headers.add_vary_header("Accept-Encoding")
                if "content-encoding" in headers:
                    # Not the file's own bytes, so no part of one can go on with a part of the other.
                    if etag := headers.get("etag"):
                        headers["ETag"] = f"W/{etag}"
                    del headers["accept-ranges"]
            await send(message)

        # The headers of HEAD are those of GET, which only the content tells; the server leaves that out.
        await self._compressed({**scope, "method": "GET"}, receive, send_with_headers)


def _is_for_ever(scope: Scope, status: int) -> bool:
    """Whether a file was asked for by the address that changes with its content, and this is that content.

    While one version takes another's place, each may be asked for the other's files.
    """
    address = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
    return status in {200, 206, 304} and asset(scope["path"].removeprefix("/static/")) == address


def _is_free_of_secrets(path: str) -> bool:
    return path == "/" or path.startswith("/static/")
