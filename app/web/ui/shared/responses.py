"""Responses that are pages: in the viewer's language and theme, and never cached on the way."""

from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from app.errors import N_, PortalError
from app.i18n import LANGUAGES
from app.web.deps import LANGUAGE_COOKIE, language_of, principal_of, remember_choice, theme_of
from app.web.problems import headers_of, status_of
from app.web.refusals import note_refusal
from app.web.ui.shared.view import Page, Viewer

# What links to another language keep of an address.
_KEPT: Final = frozenset({"name", "plan", "next", "cursor", "kept", "left", "stack", "actor", "everybody"})

# What has just been done, as the page that follows says it: a word in its address, which no link takes along.
_DONE: Final = {
    "revoked": N_("The token is revoked."),
    "signed-out": N_("You have signed out here."),
    "signed-out-everywhere": N_("You have signed out everywhere."),
}


def respond(request: Request, page: Page, *, status: int = 200, path: str = "/") -> HTMLResponse:
    """Render a page, and keep a language that was asked for. path: where a `GET` shows it, if this was none."""
    language, principal = language_of(request), principal_of(request)
    done = _DONE.get(request.query_params.get("done", ""))
    viewer = Viewer(
        language=language,
        path=request.url.path if request.method == "GET" else path,
        theme=theme_of(request),
        query={name: value for name, value in request.query_params.items() if name in _KEPT},
        is_operator=principal.is_operator,
        has_account=principal.is_known or request.app.state.settings.auth_mode == "open",
        may_be_operator=principal.is_operator or not principal.is_known,
        done=language.text(done) if done else "",
    )
    headers = {"Cache-Control": "no-store", "Content-Language": language.code, "Vary": "Accept-Language, Cookie"}
    response = HTMLResponse(request.app.state.renderer.render(page, viewer), status_code=status, headers=headers)
    asked = request.query_params.get("lang")
    if asked and asked.lower() in LANGUAGES:
        remember_choice(request, response, LANGUAGE_COOKIE, language.code)
    return response


async def refuse(request: Request, error: PortalError, page: Page, *, path: str = "/") -> HTMLResponse:
    """Answer with a page that shows a problem: noted, and with the status and the headers that belong to it.

    path: where a `GET` shows the page.
    """
    await note_refusal(request, error)
    response = respond(request, page, status=status_of(error.code), path=path)
    response.headers.update(headers_of(error))
    return response
