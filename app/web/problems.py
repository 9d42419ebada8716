"""Problems over HTTP: the one table of statuses, their headers and words, and RFC 9457 documents of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi.responses import JSONResponse

from app.errors import PROBLEMS, PortalError
from app.i18n import Language
from app.store.errors import Reason

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
    "cursor_invalid": 400,
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

# What an operator has to fix has a code of its own; the rest may pass by itself.
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


@dataclass(frozen=True)
class ShownProblem:
    """A problem in the viewer's language. who: `user`, `operator` or `provider`: who can fix it."""

    code: str
    title: str
    detail: str
    hint: str
    who: str


def headers_of(error: PortalError) -> dict[str, str]:
    """Return the headers that belong to a problem, however it is shown."""
    headers = dict(_OF_CODE.get(error.code, {}))
    if error.code in _COME_BACK:
        headers["Retry-After"] = str(error.params["seconds"])
    return headers


def status_of(code: str) -> int:
    """Return the HTTP status of a problem; refused names are 422."""
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
    """Return a problem as RFC 9457 defines it, with a stable code, a hint, and the fields concerned."""
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
    """Return a response with a problem document."""
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
