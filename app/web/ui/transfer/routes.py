"""Transfers of stacks: an owner passes a code on, and who has a code, or a manage key, accepts the stack."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.errors import PortalError
from app.stacks.requester import Requester
from app.web.auth.authorization import StackDep
from app.web.deps import (
    LanguageDep,
    PortalDep,
    PrincipalDep,
    actor_of,
    origin_of,
    owner_of,
    read_form,
    remember_browser,
)
from app.web.problems import show
from app.web.transfers import take
from app.web.ui.shared.responses import refuse, respond
from app.web.ui.shared.timeline import moment
from app.web.ui.transfer.view import OfferedPage, OfferPage, TakenOverPage, TakeOverPage

router = APIRouter()

TAKE_OVER: Final = "/take-over"


@router.get("/stacks/{name}/offer")
async def ask_to_offer(request: Request, stack: StackDep, principal: PrincipalDep) -> Response:
    """Ask before a code is created, and say what it does."""
    return respond(request, OfferPage(stack.name, is_own=not principal.is_operator or principal.owner == stack.owner))


@router.post("/stacks/{name}/offer")
async def offer(
    request: Request, stack: StackDep, portal: PortalDep, principal: PrincipalDep, language: LanguageDep
) -> Response:
    """Create the code and show it once."""
    made = await portal.transfers.offer(stack, Requester(stack.owner, principal.actor, "user"))
    ends = moment(made.expires_at, language)
    page = OfferedPage(stack.name, made.code, ends, f"{origin_of(request)}{TAKE_OVER}")
    return respond(request, page, path=f"/stacks/{stack.name}/offer")


@router.get(TAKE_OVER)
async def take_over_form(request: Request) -> Response:
    """Ask for the code, or the manage key."""
    return respond(request, TakeOverPage())


@router.post(TAKE_OVER)
async def take_over(request: Request, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Accept the stack and show its new key once, or ask again with the reason."""
    fields = await read_form(request)
    owner = owner_of(request)
    try:
        taken = await take(request, Requester(owner, actor_of(request), "user"), fields.get("code", ""))
    except PortalError as error:
        # What was typed may be all but a letter of a secret, and is not said again.
        return await refuse(request, error, TakeOverPage(show(error, language)), path=TAKE_OVER)
    response = respond(
        request,
        TakenOverPage(taken.name, taken.manage_key if principal.gets_keys else None),
        path=f"/stacks/{taken.name}",
    )
    remember_browser(request, response)
    return response
