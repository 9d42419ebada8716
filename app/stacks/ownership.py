"""Ownership of a stack, confirmed within the transaction that changes it."""

from sqlalchemy import Connection, select

from app.audit import Actor, Role
from app.deployments.model import DeploymentRecord
from app.errors import PortalError
from app.stacks.model import StackRecord
from app.stacks.volumes import KeptFiles
from app.store import schema

Seen = StackRecord | KeptFiles | DeploymentRecord
"""What somebody was let in by. A body may come seconds after that, and the stack be handed over in between."""


def must_be_unchanged(connection: Connection, seen: Seen, actor: Actor) -> bool:
    """Raise PortalError `stack_not_found` where the stack is somebody else's by now; say whether it is there.

    Its row is locked: nobody takes it over before this transaction is over. Operators, and the portal itself, change
    everybody's. Locked after a deployment's row, as runs do it, and before an offer's.
    """
    stack_id, _ = _which(seen)
    stack = schema.stack.c
    row = connection.execute(
        select(stack.owner, stack.manage_key_hash, stack.removed_at)
        .where(stack.id == stack_id)
        .with_for_update(key_share=True)
    ).first()
    if row is None:  # deleted for good since it was read
        raise PortalError("stack_not_found", name=seen.name)
    _must_match(seen, (row.owner, row.manage_key_hash), actor)
    return row.removed_at is None


def must_match(seen: Seen, now: DeploymentRecord, actor: Actor) -> None:
    """Raise PortalError `stack_not_found` where a deployment that was read since says that it is somebody else's."""
    _must_match(seen, _which(now)[1], actor)


def _which(seen: Seen) -> tuple[str, tuple[str, str]]:
    """Remember the stack's id and its owner."""
    match seen:
        case StackRecord():
            return seen.id, (seen.owner, seen.manage_key_hash)
        case KeptFiles():
            return seen.stack_id, (seen.owner, seen.manage_key_hash)
        case DeploymentRecord():
            return seen.stack_id, (seen.owner_of_stack, seen.manage_key_hash)


def _must_match(seen: Seen, now: tuple[str, str], actor: Actor) -> None:
    if actor.role not in {Role.OPERATOR, Role.PORTAL} and _which(seen)[1] != now:
        raise PortalError("stack_not_found", name=seen.name)
