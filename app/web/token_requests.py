"""Requests for access tokens, from a form or a program: whose they are, and what they may do."""

from app.errors import PortalError
from app.identity import OPERATOR, Principal, Scope, Token, parse_scopes
from app.portal import Portal
from app.store.paging import Page, PageRequest, no_rows


async def tokens_of(portal: Portal, principal: Principal, request: PageRequest, *, everybody: bool) -> Page[Token]:
    """Return the tokens that a caller may see. Raises PortalError `not_operator`."""
    if everybody and not principal.is_operator:
        raise PortalError("not_operator")
    owner = token_owner(principal)
    if owner is None and not everybody:
        return no_rows(request)
    return await portal.tokens.of(None if everybody else owner, request)


def token_owner(principal: Principal) -> str | None:
    """Whose the caller's tokens are; of an operator his own, whatever browser he sits at: his alone can be `admin`."""
    return principal.actor.id if principal.is_operator else principal.owner


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


async def revoke(portal: Portal, principal: Principal, token_id: str) -> None:
    """Revoke for a form or a program. Raises PortalError `token_not_found`."""
    if principal.owner is None and not principal.is_operator:
        raise PortalError("token_not_found")
    await portal.tokens.revoke(principal.actor, token_id, owner=None if principal.is_operator else principal.owner)
