"""The OpenAPI document: what routes declare, and what the authorization table says of each."""

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.config.settings import Settings
from app.i18n import LANGUAGES
from app.web.api.schemas.events import EventAnswer, ServerSentEvent
from app.web.api.schemas.plans import DeployBody, PlanBody
from app.web.api.schemas.problems import ProblemDocument
from app.web.api.schemas.tokens import TokenBody
from app.web.api.schemas.transfers import TakeOverBody
from app.web.auth.authorization import RULES, Rule, Who
from app.web.deps import BROWSER_COOKIE, SESSION_COOKIE, cookie_name
from app.web.rate_limits import UNLIMITED

# Models that routes name, but that the framework neither reads nor writes for them.
_NAMED: Final[tuple[type[BaseModel], ...]] = (
    ProblemDocument,
    EventAnswer,
    ServerSentEvent,
    PlanBody,
    DeployBody,
    TokenBody,
    TakeOverBody,
)

_PROBLEM: Final[dict[str, Any]] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}
}
# Problems whose answers carry more than the document.
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "description": "`Bearer`, with why where one was sent.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    429: {
        "Retry-After": {
            "description": "Seconds to wait.",
            "required": True,
            "schema": {"type": "integer"},
        },
        "RateLimit-Policy": {"description": "Each limit: `q` in `w` seconds.", "schema": {"type": "string"}},
        "RateLimit": {"description": "Of each, `r` left; all again in `t` seconds.", "schema": {"type": "string"}},
    },
    503: {
        "Retry-After": {
            "description": "Seconds to wait.",
            "required": True,
            "schema": {"type": "integer"},
        }
    },
}
_SENTENCES: Final[Mapping[int, str]] = {
    400: "The request cannot be read, or a header or parameter of it",
    401: "It was not shown who asks, or what was shown does not count",
    403: "Whoever asks may not do that",
    404: "There is none, or none for whoever asks",
    408: "The body took too long",
    409: "Something else is there, or goes on",
    413: "The body is too large",
    415: "The body is not said to be JSON",
    422: "Something in the request is not as it must be",
    429: "Too many requests, stacks or deployments",
    502: "Dokploy did not do what it was asked to",
    503: "Something that the portal needs is away",
}
_OWN_SITE: Final = "Only the portal's own pages may send it."
# What reading a body may end in.
_OF_BODY: Final = (400, 408, 413, 415, 422)

LOCATION: Final[dict[str, Any]] = {
    "headers": {"Location": {"description": "The `statusUrl`.", "required": True, "schema": {"type": "string"}}}
}
"""Of an answer that says where a deployment can be followed."""


# What routes say of themselves


def parameter(place: str, name: str, description: str, **schema: Any) -> dict[str, Any]:
    """Describe a parameter that something other than the route's own signature reads. place: `query` or `header`."""
    described = {"type": "string", **schema}
    return {"name": name, "in": place, "required": False, "schema": described, "description": description}


LANG: Final = parameter("query", "lang", f"Language of messages: {', '.join(LANGUAGES)}.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say which problems a route answers, besides those that `describe` knows of by itself."""
    return {status: _problem(status) for status in statuses}


def body(model: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the JSON that a route reads."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _problem(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _SENTENCES[status], "content": _PROBLEM}
    return {**answer, "headers": _HEADERS[status]} if status in _HEADERS else answer


# What the table knows


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    settings: Settings = app.state.settings
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = document["components"]
    for model in _NAMED:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"] |= schema.pop("$defs", {})
        components["schemas"][model.__name__] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    rules = {re.sub(r":\w+}", "}", route): rule for route, rule in RULES.items()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, rules[f"{method.upper()} {path}"], settings)
    components["responses"] = {"Problem": {"description": "Whatever else goes wrong", "content": _PROBLEM}}
    components["securitySchemes"] = _schemes(settings)
    return document


def _complete(operation: dict[str, Any], path: str, rule: Rule, settings: Settings) -> None:
    """Add to what a route says of itself what follows from its rule."""
    responses = operation["responses"]
    # The framework's own is no problem document, and it names one for everything that has a parameter.
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]
    for status in _statuses(operation, path, rule, settings):
        responses.setdefault(str(status), _problem(status))
    operation["responses"] = dict(sorted(responses.items()))
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    operation["security"] = _security(rule, settings)
    if rule.scope is not None:
        operation["x-scope"] = rule.scope.value
        operation["description"] += f"\n\nA token needs `{rule.scope}`."


def _statuses(operation: Mapping[str, Any], path: str, rule: Rule, settings: Settings) -> set[int]:
    """Which problems follow from the rule, and from what is read."""
    statuses: set[int] = set()
    if rule.who is not Who.UNASKED:
        statuses.add(503)
    if rule.who not in {Who.UNASKED, Who.EVERYBODY}:
        statuses |= {401, 403}
        if settings.auth_mode == "proxy":
            statuses.add(400)  # headers of a proxy's that cannot be its own
    if rule.of is not None:
        statuses.add(404)
    if path not in UNLIMITED:
        statuses.add(429)
    if "requestBody" in operation:
        statuses.update(_OF_BODY)
    if any(each["name"] == "cursor" for each in operation.get("parameters", ())):
        statuses.add(400)
    # Those that the framework reads have a title. In a path every text is one.
    if any(each["in"] == "query" and "title" in each["schema"] for each in operation.get("parameters", ())):
        statuses.add(422)
    return statuses


def _security(rule: Rule, settings: Settings) -> list[dict[str, list[str]]]:
    """Each way to show that one may; an empty one says that nothing has to be shown."""
    if rule.who in {Who.UNASKED, Who.EVERYBODY}:
        return []
    is_open = settings.auth_mode == "open"
    ways: list[dict[str, list[str]]] = [{"operatorToken": []}, {"session": []}]
    if rule.who is not Who.PERSON:
        ways.append({"token": [rule.scope.value] if rule.scope else []})
    if rule.who is Who.VISITOR and (is_open or rule.of is not None):
        ways.append({"manageKey": []})
    if settings.auth_mode == "proxy":
        ways.append({"proxy": []})
    if is_open and rule.who is not Who.OPERATOR:
        ways.append({"browser": []})
        reads = rule.action is None and rule.of in {None, "deployment"}
        if reads or (rule.who is Who.VISITOR and rule.of is None):
            ways.append({})
    return ways


def _schemes(settings: Settings) -> dict[str, Any]:
    schemes: dict[str, Any] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token for programs, with the scopes that a call names.",
        },
        "manageKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "The manage key of a stack, as POST /api/deploy answers it. It opens that stack alone.",
        },
        "operatorToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The operator's ADMIN_TOKEN.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name(settings, SESSION_COOKIE),
            "description": f"Of a browser in which somebody has signed in. {_OWN_SITE}",
        },
    }
    if settings.auth_mode == "open":
        schemes["browser"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name(settings, BROWSER_COOKIE),
            "description": f"Of a browser that has deployed on a page. {_OWN_SITE}",
        }
    if settings.auth_mode == "proxy":
        schemes["proxy"] = {
            "type": "apiKey",
            "in": "header",
            "name": settings.proxy_auth_user_header,
            "description": "Set by the proxy that signs people in. From anywhere else it says nothing.",
        }
    return schemes
