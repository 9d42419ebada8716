"""Checks of a submission that are made last, when its deployment is the only open one of its stack."""

from typing import Any

from sqlalchemy import Connection, select

from app.deployments.states import Conclusion, ResourceState
from app.errors import PortalError
from app.operations.table import operation_of
from app.stacks.model import StackRecord
from app.stacks.ownership import must_be_unchanged
from app.stacks.requester import Requester
from app.store import schema


def must_be_there(connection: Connection, stack: StackRecord, requester: Requester) -> None:
    """Look last: now that a run is the stack's only open one, nobody else can end the stack.

    Its name, and with it the volume's, may be somebody else's by now, and so may the stack.
    """
    if not must_be_unchanged(connection, stack, requester.actor):
        raise PortalError("stack_not_found", name=stack.name)


def chosen_before(connection: Connection, stack_id: str, deployment_id: str) -> str:
    """Do with the volume what the removal before was told; without one, erase only what a failed creation created.

    The volume of a stack that once stood holds somebody's files, which nobody has asked to erase.
    """
    before = deployment_before(connection, stack_id, deployment_id)
    if operation_of(before.kind).ends_stack:
        return str(before.options.get("volume", "erase"))
    deployment, resource = schema.deployment.c, schema.resource.c
    once_stood = select(deployment.id).where(
        deployment.stack_id == stack_id, deployment.conclusion == Conclusion.SUCCEEDED
    )
    if connection.execute(once_stood.limit(1)).first() is not None:
        return "keep"
    state = connection.scalar(select(resource.state).where(resource.stack_id == stack_id, resource.kind == "volume"))
    return "keep" if state == ResourceState.KEPT else "erase"


def deployment_before(connection: Connection, stack_id: str, deployment_id: str) -> Any:
    """Return the stack's deployment before its only open one, so that no other can come between."""
    table = schema.deployment.c
    return connection.execute(
        select(table.kind, table.options, table.conclusion)
        .where(table.stack_id == stack_id, table.id != deployment_id)
        .order_by(table.created_at.desc(), table.id.desc())
        .limit(1)
    ).one()
