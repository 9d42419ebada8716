"""Retries of a removal that failed: further attempts of the same deployment."""

from typing import Any

from sqlalchemy import Connection, func, select, update

from app.deployments.events import DeploymentRetried
from app.deployments.queries import NEWEST_FIRST
from app.deployments.states import Conclusion, Status, StepState
from app.operations.remove import REMOVE
from app.operations.submission import FactsChanged, insert_event
from app.stacks.model import StackRecord
from app.store import schema
from app.store.engine import Database


def queue_again(database: Database, connection: Connection, stack: StackRecord, deployment_id: str) -> None:
    """Queue a removal that failed once more. Raises FactsChanged where it did not, or is not the newest."""
    table, step, event = schema.deployment, schema.step, schema.event
    again = (
        update(table)
        .where(table.c.id == deployment_id, table.c.conclusion == Conclusion.FAILED)
        .values(
            status=Status.QUEUED,
            conclusion=None,
            problem=None,
            leftovers=[],
            started_at=None,
            concluded_at=None,
            owner=None,
            last_event=table.c.last_event + 1,
        )
        .returning(table.c.last_event)
    )
    last_event = connection.scalar(again)
    # Now that it is the only open one, nobody else can begin another.
    newest = select(table.c.id).where(table.c.stack_id == stack.id).order_by(*NEWEST_FIRST).limit(1)
    if last_event is None or connection.scalar(newest) != deployment_id:
        raise FactsChanged
    anew: dict[str, Any] = {
        "state": StepState.PENDING,
        "attempts": 0,
        "started_at": None,
        "concluded_at": None,
        "output": {},
    }
    connection.execute(update(step).where(step.c.deployment_id == deployment_id).values(anew))
    retries = select(func.count()).where(event.c.deployment_id == deployment_id, event.c.type == DeploymentRetried.type)
    retried = DeploymentRetried(REMOVE.kind, attempt=(connection.scalar(retries) or 0) + 2)
    insert_event(connection, deployment_id, last_event, retried)
    database.notify(connection, "queued")
