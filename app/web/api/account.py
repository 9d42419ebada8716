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
    everybody: Annotated[bool, Query(description="Everybody's, for operators.")] = False,
) -> models.TokensAnswer:
    """The caller's tokens. What expired or was revoked stays on the list for a month."""
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
    """Make a token for a program. It is shown this once, and kept as a fingerprint."""
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
    token_id: Annotated[str, Path(description="The token's id.")], portal: PortalDep, principal: PrincipalDep
) -> None:
    """Make a token good for nothing, at once. Operators may revoke anybody's."""
    await revoke(portal, principal, token_id)


async def revoke(portal: Portal, principal: Principal, token_id: str) -> None:
    """Revoke for a form or a program. Raises PortalError `token_not_found`."""
    if principal.owner is None and not principal.is_operator:
        raise PortalError("token_not_found")
    await portal.tokens.revoke(principal.actor, token_id, owner=None if principal.is_operator else principal.owner)


@router.post("/api/stack/{name}/offer", status_code=201, tags=["stacks"])
async def offer(found: StackDep, portal: PortalDep, principal: PrincipalDep, response: Response) -> models.OfferAnswer:
    """Make a code with which somebody may take the stack over, once, within a day. One made before counts no more."""
    made = await portal.transfers.offer(found, Requester(found.owner, principal.actor, "api"))
    response.headers["Cache-Control"] = "no-store"
    return models.OfferAnswer(code=made.code, expires_at=made.expires_at)


@router.post(
    "/api/take-over",
    tags=["stacks"],
    openapi_extra={"requestBody": body(models.TakeOverBody, {"code": "the-code-that-was-passed-on"})},
)
async def take_over(request: Request, principal: PrincipalDep, response: Response) -> models.TakenOverAnswer:
    """Take a stack over with the code that its owner has passed on, or with its manage key; it gets a new key."""
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
    before: Annotated[
        str | None, Query(max_length=26, description="The id of an entry; what is older follows.")
    ] = None,
    stack: Annotated[str | None, Query(max_length=80, description="Only of this stack.")] = None,
    actor: Annotated[
        str | None, Query(max_length=80, description="Only of whom this is the id or the e-mail address.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = AUDIT_PAGE,
) -> models.AuditAnswer | Response:
    """Who did what to which stack, from where, by which means, with what outcome. For operators.

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
