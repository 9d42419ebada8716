"""Makes the web application: lifespan, routes, headers and error handlers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles

from app import __version__
from app.bootstrap import open_portal
from app.settings import Settings
from app.web import api, crawlers, docs, pages, problems
from app.web.deps import Portal
from app.web.headers import Compression, SecurityHeaders
from app.web.limits import Limits
from app.web.models import EventAnswer, ProblemDocument
from app.web.pages import styleguide
from app.web.peer import Peer
from app.web.templating import STATIC_DIR, Renderer


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
    app.add_middleware(Peer, believed=settings.forwarded_allow_ips)
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
