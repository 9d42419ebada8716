"""The emulated Traefik: answers for stacks by host, as `http://<name>.localhost:<port>/` in a browser."""

import base64
import binascii
import html
import ipaddress

from app.sandbox.connection import Connection
from app.sandbox.faults import Fault
from app.sandbox.server import Server
from app.sandbox.swarm import Spec

_GATEWAY = frozenset({"gateway"})
_TEXTS = {404: "404 page not found\n", 500: "Internal Server Error", 502: "Bad Gateway", 504: "Gateway Timeout"}
_PASSWORD = "OPENCODE_SERVER_PASSWORD"  # noqa: S105 - the name of a variable
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>body {{ font: 1.1rem/1.5 system-ui; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }}</style>
<h1>Hello from {name}</h1>
<p>This is the emulated stack <strong>{name}</strong>. It runs nowhere but in the sandbox; on a real server the image
<code>{image}</code> would answer here.</p>
</html>
"""


class Ingress:
    """Everything that is not the API itself."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def serves(self, host: str) -> bool:
        """Say whether a host is a stack's, and not one of the API's own names."""
        if host in {"", "localhost", self._server.settings.API_HOST.lower()} or _is_address(host):
            return False
        # A name without a dot is how containers of one network call each other, unless a stack took it.
        return "." in host or self._server.state.knows_host(host)

    async def handle(self, connection: Connection) -> None:
        """Answer for a stack: 404 without a route, 502 before its container runs, then the stack itself."""
        server, host = self._server, connection.host
        fault: Fault | None = server.faults.take("ingress", f"{host}{connection.path}", _GATEWAY, host)
        route = server.state.route(host, connection.path)
        if route is None:
            await self._plain(connection, 404)
            return
        if fault is not None:
            await self._plain(connection, fault.status or 502)
            return
        spec = server.swarm.answering(route[0])
        if spec is None:
            await self._plain(connection, 502)
        elif _may_enter(spec, connection.headers.get("authorization", "")):
            page = _PAGE.format(name=html.escape(spec.title), image=html.escape(spec.image))
            await connection.answer(200, page.encode(), "text/html; charset=utf-8")
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="Secure Area"'}
            await connection.answer(401, b"Unauthorized", "text/plain; charset=utf-8", challenge)

    async def _plain(self, connection: Connection, status: int) -> None:
        await connection.answer(status, _TEXTS[status].encode(), "text/plain; charset=utf-8")


def _may_enter(spec: Spec, authorization: str) -> bool:
    password = spec.env.get(_PASSWORD)
    if not password or spec.open:
        return True
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return given.partition(":")[2] == password


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
