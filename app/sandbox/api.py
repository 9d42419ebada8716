"""Dokploy's two API forms: `/api/<router.procedure>` and, for the same procedures, `/api/trpc/...`."""

import asyncio
import html
import inspect
import json
from typing import Any
from urllib.parse import parse_qsl, quote

from app.sandbox.connection import BodyTooLargeError, Connection
from app.sandbox.errors import CODES, CallError
from app.sandbox.faults import ANSWERS, Fault
from app.sandbox.registry import NOTHING, Call, Procedure, offered
from app.sandbox.server import Server
from app.sandbox.validation import validated

_CHARSET = "application/json; charset=utf-8"
_BARE_401 = {"message": "Unauthorized"}
_DATABASE_DOWN = frozenset({"database_down"})
_HTML = b"<!doctype html><title>Please wait</title><h1>The page you want is somewhere else</h1>"


class Api:
    """Answers the calls."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def handle(self, connection: Connection) -> None:
        """Answer one request below `/api/`."""
        server = self._server
        if server.is_down():
            await connection.drop()
            return
        name = connection.path.removeprefix("/api/")
        is_rpc = name.startswith("trpc/")
        name = name.removeprefix("trpc/")
        if name == "health" and not is_rpc:
            await connection.answer_json(200, {"ok": True}, _CHARSET)
            return
        procedure = offered(server).get(name)
        if procedure is not None:
            server.calls[name] += 1
        keyless = is_rpc and name == "settings.health"
        if server.settings.LATENCY_MS:
            await asyncio.sleep(server.settings.LATENCY_MS / 1000)
        if server.faults.take(name, connection.query, _DATABASE_DOWN):
            if keyless:
                broken = CallError(500, "Failed query: SELECT 1\nparams: ")
                await connection.answer_json(500, broken.rpc_body(name))
            else:
                await self._unauthorized(connection, name, is_rpc=is_rpc)
            return
        if not keyless and not server.admits(connection.headers.get("x-api-key", "")):
            await self._unauthorized(connection, name, is_rpc=is_rpc)
            return
        expected = ("GET", "HEAD") if procedure is not None and procedure.is_query else ("POST",)
        if procedure is None or connection.method not in expected:
            missing = CallError(404, f'No procedure found on path "{name}"' if is_rpc else "Not found")
            await connection.answer_json(404, missing.rpc_body(name) if is_rpc else missing.body(None))
            return
        if connection.method == "HEAD":
            await connection.answer(204)
            return
        await self._call(connection, procedure, is_rpc=is_rpc)

    async def _unauthorized(self, connection: Connection, name: str, *, is_rpc: bool) -> None:
        if is_rpc:
            await connection.answer_json(401, CallError(401, "UNAUTHORIZED").rpc_body(name))
        else:
            await connection.answer_json(401, _BARE_401, _CHARSET)

    async def _call(self, connection: Connection, procedure: Procedure, *, is_rpc: bool) -> None:
        name = procedure.name
        try:
            text, given = await self._read(connection, procedure, is_rpc=is_rpc)
        except _UnreadableError as unreadable:
            await connection.answer(unreadable.status, unreadable.text, None)
            if unreadable.status == 413:
                # The rest of the body is never read: the connection serves no other request.
                await connection.drop()
            return
        except CallError as error:
            await self._refuse(connection, name, error, is_rpc=is_rpc)
            return
        fault = self._server.faults.take(name, text, ANSWERS)
        if fault is not None and await self._spoiled(connection, procedure, fault, given, text):
            return
        try:
            result = await self._run(procedure, given, text)
        except CallError as error:
            await self._refuse(connection, name, error, is_rpc=is_rpc)
            return
        if fault is not None and fault.kind == "drop_after":
            await connection.drop()
        elif fault is not None and fault.kind == "error_after":
            await self._fail(connection, name, fault.status or 500)
        elif is_rpc:
            wrapped = {"json": None, "meta": {"values": ["undefined"]}} if result is NOTHING else {"json": result}
            await connection.answer_json(200, {"result": {"data": wrapped}})
        elif result is NOTHING:
            await connection.answer(200)
        else:
            await connection.answer_json(200, result)

    async def _read(self, connection: Connection, procedure: Procedure, *, is_rpc: bool) -> tuple[str, Any]:
        if procedure.is_query:
            given: Any = dict(parse_qsl(connection.query, keep_blank_values=True))
            if is_rpc:
                return connection.query, _superjson(_json(given.get("input", "{}")))
            return connection.query, given
        content_type = connection.headers.get("content-type", "")
        if not content_type:
            raise CallError(415, "Missing content-type header")
        if not content_type.startswith("application/json"):
            # The quote is never closed in the real answer either.
            raise CallError(415, f'Unsupported content-type "{content_type}')
        try:
            text = (await connection.body()).decode("utf-8", "replace")
        except BodyTooLargeError:
            raise _UnreadableError(413, b"Body exceeded 1mb limit") from None
        given = _json(text)
        return text, _superjson(given) if is_rpc else given

    async def _run(self, procedure: Procedure, given: Any, text: str) -> Any:
        kept = validated(procedure.fields, given, coerce=procedure.is_query)
        if "\\u0000" in text and not procedure.is_query:
            values = ",".join(str(value) for value in kept.values())
            raise CallError(400, f'Failed query: insert into "{procedure.name.partition(".")[0]}"\nparams: {values}')
        result = procedure.handler(Call(self._server, procedure.name, kept, text))
        return await result if inspect.isawaitable(result) else result

    async def _spoiled(self, connection: Connection, procedure: Procedure, fault: Fault, given: Any, text: str) -> bool:
        """Do what a fault does instead of the call; False where the call goes on."""
        match fault.kind:
            case "status":
                await self._fail(connection, procedure.name, fault.status or 500)
            case "html":
                await connection.answer(fault.status or 200, _HTML, "text/html; charset=utf-8")
            case "echo":
                message = self._all_that_was_sent(connection, text)
                await connection.answer_json(fault.status or 500, CallError(fault.status or 500, message).body(None))
            case "echo_page":
                said = html.escape(self._all_that_was_sent(connection, text))
                page = f"<!doctype html><title>{said}</title><script>alert(1)</script>{quote(said)}"
                await connection.answer(fault.status or 502, page.encode(), "text/html; charset=utf-8")
            case "hang":
                await connection.hang()
            case "late":
                task = asyncio.create_task(self._land(procedure, given, text, fault.seconds or 0))
                self._server.late.add(task)
                task.add_done_callback(self._server.late.discard)
                await connection.drop()
            case "slow":
                await asyncio.sleep(fault.seconds or 0)
                return False
            case "hold":
                if await self._server.hold(procedure.name, fault):
                    return False
                await connection.drop()
            case _:
                return False
        return True

    def _all_that_was_sent(self, connection: Connection, text: str) -> str:
        """Echo the request, its key and earlier requests, as a careless server would."""
        kept = [application["env"] or "" for application in self._server.state.applications.values()]
        passwords = [str(application["password"] or "") for application in self._server.state.applications.values()]
        return " ".join(["Command failed:", connection.headers.get("x-api-key", ""), text, *kept, *passwords])

    async def _land(self, procedure: Procedure, given: Any, text: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            await self._run(procedure, given, text)
        except CallError:
            return

    async def _fail(self, connection: Connection, name: str, status: int) -> None:
        if status == 401:
            await connection.answer_json(401, _BARE_401, _CHARSET)
            return
        message = f"A fault of the sandbox: {CODES.get(status, 'status')} {status}"
        await connection.answer_json(status, CallError(status, message).body(name))

    async def _refuse(self, connection: Connection, name: str, error: CallError, *, is_rpc: bool) -> None:
        await connection.answer_json(error.status, error.rpc_body(name) if is_rpc else error.body(name))


class _UnreadableError(Exception):
    """A request whose body is refused in plain text."""

    def __init__(self, status: int, text: bytes) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise _UnreadableError(400, b"Invalid JSON") from None


def _superjson(given: Any) -> Any:
    return given.get("json") if isinstance(given, dict) else None
