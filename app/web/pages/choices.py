"""What a reader chooses for himself and the portal keeps in a cookie: the theme."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.web.deps import THEME_COOKIE, read_form, remember_choice, same_site

router = APIRouter()


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Keep the reader's theme and go back to where he was, on this site."""
    same_site(request)
    fields = await read_form(request)
    here = fields.get("next", "/")
    # A second slash, or a backslash that browsers read as one, would lead to another site.
    safe = here if here.startswith("/") and not here.startswith(("//", "/\\")) and here.isprintable() else "/"
    response = RedirectResponse(safe, status_code=303)
    if fields.get("theme") in {"light", "dark"}:
        remember_choice(request, response, THEME_COOKIE, fields["theme"])
    return response
