"""Access tokens for programs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.web.api.openapi import body, problems
from app.web.api.paging import PageDep
from app.web.api.schemas.tokens import NewTokenAnswer, TokenBody, TokensAnswer, token_answer, tokens_answer
from app.web.deps import PortalDep, PrincipalDep, read_json
from app.web.token_requests import make, revoke, tokens_of

router = APIRouter()


@router.get("/api/tokens", tags=["tokens"])
async def tokens(
    portal: PortalDep,
    principal: PrincipalDep,
    response: Response,
    page: PageDep,
    everybody: Annotated[bool, Query(description="All tokens, for operators.")] = False,
) -> TokensAnswer:
    """List your access tokens. Expired and revoked ones stay on the list for `KEEP_TOKENS_DAYS`."""
    response.headers["Cache-Control"] = "no-store"
    return tokens_answer(await tokens_of(portal, principal, page, everybody=everybody))


@router.post(
    "/api/tokens",
    status_code=201,
    tags=["tokens"],
    openapi_extra={"requestBody": body(TokenBody, {"name": "CI", "scopes": ["deploy:start"], "expiresInDays": 30})},
    responses=problems(409),
)
async def make_token(
    request: Request, portal: PortalDep, principal: PrincipalDep, response: Response
) -> NewTokenAnswer:
    """Create an access token for a program. It is shown only once."""
    body = await read_json(request, TokenBody)
    token, secret = await make(portal, principal, name=body.name, scopes=body.scopes, days=body.expires_in_days)
    response.headers["Cache-Control"] = "no-store"
    return NewTokenAnswer(**token_answer(token).model_dump(by_alias=False), token=secret)


@router.delete("/api/tokens/{token_id}", status_code=204, tags=["tokens"], responses=problems(404), response_model=None)
async def revoke_token(
    token_id: Annotated[str, Path(description="ID of the token.")], portal: PortalDep, principal: PrincipalDep
) -> None:
    """Revoke an access token at once. Operators can revoke any token."""
    await revoke(portal, principal, token_id)
