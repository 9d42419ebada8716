"""Signing in and out: the operator's token once, and then a session in this browser."""

from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.identity import Caller
from app.web.api import CallerDep, LanguageDep, PortalDep
from app.web.contexts import SignInPage
from app.web.deps import forget_operator, path_here, read_form, remember_operator, same_site, session_has_ended
from app.web.limits import address_of, limits_of
from app.web.problems import show, status_of
from app.web.rendering import respond

log = structlog.get_logger()

router = APIRouter()

ADDRESS: Final = "/sign-in"
_USUAL: Final = "/operator"


@router.get(ADDRESS)
async def sign_in_form(request: Request, portal: PortalDep, caller: CallerDep) -> Response:
    """Ask for the token, and say so where a session has ended; whoever has one goes on."""
    there = path_here(request.query_params.get("next", ""), _USUAL)
    if caller.in_session:
        return RedirectResponse(there, status_code=303)
    ended = session_has_ended(request)
    response = respond(request, SignInPage(there, portal.settings.admin_token is not None, ended=ended))
    if ended:
        forget_operator(request, response)
    return response


@router.post(ADDRESS)
async def sign_in(request: Request, portal: PortalDep, language: LanguageDep) -> Response:
    """Begin a session and go on, or ask again and say why."""
    same_site(request)
    fields = await read_form(request)
    there = path_here(fields.get("next", ""), _USUAL)
    admin = portal.settings.admin_token
    if admin is None:
        return respond(request, SignInPage(there, possible=False), status=403, path=ADDRESS)
    limit, address = limits_of(request).wrong_credential, address_of(request)
    await limit.check(address)
    admin_token = admin.get_secret_value()
    if not Caller(bearer=fields.get("token", "").strip(), admin_token=admin_token).is_operator:
        log.warning("sign_in_refused", address=address)
        await limit.count(address)
        error = PortalError("token_wrong")
        page = SignInPage(there, problem=show(error, language))
        return respond(request, page, status=status_of(error.code), path=ADDRESS)
    response = RedirectResponse(there, status_code=303)
    remember_operator(request, response, admin_token)
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session in this browser."""
    same_site(request)
    response = RedirectResponse("/", status_code=303)
    forget_operator(request, response)
    return response
