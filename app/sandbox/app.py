"""The emulator as an ASGI application: sends each request to the API, the control face or the ingress."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from app.sandbox import procedures
from app.sandbox.api import Api
from app.sandbox.connection import BodyTooLargeError, ClientGoneError, Connection
from app.sandbox.control import Control
from app.sandbox.ingress import Ingress
from app.sandbox.registry import PROCEDURES
from app.sandbox.server import Server
from app.sandbox.settings import SandboxSettings

__all__ = ["Emulator", "create_emulator", "procedures"]

_LANDING = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Emulated Dokploy</title>
<h1>Emulated Dokploy</h1>
<p>This is the sandbox: it answers like a Dokploy server, and nothing real is deployed.
What it holds is at <a href="/sandbox/state">/sandbox/state</a>.</p>
</html>
"""


class Emulator(Starlette):
    """A Starlette application that answers HTTP by itself.

    Requests pass no middleware and no router: the emulator is measured beside the portal on the same two
    processors.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        super().__init__(lifespan=_lifespan)
        self.server = Server(settings, frozenset(PROCEDURES))
        self.api = Api(self.server)
        self.control = Control(self.server)
        self.ingress = Ingress(self.server)

    def reset(self) -> None:
        """Begin anew, as `POST /sandbox/reset`."""
        self.server.reset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve HTTP; everything else, the lifespan above all, is Starlette's."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        connection = Connection(scope, receive, send)
        try:
            await self._handle(connection)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            await connection.answer(413, b"Body exceeded 1mb limit", None)

    async def _handle(self, connection: Connection) -> None:
        if self.ingress.serves(connection.host):
            await self.ingress.handle(connection)
        elif connection.path.startswith("/api/"):
            await self.api.handle(connection)
        elif connection.path.startswith("/sandbox/"):
            await self.control.handle(connection)
        elif connection.path == "/":
            await connection.answer(200, _LANDING, "text/html; charset=utf-8")
        else:
            await connection.answer(404, b"Not found", "text/html; charset=utf-8")


def create_emulator(settings: SandboxSettings) -> Starlette:
    """Make an emulated Dokploy server with nothing on it."""
    return Emulator(settings)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    if isinstance(app, Emulator):
        app.reset()
