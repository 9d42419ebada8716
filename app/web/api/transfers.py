"""Transfers of stacks to other owners."""

from fastapi import APIRouter, Request, Response

from app.stacks.requester import Requester
from app.web.api.openapi import body
from app.web.api.schemas.transfers import OfferAnswer, TakenOverAnswer, TakeOverBody
from app.web.auth.authorization import (
    StackDep,
)
from app.web.deps import PortalDep, PrincipalDep, read_json
from app.web.transfers import take

router = APIRouter()


@router.post("/api/stack/{name}/offer", status_code=201, tags=["stacks"])
async def offer(found: StackDep, portal: PortalDep, principal: PrincipalDep, response: Response) -> OfferAnswer:
    """Create a code to transfer the stack to another person. It works once, for a day, and replaces earlier codes."""
    made = await portal.transfers.offer(found, Requester(found.owner, principal.actor, "api"))
    response.headers["Cache-Control"] = "no-store"
    return OfferAnswer(code=made.code, expires_at=made.expires_at)


@router.post(
    "/api/take-over",
    tags=["stacks"],
    openapi_extra={"requestBody": body(TakeOverBody, {"code": "the-code-that-was-passed-on"})},
)
async def take_over(request: Request, principal: PrincipalDep, response: Response) -> TakenOverAnswer:
    """Accept a stack with a transfer code or its manage key. The stack gets a new manage key."""
    body = await read_json(request, TakeOverBody)
    taken = await take(request, Requester(principal.owner or "", principal.actor, "api"), body.code)
    response.headers["Cache-Control"] = "no-store"
    key = taken.manage_key if principal.gets_keys else None
    return TakenOverAnswer(stack_name=taken.name, url=taken.url, manage_key=key)
