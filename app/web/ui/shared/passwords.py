"""A stack's password, for whoever may see it: the one place that opens it."""

from app.identity import Ownership, Principal, Scope
from app.portal import Portal
from app.stacks.model import StackRecord
from app.stacks.templates import StackSecrets


def password_of(portal: Portal, principal: Principal, stack: StackRecord) -> str | None:
    """The password that the container was last started with; None for a caller who is not to see it.

    A token that was made to list stacks only is not told what opens them. A stack that is gone has none, also while
    its files are erased.
    """
    if not stack.secrets:
        return None
    if not principal.owns(Ownership(stack.owner, stack.manage_key_hash)) or not principal.may(Scope.STACK_MANAGE):
        return None
    return StackSecrets.decrypt(stack.secrets, portal.vault).password
