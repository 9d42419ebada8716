"""The response to requests that a stop of the portal cancels. Plain ASGI, as `headers` is."""

import asyncio
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import PortalError
from app.web.error_handlers import answer

log = structlog.get_logger()


class Shutdown:
    """Answers 503 where a request outlasts the time that the server gives it once the portal stops.

    The server would answer 500 and log a traceback for each. An answer that has begun, such as a stream, is closed.
    """

    def __init__(self, app: ASGIApp, stopping: asyncio.Event, requests: "set[asyncio.Task[Any]]") -> None:
        """Wrap an application.

        stopping: set from the signal to stop on; requests: gets the task of each request while it is served.
        """
        self._app = app
        self._stopping = stopping
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        task = asyncio.current_task()
        if task is not None:
            self._requests.add(task)
        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            log.warning("request_cut", method=scope["method"], path=scope["path"], answered=not has_begun)
            if not has_begun:
                # The server cancels once, and the loop goes on until this is sent.
                await answer(Request(scope, receive), PortalError("portal_stopping"))(scope, receive, send)
        finally:
            if task is not None:
                self._requests.discard(task)
