"""The theme, which a viewer chooses and a cookie keeps."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.web.deps import THEME_COOKIE, path_here, read_form, remember_choice

router = APIRouter()


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Keep the viewer's theme and go back to the page they were on."""
    fields = await read_form(request)
    response = RedirectResponse(path_here(fields.get("next", "")), status_code=303)
    if fields.get("theme") in {"light", "dark"}:
        remember_choice(request, response, THEME_COOKIE, fields["theme"])
    return response
