"""Handlers for whatever goes wrong in a request: a page for a person's browser, a problem document for programs."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.errors import PortalError, SettingsError
from app.store.errors import StoreAway
from app.web.deps import MAX_BODY, InvalidBodyError, language_of, principal_of
from app.web.middleware.headers import add_headers
from app.web.problems import STORE_CODES, headers_of, problem_response, show, status_of
from app.web.refusals import note_refusal
from app.web.ui.shared.addresses import SIGN_IN
from app.web.ui.shared.responses import respond
from app.web.ui.shared.view import ErrorPage

log = structlog.get_logger()

# What signing in may change.
_NEEDS_SIGN_IN: Final = frozenset({"sign_in_needed", "operator_only"})
# What a user is told whose session has ended: as a visitor without one, it is not theirs.
_OF_A_CALLER: Final = frozenset({"credential_missing", "credential_wrong", "stack_not_found", "deployment_not_found"})
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def install(app: FastAPI) -> None:
    """Answer every failure with a problem."""

    # Each is registered for the kind of error that it takes.
    async def portal_error(request: Request, raised: Exception) -> Response:
        error = cast("PortalError", raised)
        more: dict[str, Any] = {"errors": _field_errors(error.details)} if isinstance(error, InvalidBodyError) else {}
        if suggestions := getattr(error, "suggestions", None):
            more["suggestions"] = suggestions
        await note_refusal(request, error)
        return answer(request, error, **more)

    async def http_error(request: Request, raised: Exception) -> Response:
        error = cast("HTTPException", raised)
        codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
        code = codes.get(error.status_code)
        problem = PortalError(code, limit=MAX_BODY) if code else PortalError("http_error", status=error.status_code)
        headers = {"Allow": _allowed(request)} if code == "method_not_allowed" else error.headers
        return answer(request, problem, headers=headers, status=error.status_code)

    async def validation_error(request: Request, raised: Exception) -> Response:
        error = cast("RequestValidationError", raised)
        return answer(request, PortalError("request_invalid"), errors=_field_errors(error.errors()))

    async def store_error(request: Request, raised: Exception) -> Response:
        error = cast("StoreAway", raised)
        log.error("store_unavailable", reason=error.reason, detail=error.detail)
        return answer(request, PortalError(STORE_CODES.get(error.reason, "store_unavailable")))

    async def client_gone(_: Request, __: Exception) -> Response:
        # Nothing broke, and nobody reads this: the client closed the connection before it had sent its body.
        return Response(status_code=400)

    async def any_error(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(4)
        log.error("request_broke", reference=reference, path=request.url.path, exc_info=error)
        response = answer(request, PortalError("internal_error", reference=reference))
        # This one is answered outside of all middleware.
        add_headers(response.headers, request.scope, response.status_code, request.app.state.settings)
        return response

    app.add_exception_handler(PortalError, portal_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(StoreAway, store_error)
    app.add_exception_handler(SettingsError, any_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, any_error)


def _allowed(request: Request) -> str:
    """Name every method of an address (RFC 9110); the router itself names those of its first route alone."""
    return ", ".join(_methods(request, request.scope["path"]))


def _methods(request: Request, path: str) -> list[str]:
    scopes = {method: {**request.scope, "method": method, "path": path} for method in _METHODS}
    routes = request.app.routes
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def answer(
    request: Request,
    error: PortalError,
    *,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
    **more: Any,
) -> Response:
    """Answer with a problem: as a page to a person's browser, as a document to anything else."""
    language = language_of(request)
    if _wants_page(request):
        signs_in = error.code in _NEEDS_SIGN_IN or (error.code in _OF_A_CALLER and principal_of(request).session_ended)
        if request.method == "GET" and signs_in:
            return RedirectResponse(_sign_in(request), status_code=303)
        page = ErrorPage(
            status=status or status_of(error.code),
            problem=show(error, language),
            sign_in=_sign_in(request) if signs_in or error.code == "credential_missing" else "",
            of_stack=error.code in _OF_A_CALLER,
        )
        response = respond(request, page, status=page.status)
        response.headers.update({**headers_of(error), **(headers or {})})
        return response
    if status is not None:
        more["status"] = status
    return problem_response(error, language, headers=headers, **more)


def _wants_page(request: Request) -> bool:
    """Tell whether a person's browser asked, and not for the API."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def _sign_in(request: Request) -> str:
    """Return where to sign in and go on: to the page requested, or the one that a form was sent from."""
    url = request.url
    there = f"{url.path}?{url.query}" if url.query else url.path
    if request.method != "GET":
        there = url.path
        while there != "/" and "GET" not in _methods(request, there):
            there = there.rpartition("/")[0] or "/"
    return f"{SIGN_IN}?next={quote(there)}"


def _field_errors(errors: Any) -> list[dict[str, str]]:
    """Name each field that is wrong, without its value."""
    return [
        {
            "field": ".".join(str(part) for part in each["loc"] if part not in {"body", "query", "path"}) or "body",
            "code": str(each["type"]),
            "message": str(each["msg"]),
        }
        for each in errors
    ]
