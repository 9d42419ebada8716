"""Signing in and out: at the provider, or with the operator's token, and then a session in this browser."""

from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.audit import Means
from app.errors import PortalError
from app.identity import operator
from app.web.api import CallerDep, LanguageDep, PortalDep
from app.web.contexts import ShownProblem, SignInPage
from app.web.deps import Portal, address_of, browser_of, forget_session, path_here, read_form, remember_session
from app.web.limits import limits_of
from app.web.problems import note_refusal, show, status_of
from app.web.rendering import respond

log = structlog.get_logger()

router = APIRouter()

ADDRESS: Final = "/sign-in"


@router.get(ADDRESS)
async def sign_in_form(request: Request, portal: PortalDep, caller: CallerDep) -> Response:
    """Ask who it is, and say so where a session has ended; whoever is signed in goes on."""
    there = _there(portal, request.query_params.get("next", ""))
    if caller.session is not None:
        return RedirectResponse(there, status_code=303)
    response = respond(request, _page(portal, there, ended=caller.session_ended))
    if caller.session_ended:
        forget_session(request, response)
    return response


@router.post(ADDRESS)
async def sign_in(request: Request, portal: PortalDep, language: LanguageDep) -> Response:
    """Begin the operator's session and go on, or ask again and say why."""
    fields = await read_form(request)
    there = _there(portal, fields.get("next", ""))
    if portal.settings.admin_token is None:
        return respond(request, _page(portal, there), status=403, path=ADDRESS)
    limit, address = limits_of(request).wrong_credential, address_of(request) or ""
    await limit.check(address)
    if not portal.recognition.is_admin_token(fields.get("token", "").strip()):
        log.warning("sign_in_refused", address=address)
        await limit.count(address)
        error = PortalError("token_wrong")
        await note_refusal(request, error)
        page = _page(portal, there, problem=show(error, language))
        return respond(request, page, status=status_of(error.code), path=ADDRESS)
    actor = operator(Means.ADMIN_TOKEN, address_of(request)).actor
    secret = await portal.sessions.begin(
        actor, account=None, bound_to=portal.recognition.admin_binding, browser=browser_of(request)
    )
    response = RedirectResponse(there, status_code=303)
    remember_session(request, response, secret)
    return response


def _page(portal: Portal, there: str, *, problem: ShownProblem | None = None, ended: bool = False) -> SignInPage:
    mode = portal.settings.auth_mode
    return SignInPage(
        there,
        possible=portal.settings.admin_token is not None,
        problem=problem,
        ended=ended,
        provider=mode == "oidc",
        proxy=mode == "proxy",
    )


def _there(portal: Portal, wanted: str) -> str:
    """Where to go on to; without accounts it is only the operator who signs in."""
    return path_here(wanted, "/operator" if portal.settings.auth_mode == "open" else "/")


@router.post("/sign-out")
async def sign_out(request: Request, portal: PortalDep, caller: CallerDep) -> Response:
    """End the session in this browser."""
    if caller.session is not None:
        await portal.sessions.end(caller.actor, caller.session)
    response = RedirectResponse("/", status_code=303)
    forget_session(request, response)
    return response
