"""A stack's password: the one place that decrypts it, for callers that may see it."""

from app.identity import Ownership, Principal, Scope
from app.portal import Portal
from app.stacks.model import StackRecord
from app.stacks.templates import StackSecrets


async def password_of(portal: Portal, principal: Principal, stack: StackRecord) -> str | None:
    """Return the password that the container was last started with; None for a caller that may not see it.

    A token that may only list stacks does not get their passwords. A removed stack has none, also while its files are
    erased.
    """
    if not principal.owns(Ownership(stack.owner, stack.manage_key_hash)) or not principal.may(Scope.STACK_MANAGE):
        return None
    sealed = await portal.records.sealed_secrets(stack.id)
    return StackSecrets.decrypt(sealed, portal.vault).password if sealed else None
