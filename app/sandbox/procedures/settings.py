"""settings.*: whether the server lives, its version and its own description."""

from typing import Any

from app.sandbox.registry import PROCEDURES, Call, Procedure, query
from app.sandbox.server import VERSION
from app.sandbox.validation import Field


@query("settings.health")
def health(call: Call) -> Any:  # noqa: ARG001
    """Say that the database answers."""
    return {"status": "ok"}


@query("settings.getDokployVersion")
def get_dokploy_version(call: Call) -> Any:  # noqa: ARG001
    """Tell the version."""
    return VERSION


@query("settings.getOpenApiDocument")
def get_open_api_document(call: Call) -> Any:  # noqa: ARG001
    """Tell the published procedures; as on the real server some that work are missing."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dokploy API", "description": "The calls this emulator answers.", "version": VERSION[1:]},
        "servers": [{"url": "/api"}],
        "paths": {f"/{p.name}": _operation(p) for p in PROCEDURES.values() if p.published},
        "components": {"securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}}},
        "security": [{"apiKey": []}],
    }


def _operation(procedure: Procedure) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": procedure.name.replace(".", "-"),
        "tags": [procedure.name.partition(".")[0]],
        "responses": {"200": {"description": "Successful response"}},
    }
    if procedure.is_query:
        operation["parameters"] = [
            {"in": "query", "name": field.name, "schema": _schema(field), "required": field.required}
            for field in procedure.fields
        ]
        return {"get": operation}
    schema = {
        "type": "object",
        "properties": {field.name: _schema(field) for field in procedure.fields},
        "required": [field.name for field in procedure.fields if field.required],
    }
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": operation}


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": field.kind}
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.nullable:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema
