"""What the page of the API's documentation is given, made from the OpenAPI document."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.errors import PROBLEMS
from app.web.problems import status_of
from app.web.ui.shared.view import Page

_NOTHING: Final = "nothing"


@dataclass(frozen=True)
class DocsPage(Page):
    """The API's documentation, in English: every call, and every code of a problem."""

    template = "api_docs/docs.html"
    section = ""

    @dataclass(frozen=True)
    class Row:
        """A name and what it means. kind: what it can be; shape: what the JSON is like that it comes with."""

        name: str
        text: str
        kind: str = ""
        shape: str = ""

    @dataclass(frozen=True)
    class Shape:
        """What some JSON is like."""

        name: str
        text: str
        fields: Sequence["DocsPage.Row"]

    @dataclass(frozen=True)
    class Call:
        """One call. credentials: any of them will do; body: what it reads, if anything; example: of such a body."""

        method: str
        path: str
        summary: Sequence[str]
        credentials: Sequence[str]
        parameters: Sequence["DocsPage.Row"]
        body: "DocsPage.Shape | None"
        example: str
        answers: Sequence["DocsPage.Row"]

    calls: Sequence[Call]
    credentials: Sequence[Row]
    shapes: Sequence[Shape]
    codes: Sequence[Row]


def docs_page(document: Mapping[str, Any]) -> DocsPage:
    """Show an OpenAPI document, and every code of a problem."""
    schemas = document["components"]["schemas"]
    schemes = document["components"]["securitySchemes"]
    codes = [
        DocsPage.Row(code, f"{status_of(code)} {problem.title}. {problem.hint}") for code, problem in PROBLEMS.items()
    ]
    return DocsPage(
        calls=[
            _call(method, path, operation, schemas)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ],
        credentials=[DocsPage.Row(name, scheme["description"], _carrier(scheme)) for name, scheme in schemes.items()],
        shapes=[_shape(name, schema) for name, schema in sorted(schemas.items())],
        codes=codes,
    )


def _call(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> DocsPage.Call:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    shape = _shape_in(content) if content else ""
    return DocsPage.Call(
        method=method.upper(),
        path=path,
        summary=operation.get("description", "").split("\n\n"),
        credentials=[next(iter(way), _NOTHING) for way in operation["security"]],
        parameters=[
            DocsPage.Row(each["name"], each["description"], _kind(each["schema"]))
            for each in operation.get("parameters", ())
        ],
        body=_shape(shape, schemas[shape]) if shape else None,
        example=json.dumps(content["example"], indent=2) if content else "",
        answers=[
            DocsPage.Row(status, answer["description"], shape=_shape_in(*answer.get("content", {}).values()))
            for status, answer in operation["responses"].items()
            if status != "default"
        ],
    )


def _carrier(scheme: Mapping[str, str]) -> str:
    return "Authorization: Bearer" if scheme["type"] == "http" else f"{scheme['in']} {scheme['name']}"


def _shape(name: str, schema: Mapping[str, Any]) -> DocsPage.Shape:
    required = set(schema.get("required", ()))
    fields = [
        DocsPage.Row(
            field, each.get("description", ""), f"{_kind(each)}, required" if field in required else _kind(each)
        )
        for field, each in schema.get("properties", {}).items()
    ]
    return DocsPage.Shape(name, schema.get("description", ""), fields)


def _shape_in(*contents: Mapping[str, Any]) -> str:
    """Name the schema of some contents' JSON; of events, that of one event."""
    names = [each["schema"]["$ref"].rpartition("/")[2] for each in contents if "$ref" in each.get("schema", {})]
    return names[-1] if names else ""


def _kind(schema: Mapping[str, Any]) -> str:
    """Say what a value can be."""
    match schema:
        case {"$ref": reference}:
            return str(reference).rpartition("/")[2]
        case {"anyOf": kinds}:
            return " or ".join(_kind(each) for each in kinds)
        case {"enum": values}:
            return " or ".join(str(value) for value in values)
        case {"const": value}:
            return str(value)
        case {"type": "array", "items": items}:
            return f"list of {_kind(items)}"
    return str(schema.get("format") or schema.get("type") or "anything")
