"""Problems over HTTP: the one table of statuses, and RFC 9457 documents or pages for whatever goes wrong."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.errors import PROBLEMS, PortalError, SettingsError
from app.i18n import Language
from app.store.engine import StoreAway
from app.store.errors import Reason
from app.web.auth.authorization import audit_refusal
from app.web.deps import MAX_BODY, InvalidBodyError, language_of, principal_of
from app.web.middleware.headers import add_headers
from app.web.rate_limits import note_limit
from app.web.ui.shared.responses import respond
from app.web.ui.views import ErrorPage, Page, ShownProblem

log = structlog.get_logger()

STATUSES: Final[Mapping[str, int]] = {
    "name_taken": 409,
    "name_cleaning_up": 409,
    "name_kept": 409,
    "body_not_json": 400,
    "body_too_large": 413,
    "media_type_unsupported": 415,
    "request_invalid": 422,
    "not_found": 404,
    "method_not_allowed": 405,
    "internal_error": 500,
    "store_unavailable": 503,
    "store_full": 503,
    "store_failing": 503,
    "store_read_only": 503,
    "store_corrupt": 503,
    "portal_stopping": 503,
    "dokploy_away": 503,
    "idempotency_key_invalid": 400,
    "idempotency_key_reused": 422,
    "after_invalid": 400,
    "prefer_invalid": 400,
    "cross_site": 403,
    "credential_missing": 401,
    "sign_in_needed": 401,
    "operator_only": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "credential_unknown": 401,
    "credential_wrong": 403,
    "token_wrong": 403,
    "not_operator": 403,
    "person_only": 403,
    "scope_missing": 403,
    "scopes_invalid": 422,
    "token_name_invalid": 422,
    "token_days_invalid": 422,
    "tokens_full": 409,
    "nothing_yours": 409,
    "token_not_found": 404,
    "offer_invalid": 422,
    "sign_in_failed": 400,
    "provider_away": 503,
    "not_admitted": 403,
    "too_many_requests": 429,
    "too_many_streams": 429,
    "stacks_full": 429,
    "stacks_of_owner": 429,
    "in_flight_full": 429,
    "in_flight_of_owner": 429,
    "request_timeout": 408,
    "stack_not_found": 404,
    "deployment_not_found": 404,
    "deployment_over": 409,
    "removal_goes_on": 409,
    "stack_busy": 409,
    "template_unknown": 422,
    "input_unknown": 422,
    "variable_unsayable": 500,
    "removal_incomplete": 502,
}

# What an operator has to mend has a code of its own; the rest may pass by itself.
STORE_CODES: Final[Mapping[Reason, str]] = {
    "full": "store_full",
    "failing": "store_failing",
    "read_only": "store_read_only",
    "corrupt": "store_corrupt",
}

_BEARER: Final = 'Bearer realm="AI Stack Deployer"'
_OF_CODE: Final[Mapping[str, Mapping[str, str]]] = {
    "credential_missing": {"WWW-Authenticate": _BEARER},
    "sign_in_needed": {"WWW-Authenticate": _BEARER},
    "operator_only": {"WWW-Authenticate": _BEARER},
    "credential_unknown": {"WWW-Authenticate": f'{_BEARER}, error="invalid_token"'},
    "token_expired": {"WWW-Authenticate": f'{_BEARER}, error="invalid_token"'},
    "token_revoked": {"WWW-Authenticate": f'{_BEARER}, error="invalid_token"'},
    "scope_missing": {"WWW-Authenticate": f'{_BEARER}, error="insufficient_scope"'},
    "store_unavailable": {"Retry-After": "10"},
    "portal_stopping": {"Retry-After": "5"},
    # The rest of it may still come, and is no next request.
    "request_timeout": {"Connection": "close"},
    **{code: {"Retry-After": "60"} for code in STORE_CODES.values()},
}
# Those of which a parameter says when to come back.
_COME_BACK: Final = frozenset(
    {
        "dokploy_away",
        "provider_away",
        "too_many_requests",
        "too_many_streams",
        "stacks_full",
        "stacks_of_owner",
        "in_flight_full",
        "in_flight_of_owner",
    }
)
# What signing in may change.
_SIGN_IN: Final = frozenset({"sign_in_needed", "operator_only"})
# What somebody is told whose session has ended: whoever he is now, it is not his.
_OF_A_CALLER: Final = frozenset({"credential_missing", "credential_wrong", "stack_not_found", "deployment_not_found"})
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def headers_of(error: PortalError) -> dict[str, str]:
    """Headers that belong to a problem, however it is shown."""
    headers = dict(_OF_CODE.get(error.code, {}))
    if error.code in _COME_BACK:
        headers["Retry-After"] = str(error.params["seconds"])
    return headers


def status_of(code: str) -> int:
    """The HTTP status of a problem; refused names are 422."""
    return STATUSES.get(code, 422 if code.startswith("name_") else 500)


def show(error: PortalError, language: Language) -> ShownProblem:
    """Say a problem in a language."""
    return show_code(error.code, error.params, language)


def show_code(code: str, params: Mapping[str, Any], language: Language) -> ShownProblem:
    """Say a problem by its code and parameters, as the record keeps it."""
    problem = PROBLEMS[code]
    return ShownProblem(
        code=code,
        title=language.text(problem.title, params),
        detail=language.text(problem.detail, params),
        hint=language.text(problem.hint, params),
        who=problem.who,
    )


def problem_document(error: PortalError, language: Language, **more: Any) -> dict[str, Any]:
    """A problem as RFC 9457 wants it, with our stable code, a hint, and the fields concerned."""
    shown = show(error, language)
    document = {
        "type": f"/docs#{error.code}",
        "title": shown.title,
        "status": status_of(error.code),
        "detail": shown.detail,
        "code": error.code,
        "hint": shown.hint,
        "whoCanMend": shown.who,
        "errors": [],
        **more,
    }
    if error.field and not document["errors"]:
        document["errors"] = [{"field": error.field, "code": error.code, "message": shown.detail}]
    return document


def problem_response(
    error: PortalError, language: Language, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem as an answer."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Language": language.code,
        **headers_of(error),
        **(headers or {}),
    }
    document = problem_document(error, language, **more)
    return JSONResponse(
        document,
        status_code=document["status"],
        media_type="application/problem+json",
        headers=headers,
    )


def wants_page(request: Request) -> bool:
    """Whether a person's browser asked, and not for the API."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def note_refusal(request: Request, error: PortalError) -> None:
    """Keep by which limit a request was refused, for its headers, and put on the trail that it was."""
    note_limit(request, error)
    await audit_refusal(request, error)


