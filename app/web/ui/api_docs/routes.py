"""The page of the API's documentation, made from the OpenAPI document without third-party scripts.

A page of the portal's own: 104 kB of HTML, readable without a script. Under the portal's Content-Security-Policy, which
allows no inline styles, Redoc 2.5 does not start, and Scalar 1.46, RapiDoc 9.3 and Stoplight Elements 9.0 lose their
styles. Swagger UI 5.35 works, but shows nothing without its 1.9 MB of scripts and styles, and has a look of its own.
"""

from fastapi import APIRouter, Request, Response

from app.web.ui.api_docs.view import docs_page
from app.web.ui.shared.responses import respond

router = APIRouter()


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show every call, who may make it, what it reads and answers, and every code of a problem."""
    return respond(request, docs_page(request.app.openapi()))
