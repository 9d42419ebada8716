"""The page of an account: who the viewer is here, where they are signed in, and their tokens for programs."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.web.deps import LanguageDep, PortalDep, PrincipalDep, forget_session, origin_of, read_form
from app.web.problems import show
from app.web.token_requests import make, revoke
from app.web.ui.account.view import TokenForm, account_page, new_token_page
from app.web.ui.shared.addresses import ACCOUNT, SIGNED_OUT
from app.web.ui.shared.responses import refuse, respond

router = APIRouter()


@router.get(ACCOUNT)
async def account(
    request: Request,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    everybody: str = "",
    cursor: str | None = None,
) -> Response:
    """Show the viewer's account, with all users' tokens where an operator asks for them (`?everybody=1`)."""
    return respond(request, await account_page(portal, principal, language, everybody=bool(everybody), cursor=cursor))


@router.get("/account/tokens")
async def no_tokens_here() -> Response:
    """Redirect to the account: a reload of the form's address shows nothing."""
    return RedirectResponse(ACCOUNT, status_code=303)


@router.post("/account/tokens")
async def make_token(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Create a token and show it once, or show the form again with the reason."""
    typed = TokenForm.read(await read_form(request))
    try:
        token, secret = await make(portal, principal, name=typed.name, scopes=typed.scopes, days=typed.days)
    except PortalError as error:
        page = await account_page(portal, principal, language, typed=typed, problem=show(error, language))
        return await refuse(request, error, page, path=ACCOUNT)
    return respond(request, new_token_page(token, secret, language, origin=origin_of(request)), path=ACCOUNT)


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(token_id: str, request: Request, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Revoke a token, and go back to the list."""
    fields = await read_form(request)
    await revoke(portal, principal, token_id)
    back = f"{ACCOUNT}?everybody=1&" if fields.get("everybody") else f"{ACCOUNT}?"
    return RedirectResponse(f"{back}done=revoked", status_code=303)


@router.post("/account/sign-out-everywhere")
async def sign_out_everywhere(request: Request, portal: PortalDep, principal: PrincipalDep) -> Response:
    """End every session of the viewer."""
    if principal.session is not None:
        await portal.sessions.end_all(principal.actor, principal.session.account)
    there = "/" if portal.settings.auth_mode == "open" else SIGNED_OUT
    response = RedirectResponse(f"{there}?done=signed-out-everywhere", status_code=303)
    forget_session(request, response)
    return response
