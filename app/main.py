"""Makes the web application: lifespan, routes, headers and error handlers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.bootstrap import open_portal
from app.settings import Settings
from app.web import api, crawlers, docs, pages, problems
from app.web.deps import Portal
from app.web.limits import Limits
from app.web.models import EventAnswer, ProblemDocument
from app.web.pages import styleguide
from app.web.templating import STATIC_DIR, Renderer

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders:
    """Adds the same headers to every answer. Plain ASGI, so that a stream passes through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/"):
                    # Its address changes with its content.
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
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


def _is_free_of_secrets(path: str) -> bool:
    return path == "/" or path.startswith("/static/")


def create_app(settings: Settings, *, runs: bool = True) -> FastAPI:
    """Make the application. While its lifespan lasts the store is open and, if it `runs` them, deployments are run."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_portal(settings, runs=runs) as portal:
            given: Portal = portal
            app.state.portal = given
            yield

    app = FastAPI(
        title="AI Stack Deployer",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Its own redirects would lose a body, and one address a page is enough.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.stopping = asyncio.Event()
    app.state.renderer = Renderer(__version__)
    app.state.limits = Limits()
    app.include_router(api.router)
    app.include_router(pages.router)
    if settings.app_env == "development":
        app.include_router(styleguide.router)
    app.include_router(docs.router)
    app.include_router(crawlers.router)
    app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    problems.install(app)
    app.add_middleware(Compression)
    app.add_middleware(SecurityHeaders)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def begin_shutdown(app: FastAPI) -> None:
    """Begin to stop at the signal itself: runs are handed over, streams end and their readers are told to come back.

    The server then finds nothing that it has to wait for, and its lifespan's end only what is left of the hand-over.
    """
    app.state.stopping.set()
    portal: Portal | None = getattr(app.state, "portal", None)
    if portal is not None:
        portal.runner.begin_stop()
        portal.feed.poke_all()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the models that routes name but do not return."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = document["components"]["schemas"]
        for model in (ProblemDocument, EventAnswer):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {})
            schemas[model.__name__] = schema
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for path in document["paths"].values():
            for operation in path.values():
                # Every failure is a problem document, so what the framework would answer by itself is not.
                responses = operation["responses"]
                if "application/json" in responses.get("422", {}).get("content", {}):
                    del responses["422"]
                responses.setdefault("default", {"$ref": "#/components/responses/Problem"})
        document["components"]["responses"] = {
            "Problem": {
                "description": "A problem document",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
            }
        }
        app.openapi_schema = document
    return app.openapi_schema
