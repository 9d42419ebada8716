"""A stack's password, for whoever may see it: the one place that opens it."""

from app.deployments.record import StackRecord
from app.deployments.template import StackSecrets
from app.identity import Caller, Ownership
from app.web.deps import Portal


def password_of(portal: Portal, caller: Caller, stack: StackRecord) -> str | None:
    """The password that the container was last started with; None for a caller who is not to see it."""
    if not caller.manages(Ownership(stack.owner, stack.manage_key_hash)):
        return None
    return StackSecrets.decrypt(stack.secrets, portal.vault).password