async def refuse(request: Request, error: PortalError, page: Page, *, path: str = "/") -> HTMLResponse:
    """Answer with a page of its own that says a problem: noted, and with the status and the headers that belong to it.

    path: where a `GET` shows the page.
    """
    await note_refusal(request, error)
    response = respond(request, page, status=status_of(error.code), path=path)
    response.headers.update(headers_of(error))
    return response


def install(app: FastAPI) -> None:
    """Answer every failure with a problem."""

    # Each is registered for the kind of error that it takes.
    async def portal_error(request: Request, raised: Exception) -> Response:
        error = cast("PortalError", raised)
        more: dict[str, Any] = {"errors": field_errors(error.details)} if isinstance(error, InvalidBodyError) else {}
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
        return answer(request, PortalError("request_invalid"), errors=field_errors(error.errors()))

    async def store_error(request: Request, raised: Exception) -> Response:
        error = cast("StoreAway", raised)
        log.error("store_unavailable", reason=error.reason, detail=error.detail)
        return answer(request, PortalError(STORE_CODES.get(error.reason, "store_unavailable")))

    async def client_gone(_: Request, __: Exception) -> Response:
        # Nobody reads this, and nothing broke: whoever was about to send a body has closed the connection.
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
    """Every method of an address (RFC 9110): the router itself names those of the first of its routes alone."""
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
    if wants_page(request):
        signs_in = error.code in _SIGN_IN or (error.code in _OF_A_CALLER and principal_of(request).session_ended)
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


def _sign_in(request: Request) -> str:
    """Where to sign in and go on: to what was asked for, or what that was done on."""
    url = request.url
    there = f"{url.path}?{url.query}" if url.query else url.path
    if request.method != "GET":
        there = url.path
        while there != "/" and "GET" not in _methods(request, there):
            there = there.rpartition("/")[0] or "/"
    return f"/sign-in?next={quote(there)}"


def field_errors(errors: Any) -> list[dict[str, str]]:
    """Name each field that is wrong, without its value."""
    return [
        {
            "field": ".".join(str(part) for part in each["loc"] if part not in {"body", "query", "path"}) or "body",
            "code": str(each["type"]),
            "message": str(each["msg"]),
        }
        for each in errors
    ]
