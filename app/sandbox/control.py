"""The control face at `/sandbox/`: for tests, and for people who want to see what happens when things go wrong."""

import json
from typing import Any

from app.sandbox.connection import Connection
from app.sandbox.faults import FaultError
from app.sandbox.server import Server

_RESTART_SECONDS = 0.2
_PATHS = ["GET state", "GET asked", "POST reset", "POST release", "POST restart", "GET, POST, DELETE faults"]


class Control:
    """Shows the state and what was asked to be deployed, resets, releases and restarts, takes faults; no key."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def handle(self, connection: Connection) -> None:
        """Answer one request below `/sandbox/`."""
        server = self._server
        match connection.method, connection.path:
            case "GET", "/sandbox/state":
                await connection.answer_json(200, server.snapshot())
            case "GET", "/sandbox/asked":
                await connection.answer_json(200, server.worker.asked())
            case "POST", "/sandbox/reset":
                server.reset()
                await connection.answer_json(200, {"reset": True})
            case "POST", "/sandbox/release":
                await self._release(connection)
            case "POST", "/sandbox/restart":
                await self._restart(connection)
            case "GET", "/sandbox/faults":
                await connection.answer_json(200, server.faults.rows())
            case "DELETE", "/sandbox/faults":
                await connection.answer_json(200, {"cleared": server.faults.clear()})
            case "POST", "/sandbox/faults":
                await self._add_fault(connection)
            case _:
                await connection.answer_json(404, {"message": "Not found", "calls": _PATHS})

    async def _release(self, connection: Connection) -> None:
        given = await _read(connection)
        match = given.get("match") if isinstance(given, dict) else 0
        if not isinstance(match, str | None):
            errors = {"match": "Must be the `match` of a fault, or absent for all."}
            await connection.answer_json(422, {"message": "The sandbox cannot release that.", "errors": errors})
            return
        await connection.answer_json(200, {"released": self._server.release(match)})

    async def _restart(self, connection: Connection) -> None:
        given = await _read(connection)
        seconds = given.get("seconds", _RESTART_SECONDS) if isinstance(given, dict) else None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 600:
            errors = {"seconds": "Must be a number between 0 and 600."}
            await connection.answer_json(422, {"message": "The sandbox cannot restart so.", "errors": errors})
            return
        self._server.restart(seconds)
        await connection.answer_json(200, {"restarted": True, "seconds": seconds})

    async def _add_fault(self, connection: Connection) -> None:
        try:
            fault = self._server.faults.add(await _read(connection))
        except FaultError as error:
            await connection.answer_json(422, {"message": str(error), "errors": error.errors})
            return
        await connection.answer_json(201, fault.row())


async def _read(connection: Connection) -> Any:
    body = await connection.body()
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError:
        return None
