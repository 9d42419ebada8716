"""The API's documentation as a page, made from the OpenAPI document; nothing of it comes from another site."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from app.errors import PROBLEMS
from app.web.contexts import DocsPage
from app.web.problems import status_of
from app.web.rendering import respond

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Every call, its parameters and answers, and every code of a problem."""
    document = request.app.openapi()
    calls = [
        DocsPage.Call(
            method=method.upper(),
            path=path,
            summary=operation.get("description", ""),
            parameters=[_parameter(each) for each in operation.get("parameters", ())],
            answers=[
                DocsPage.Row(status, answer.get("description", ""))
                for status, answer in sorted(operation["responses"].items())
                if status != "default"
            ],
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    codes = [
        DocsPage.Row(code, f"{status_of(code)} {problem.title}. {problem.hint}") for code, problem in PROBLEMS.items()
    ]
    return respond(request, DocsPage(calls=calls, codes=codes))


def _parameter(parameter: Mapping[str, Any]) -> DocsPage.Row:
    return DocsPage.Row(parameter["name"], parameter.get("description", ""))
