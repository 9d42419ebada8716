"""Queries for deployments and their events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, ScalarSelect, Select, literal, select, tuple_
from sqlalchemy.engine import Row

from app.audit import Actor, Means, Role
from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord, LeftoverView, ResourceView, StepView
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.store import schema
from app.store.engine import Database
from app.store.paging import Order, Page, PageRequest

E = TypeVar("E", bound=StrEnum)

# An event stream is read in pages, so that one reader of a long log cannot fill the memory.
PAGE = 500


# A deployment with what is needed of its stack to say who may do what with it.
DEPLOYMENTS: Final = select(
    schema.deployment,
    schema.stack.c.owner.label("owner_of_stack"),
    schema.stack.c.manage_key_hash,
    schema.stack.c.removed_at,
).join(schema.stack, schema.stack.c.id == schema.deployment.c.stack_id)
NEWEST_FIRST: Final = (schema.deployment.c.created_at.desc(), schema.deployment.c.id.desc())


def newest_of_each() -> Any:
    """Hold a query to the newest deployment of each stack."""
    return schema.deployment.c.id == newest_id()


def newest_id() -> ScalarSelect[str]:
    """Select, beside a stack, the id of its newest deployment."""
    other = schema.deployment.alias()
    return (
        select(other.c.id)
        .where(other.c.stack_id == schema.stack.c.id)
        .order_by(other.c.created_at.desc(), other.c.id.desc())
        .limit(1)
        .correlate(schema.stack)
        .scalar_subquery()
    )


_OF_A_STACK: Final = Order("deployments-of-stack", (schema.deployment.c.created_at, schema.deployment.c.id))
# Ids are ULIDs, which are in the order of time, and have an index.
_OF_ALL: Final = Order("deployments", (schema.deployment.c.id,))


class DeploymentRecords:
    """Reads deployments; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """One deployment by its id."""
        found = await self._deployments(DEPLOYMENTS.where(schema.deployment.c.id == deployment_id))
        return found[0] if found else None

    async def newest_deployment(self, stack_id: str) -> DeploymentRecord | None:
        """Return the newest deployment of a stack."""
        return await self._first(DEPLOYMENTS.where(schema.deployment.c.stack_id == stack_id))

    async def deployment_before(self, record: DeploymentRecord) -> DeploymentRecord | None:
        """Return the deployment of the same stack before another one."""
        table = schema.deployment.c
        earlier = tuple_(table.created_at, table.id) < tuple_(
            literal(record.created_at, table.created_at.type), literal(record.id, table.id.type)
        )
        return await self._first(DEPLOYMENTS.where(table.stack_id == record.stack_id, earlier))

    async def _first(self, query: Select[Any]) -> DeploymentRecord | None:
        found = await self._deployments(query.order_by(*NEWEST_FIRST).limit(1))
        return found[0] if found else None

    async def latest(self, request: PageRequest) -> Page[DeploymentRecord]:
        """Deployments of all stacks, newest first."""
        return await self._page(DEPLOYMENTS, _OF_ALL, request)

    async def deployments_of(self, stack_id: str, request: PageRequest) -> Page[DeploymentRecord]:
        """Deployments of a stack, newest first."""
        return await self._page(DEPLOYMENTS.where(schema.deployment.c.stack_id == stack_id), _OF_A_STACK, request)

    async def _page(self, query: Select[Any], order: Order, request: PageRequest) -> Page[DeploymentRecord]:
        return await self._database.read(
            lambda connection: order.page(partial(read_deployments, connection), query, request)
        )

    async def _deployments(self, query: Select[Any]) -> list[DeploymentRecord]:
        return await self._database.read(
            lambda connection: [record for _, record in read_deployments(connection, query)]
        )

    async def events(self, deployment_id: str, after: int = 0) -> list[RecordedEvent]:
        """Events of a deployment after a number, in order, at most PAGE of them."""
        table = schema.event.c
        rows = await self._rows(
            select(schema.event)
            .where(table.deployment_id == deployment_id, table.n > after)
            .order_by(table.n)
            .limit(PAGE)
        )
        return [
            RecordedEvent(
                deployment_id=row.deployment_id,
                n=row.n,
                at=row.at,
                type=row.type,
                key=row.key,
                params=row.params,
                status=Status(row.status),
                undoing=row.undoing,
                conclusion=Conclusion(row.conclusion) if row.conclusion else None,
            )
            for row in rows
        ]

    # For runs, which wait while the store is away

    async def app_names(self, stack_id: str) -> set[str]:
        """Return Dokploy's own name of the stack's application, which its containers bear."""
        table = schema.step.c
        rows = await self._rows_patiently(
            select(table.output)
            .join(schema.deployment, schema.deployment.c.id == table.deployment_id)
            .where(schema.deployment.c.stack_id == stack_id, table.name == "application")
        )
        return {row.output["app_name"] for row in rows if "app_name" in row.output}

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    async def _rows_patiently(self, query: Select[Any]) -> Sequence[Any]:
        # Only runs ask these, and a run waits for the store rather than fail.
        return await self._database.read_patiently(lambda connection: connection.execute(query).all())


