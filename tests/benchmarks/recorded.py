"""The portal with one more address, which tells what it has sent to its store: run as `python -m app` is.

`GET /benchmark/statements` answers what was sent since the last time it was asked. `RECORDED_RUNS=no` leaves deployments
queued.
"""

import os
import pickle
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app import cli
from app.cli import servers
from app.config.settings import Settings
from tests.benchmarks.statements import Recorder

ADDRESS = "/benchmark/statements"


class _Shown:
    """Answers with what was noted."""

    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self._app, self._recorder = app, recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != ADDRESS:
            await self._app(scope, receive, send)
            return
        body = pickle.dumps(self._recorder.take())
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _recorded(create: Any) -> Any:
    def create_app(settings: Settings, **options: Any) -> FastAPI:
        if os.environ.get("RECORDED_RUNS") == "no":
            options["runs"] = False
        app: FastAPI = create(settings, **options)
        # Within the outermost, which has to see every request to an end.
        app.user_middleware.insert(1, Middleware(_Shown, recorder=Recorder()))
        return app

    return create_app


if __name__ == "__main__":
    servers.create_app = _recorded(servers.create_app)  # type: ignore[attr-defined]
    cli.main()
