"""The API of who may: tokens for programs, handing stacks over, and the audit trail."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.errors import PortalError
from app.identity import OPERATOR, Principal, Scope, Token, parse_scopes
from app.portal import Portal
from app.stacks.requester import Requester
from app.stacks.transfer import TakenOver
from app.web.api import account_schemas as models
from app.web.api.openapi import body, problems
from app.web.api.routes import PortalDep, PrincipalDep, StackDep
from app.web.deps import address_of, portal_of, read_json
from app.web.rate_limits import limits_of

router = APIRouter()

AUDIT_PAGE: Final = 100
NDJSON: Final = "application/x-ndjson"


@router.get("/api/tokens", tags=["tokens"])
async def tokens(
    portal: PortalDep,
    principal: PrincipalDep,
    response: Response,
    everybody: Annotated[bool, Query(description="All tokens, for operators.")] = False,
) -> models.TokensAnswer:
    """List your access tokens. Expired and revoked ones stay on the list for a month."""
    response.headers["Cache-Control"] = "no-store"
    return models.TokensAnswer(
        tokens=[models.token_answer(each) for each in await tokens_of(portal, principal, everybody=everybody)]
    )


async def tokens_of(portal: Portal, principal: Principal, *, everybody: bool) -> list[Token]:
    """The tokens that a caller may see. Raises PortalError `not_operator`."""
    if everybody and not principal.is_operator:
        raise PortalError("not_operator")
    owner = token_owner(principal)
    if owner is None and not everybody:
        return []
    return await portal.tokens.of(None if everybody else owner)


def token_owner(principal: Principal) -> str | None:
    """Whose the caller's tokens are; of an operator his own, whatever browser he sits at: his alone can be `admin`."""
    return principal.actor.id if principal.is_operator else principal.owner


@router.post(
    "/api/tokens",
    status_code=201,
    tags=["tokens"],
    openapi_extra={
        "requestBody": body(models.TokenBody, {"name": "CI", "scopes": ["deploy:start"], "expiresInDays": 30})
    },
    responses=problems(409),
)
async def make_token(
    request: Request, portal: PortalDep, principal: PrincipalDep, response: Response
) -> models.NewTokenAnswer:
    """Create an access token for a program. It is shown only once."""
    body = await read_json(request, models.TokenBody)
    token, secret = await make(portal, principal, name=body.name, scopes=body.scopes, days=body.expires_in_days)
    response.headers["Cache-Control"] = "no-store"
    return models.NewTokenAnswer(**models.token_answer(token).model_dump(by_alias=False), token=secret)


async def make(portal: Portal, principal: Principal, *, name: str, scopes: object, days: int) -> tuple[Token, str]:
    """Make a token for a form or a program. Raises PortalError, `nothing_yours` for a browser that has no stack yet."""
    owner = token_owner(principal)
    if owner is None:
        raise PortalError("nothing_yours")
    return await portal.tokens.make(
        principal.actor,
        owner=owner,
        name=name,
        scopes=scopes_for(principal, scopes),
        days=days,
        bound_to=portal.authentication.admin_binding if owner == OPERATOR else None,
    )


def scopes_for(principal: Principal, wanted: object) -> frozenset[Scope]:
    """Read what a token is to be made for.

    Raises PortalError `scopes_invalid`, or `scope_missing` for more than the caller may himself.
    """
    scopes = parse_scopes(wanted)
    for scope in sorted(scopes - principal.scopes):
        raise PortalError("scope_missing", scope=scope.value)
    return scopes


@router.delete("/api/tokens/{token_id}", status_code=204, tags=["tokens"], responses=problems(404), response_model=None)
async def revoke_token(
    token_id: Annotated[str, Path(description="ID of the token.")], portal: PortalDep, principal: PrincipalDep
) -> None:
    """Revoke an access token at once. Operators can revoke any token."""
    await revoke(portal, principal, token_id)


async def revoke(portal: Portal, principal: Principal, token_id: str) -> None:
    """Revoke for a form or a program. Raises PortalError `token_not_found`."""
    if principal.owner is None and not principal.is_operator:
        raise PortalError("token_not_found")
    await portal.tokens.revoke(principal.actor, token_id, owner=None if principal.is_operator else principal.owner)


@router.post("/api/stack/{name}/offer", status_code=201, tags=["stacks"])
async def offer(found: StackDep, portal: PortalDep, principal: PrincipalDep, response: Response) -> models.OfferAnswer:
    """Create a code to transfer the stack to another person. It works once, for a day, and replaces earlier codes."""
    made = await portal.transfers.offer(found, Requester(found.owner, principal.actor, "api"))
    response.headers["Cache-Control"] = "no-store"
    return models.OfferAnswer(code=made.code, expires_at=made.expires_at)


@router.post(
    "/api/take-over",
    tags=["stacks"],
    openapi_extra={"requestBody": body(models.TakeOverBody, {"code": "the-code-that-was-passed-on"})},
)
async def take_over(request: Request, principal: PrincipalDep, response: Response) -> models.TakenOverAnswer:
    """Accept a stack with a transfer code or its manage key. The stack gets a new manage key."""
    body = await read_json(request, models.TakeOverBody)
    taken = await take(request, Requester(principal.owner or "", principal.actor, "api"), body.code)
    response.headers["Cache-Control"] = "no-store"
    key = taken.manage_key if principal.gets_keys else None
    return models.TakenOverAnswer(stack_name=taken.name, url=taken.url, manage_key=key)


async def take(request: Request, requester: Requester, code: str) -> TakenOver:
    """Take over for a form or a program; a code that does not fit counts as a guess. Raises PortalError."""
    limit, address = limits_of(request).wrong_credential, address_of(request) or ""
    await limit.check(address)
    try:
        return await portal_of(request).transfers.take(code.strip(), requester)
    except PortalError as error:
        if error.code == "offer_invalid":
            await limit.count(address)
        raise


@router.get(
    "/api/audit",
    tags=["operators"],
    response_model=models.AuditAnswer,
    responses={
        200: {
            "description": "A page of it; as JSON lines all of it, the oldest first",
            "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/Entry"}}},
        },
    },
)
async def audit(
    request: Request,
    portal: PortalDep,
    response: Response,
    before: Annotated[str | None, Query(max_length=26, description="ID of an entry; older entries follow.")] = None,
    stack: Annotated[str | None, Query(max_length=80, description="Only entries of this stack.")] = None,
    actor: Annotated[
        str | None, Query(max_length=80, description="Only entries of the person with this ID or email address.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries.")] = AUDIT_PAGE,
) -> models.AuditAnswer | Response:
    """List audit entries: who did what to which stack, from where, by which means, with what outcome.

    `Accept: application/x-ndjson` exports the whole trail as JSON lines.
    """
    if NDJSON in request.headers.get("accept", ""):
        return StreamingResponse(export(portal), media_type=NDJSON, headers={"Cache-Control": "no-store"})
    response.headers["Cache-Control"] = "no-store"
    entries = await portal.trail.entries(limit=limit + 1, before=before, stack=stack, actor=actor)
    shown = entries[:limit]
    return models.AuditAnswer(
        entries=[models.audit_entry(each) for each in shown], next=shown[-1].id if len(entries) > limit else None
    )


async def export(portal: Portal) -> AsyncIterator[str]:
    """The whole trail as JSON lines, the oldest first."""
    async for entry in portal.trail.export():
        yield models.audit_line(entry)