def read_deployments(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], DeploymentRecord]]:
    """Read deployments, and what belongs to them all at once; each with the row it came from."""
    rows = connection.execute(query).all()
    if not rows:
        return []
    step, resource, leftover = schema.step.c, schema.resource.c, schema.leftover.c
    stack_ids = {row.stack_id for row in rows}
    steps: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for each in connection.execute(
        select(schema.step).where(step.deployment_id.in_(steps)).order_by(step.deployment_id, step.place)
    ):
        steps[each.deployment_id].append(each)
    resources: dict[str, list[Row[Any]]] = {stack_id: [] for stack_id in stack_ids}
    for each in connection.execute(
        select(schema.resource).where(resource.stack_id.in_(stack_ids)).order_by(resource.stack_id, resource.kind)
    ):
        resources[each.stack_id].append(each)
    removed: dict[str, dict[str, datetime | None]] = {stack_id: {} for stack_id in stack_ids}
    for each in connection.execute(
        select(leftover.stack_id, leftover.kind, leftover.removed_at).where(leftover.stack_id.in_(stack_ids))
    ):
        removed[each.stack_id][each.kind] = each.removed_at
    return [
        (row, _deployment_record(row, steps[row.id], resources[row.stack_id], removed[row.stack_id])) for row in rows
    ]


def _known(word: str | None, otherwise: E) -> E:
    """Read a word of a list; one that is not in it was written by a newer portal beside this one."""
    return next((each for each in type(otherwise) if each == word), otherwise)


def _deployment_record(
    row: Row[Any], steps: Sequence[Row[Any]], resources: Sequence[Row[Any]], removed: Mapping[str, datetime | None]
) -> DeploymentRecord:
    return DeploymentRecord(
        id=row.id,
        stack_id=row.stack_id,
        name=row.name,
        owner_of_stack=row.owner_of_stack,
        stack_exists=row.removed_at is None,
        manage_key_hash=row.manage_key_hash,
        kind=row.kind,
        trigger=row.trigger,
        actor=Actor(
            id=row.actor,
            role=_known(row.actor_role, Role.USER),
            means=_known(row.actor_means, Means.NOTHING),
            email=row.actor_email,
        ),
        options=row.options,
        plan=row.plan,
        created_at=row.created_at,
        started_at=row.started_at,
        concluded_at=row.concluded_at,
        cancel_requested=row.cancel_requested_at is not None,
        status=Status(row.status),
        undoing=row.undoing,
        conclusion=Conclusion(row.conclusion) if row.conclusion else None,
        problem=row.problem,
        leftovers=[LeftoverView(each["kind"], each["name"], removed.get(each["kind"])) for each in row.leftovers],
        last_event=row.last_event,
        steps=[
            StepView(
                name=step.name,
                state=StepState(step.state),
                attempts=step.attempts,
                started_at=step.started_at,
                concluded_at=step.concluded_at,
                seen=step.output.get("seen", {}),
            )
            for step in steps
        ],
        resources={
            each.kind: ResourceView(each.kind, each.name, ResourceState(each.state), each.dokploy_id, each.changed_at)
            for each in resources
        },
        log_expired_at=row.log_expired_at,
    )
