"""settings.*: whether the server lives, its version and its own description."""

from typing import Any

from app.sandbox.errors import CODES
from app.sandbox.registry import Call, Procedure, offered, query
from app.sandbox.validation import Field

_ERRORS = {
    400: "Invalid input data",
    401: "Authorization not provided",
    403: "Insufficient access",
    404: "Not found",
    500: "Internal server error",
}


@query("settings.health")
def health(call: Call) -> Any:  # noqa: ARG001 - it asks for nothing
    """Say that the database answers."""
    return {"status": "ok"}


@query("settings.getDokployVersion")
def get_dokploy_version(call: Call) -> Any:
    """Tell the version."""
    return call.server.version


@query("settings.getOpenApiDocument")
def get_open_api_document(call: Call) -> Any:
    """Tell the published procedures; as on the real server some are missing, and no answer is described."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dokploy API", "description": "The calls this emulator answers.", "version": "1.0.0"},
        "servers": [{"url": "/api"}],
        "paths": {f"/{p.name}": _operation(p) for p in offered(call.server).values() if p.published},
        "components": {
            "schemas": {f"error.{CODES[status]}": _error(status, words) for status, words in _ERRORS.items()},
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
        },
        "security": [{"apiKey": []}],
    }


def _operation(procedure: Procedure) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": procedure.name.replace(".", "-"),
        "tags": [procedure.name.partition(".")[0]],
        "security": [{"Authorization": []}],
    }
    if procedure.fields and procedure.is_query:
        operation["parameters"] = [_parameter(field) for field in procedure.fields]
    elif procedure.fields:
        operation["parameters"] = []
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(procedure)}}}
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    operation["responses"] = {"200": _response("Successful response", nothing)} | {
        str(status): _response(words, {"$ref": f"#/components/schemas/error.{CODES[status]}"})
        for status, words in _ERRORS.items()
        if procedure.is_query or status != 404
    }
    return {"get" if procedure.is_query else "post": operation}


def _parameter(field: Field) -> dict[str, Any]:
    described = {"in": "query", "name": field.name, "schema": _schema(field)}
    return {**described, "required": True} if field.required else described


def _body(procedure: Procedure) -> dict[str, Any]:
    schema = {"type": "object", "properties": {field.name: _schema(field) for field in procedure.fields}}
    required = [field.name for field in procedure.fields if field.required]
    return {**schema, "required": required} if required else schema


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": field.kind}
    if field.choices:
        schema["enum"] = list(field.choices)
    least, most = ("minLength", "maxLength") if field.kind == "string" else ("minimum", "maximum")
    bounds = {least: field.min, most: field.max, "pattern": f"^{field.pattern.pattern}$" if field.pattern else None}
    schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    return {"anyOf": [schema, {"type": "null"}]} if field.nullable else schema


def _response(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _error(status: int, words: str) -> dict[str, Any]:
    texts = {name: {"type": "string", "example": said} for name, said in (("message", words), ("code", CODES[status]))}
    return {
        "type": "object",
        "properties": texts,
        "required": list(texts),
        "additionalProperties": False,
        "title": f"{words} error ({status})",
    }
