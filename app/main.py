"""The web application: lifespan, routes, headers and error handlers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from app import __version__
from app.bootstrap import open_portal
from app.config.settings import Settings
from app.portal import Portal
from app.web import error_handlers
from app.web.api import openapi
from app.web.api.router import router as api
from app.web.assets import STATIC_DIR
from app.web.auth.authorization import RULES, authorize, routes_of
from app.web.auth.oidc import Oidc
from app.web.middleware.headers import Compression, EveryAnswer
from app.web.middleware.peer import Peer
from app.web.middleware.rate_limit import EveryRequest
from app.web.middleware.shutdown import Shutdown
from app.web.middleware.slow_clients import SlowClients
from app.web.rate_limits import Limits
from app.web.ui.router import router as pages
from app.web.ui.shared.renderer import Renderer


def create_app(settings: Settings, *, runs: bool = True) -> FastAPI:
    """Make the application. While its lifespan lasts the store is open and, if it `runs` them, deployments are run."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.aclosing(app.state.limits), open_portal(settings, runs=runs) as portal:
            given: Portal = portal
            app.state.portal = given
            app.state.oidc = Oidc(settings, portal.vault) if settings.auth_mode == "oidc" else None
            yield

    app = FastAPI(
        title="AI Stack Deployer",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Its own redirects would lose a body, and one address a page is enough.
        redirect_slashes=False,
        dependencies=[Depends(authorize)],
    )
    app.state.settings = settings
    app.state.stopping = asyncio.Event()
    app.state.requests = set()
    app.state.renderer = Renderer(__version__)
    app.state.limits = Limits(settings)
    app.include_router(api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    if undecided := set(routes_of(app)) - set(RULES):
        raise AssertionError(f"nobody has decided who may use {sorted(undecided)}")
    error_handlers.install(app)
    # From the inside out: what is refused here gets the headers of every answer, too.
    app.add_middleware(EveryRequest)
    app.add_middleware(Compression)
    app.add_middleware(Shutdown, stopping=app.state.stopping, requests=app.state.requests)
    app.add_middleware(EveryAnswer, settings=settings)
    app.add_middleware(Peer, believed=settings.forwarded_allow_ips)
    app.add_middleware(SlowClients)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]  # as FastAPI documents it
    return app


async def wait_for_last_answers(app: FastAPI, seconds: float) -> None:
    """Wait for the requests that the server has cancelled: what they use is closed next."""
    requests: set[asyncio.Task[Any]] = app.state.requests
    if requests:
        await asyncio.wait(requests, timeout=seconds)


def begin_shutdown(app: FastAPI) -> None:
    """Begin to stop at the signal itself: runs are handed over, streams end and their readers are told to come back.

    The server then finds nothing that it has to wait for, and its lifespan's end only what is left of the hand-over.
    """
    app.state.stopping.set()
    portal: Portal | None = getattr(app.state, "portal", None)
    if portal is not None:
        portal.runner.begin_stop()
        portal.broker.poke_all()
