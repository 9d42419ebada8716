"""Sign-in and sign-out: with the provider or the operator's token, then a session in this browser."""

from dataclasses import replace

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.audit import Means
from app.errors import PortalError
from app.identity import operator
from app.portal import Portal
from app.web.auth.oidc import Oidc
from app.web.deps import (
    LanguageDep,
    PortalDep,
    PrincipalDep,
    address_of,
    browser_of,
    forget_session,
    path_here,
    read_form,
    remember_session,
)
from app.web.problems import show
from app.web.rate_limits import limits_of
from app.web.ui.shared.addresses import SIGN_IN, SIGNED_OUT
from app.web.ui.shared.responses import refuse, respond
from app.web.ui.sign_in.view import sign_in_page

log = structlog.get_logger()

router = APIRouter()


@router.get(SIGN_IN)
async def sign_in_form(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Ask the viewer to sign in, and say so if a session has ended; users who are signed in go on."""
    there = _there(portal, request.query_params.get("next", ""))
    if principal.session is not None or principal.actor.means is Means.PROXY:
        onward = RedirectResponse(there, status_code=303)
        if principal.session_ended:
            # Otherwise they would be sent here again and again.
            forget_session(request, onward)
        return onward
    response = respond(request, sign_in_page(portal, there, language, ended=principal.session_ended))
    if principal.session_ended:
        forget_session(request, response)
    return response


@router.post(SIGN_IN)
async def sign_in(request: Request, portal: PortalDep, language: LanguageDep) -> Response:
    """Start the operator's session and go on, or ask again with the reason."""
    fields = await read_form(request)
    there = _there(portal, fields.get("next", ""))
    if portal.settings.admin_token is None:
        return respond(request, sign_in_page(portal, there, language), status=403, path=SIGN_IN)
    limit, address = limits_of(request).wrong_credential, address_of(request) or ""
    await limit.check(address)
    if not portal.authentication.is_admin_token(fields.get("token", "").strip()):
        log.warning("sign_in_refused", address=address)
        await limit.count(address)
        error = PortalError("token_wrong")
        return await refuse(
            request, error, sign_in_page(portal, there, language, problem=show(error, language)), path=SIGN_IN
        )
    actor = operator(Means.ADMIN_TOKEN, address_of(request)).actor
    secret = await portal.sessions.begin(
        actor, account=None, bound_to=portal.authentication.admin_binding, browser=browser_of(request)
    )
    response = RedirectResponse(there, status_code=303)
    remember_session(request, response, secret)
    return response


def _there(portal: Portal, wanted: str) -> str:
    """Return where to go on; without accounts only operators sign in."""
    return path_here(wanted, "/operator" if portal.settings.auth_mode == "open" else "/")


@router.post("/sign-out")
async def sign_out(request: Request, portal: PortalDep, principal: PrincipalDep) -> Response:
    """End the session in this browser."""
    if principal.session is not None:
        await portal.sessions.end(principal.actor, principal.session)
    there = "/?done=signed-out" if portal.settings.auth_mode == "open" else SIGNED_OUT
    response = RedirectResponse(there, status_code=303)
    forget_session(request, response)
    return response


@router.get(SIGNED_OUT)
async def signed_out(request: Request, portal: PortalDep, language: LanguageDep) -> Response:
    """Confirm, with a link to sign out at the provider: our own policy lets no form lead there."""
    oidc: Oidc | None = request.app.state.oidc
    there_too = await oidc.end_address() if oidc is not None else None
    page = replace(sign_in_page(portal, "/", language), left=True, there_too=there_too or "")
    return respond(request, page, path=SIGN_IN)
