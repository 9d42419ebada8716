"""The rate limit by address, before a request is routed. Plain ASGI, as `headers` is."""

from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.assets import STATIC_DIR
from app.web.deps import address_of
from app.web.error_handlers import answer
from app.web.rate_limits import UNLIMITED, LimitReachedError, limits_of, note, note_limit

# What a page is made of. A name that no file has is answered with a page, and counted like any other.
_FILES: Final = frozenset(
    f"/static/{file.relative_to(STATIC_DIR).as_posix()}" for file in STATIC_DIR.rglob("*") if file.is_file()
)


class EveryRequest:
    """Counts a request once, whether or not there is a route for it: also a page that says no costs something."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with how its sender stands."""
        if scope["type"] != "http" or _is_free(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            note(request, await limits_of(request).requests(address=address_of(request) or ""))
        except LimitReachedError as error:
            note_limit(request, error)
            await answer(request, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_free(scope: Scope) -> bool:
    method, path = scope["method"], scope["path"]
    return (method == "GET" and path in UNLIMITED) or (method in {"GET", "HEAD"} and path in _FILES)
