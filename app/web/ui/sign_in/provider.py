"""Sign-in with the OpenID provider: there, and back into a session."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.web.auth.oidc import CALLBACK, Oidc
from app.web.deps import LanguageDep, PortalDep, address_of, browser_of, forget_signing_in, path_here, remember_session
from app.web.problems import show
from app.web.ui.shared.addresses import SIGN_IN
from app.web.ui.shared.responses import refuse
from app.web.ui.sign_in.view import sign_in_page

router = APIRouter()


def oidc_of(request: Request) -> Oidc:
    """Return the OpenID client. Raises PortalError `not_found` if AUTH_MODE is another."""
    oidc: Oidc | None = request.app.state.oidc
    if oidc is None:
        raise PortalError("not_found")
    return oidc


@router.get("/sign-in/provider")
async def begin(request: Request) -> Response:
    """Redirect to the provider."""
    return await oidc_of(request).begin(request, path_here(request.query_params.get("next", "")))


@router.get(CALLBACK)
async def come_back(request: Request, portal: PortalDep, language: LanguageDep) -> Response:
    """Start a session after the provider's answer, or show the page for signing in with the reason."""
    try:
        claims, there = await oidc_of(request).finish(request)
        actor, account = await portal.authentication.admit(claims, address_of(request))
        secret = await portal.sessions.begin(actor, account=account, bound_to=None, browser=browser_of(request))
    except PortalError as error:
        page = sign_in_page(portal, "/", language, problem=show(error, language))
        response: Response = await refuse(request, error, page, path=SIGN_IN)
    else:
        response = RedirectResponse(there, status_code=303, headers={"Cache-Control": "no-store"})
        remember_session(request, response, secret)
    forget_signing_in(request, response)
    return response
