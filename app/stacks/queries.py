"""Queries for stacks and deployments."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, and_, or_, select
from sqlalchemy.engine import Row

from app.audit import Actor, Means, Role
from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord, LeftoverView, ResourceView, StepView
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.stacks.model import EVERYBODY, StackRecord, StackView, Whose
from app.stacks.volumes import KeptFiles, kept_of_row, of_volumes, unused
from app.store import schema
from app.store.engine import Database

E = TypeVar("E", bound=StrEnum)

# An event stream is read in pages, so that one reader of a long log cannot fill the memory.
PAGE = 500


# A deployment with what is needed of its stack to say who may do what with it.
_DEPLOYMENTS: Final = select(
    schema.deployment,
    schema.stack.c.owner.label("owner_of_stack"),
    schema.stack.c.manage_key_hash,
    schema.stack.c.removed_at,
).join(schema.stack, schema.stack.c.id == schema.deployment.c.stack_id)
NEWEST_FIRST: Final = (schema.deployment.c.created_at.desc(), schema.deployment.c.id.desc())


def newest_of_each() -> Any:
    """Hold a query to the newest deployment of each stack."""
    other = schema.deployment.alias()
    newest = (
        select(other.c.id)
        .where(other.c.stack_id == schema.stack.c.id)
        .order_by(other.c.created_at.desc(), other.c.id.desc())
        .limit(1)
        .correlate(schema.stack)
        .scalar_subquery()
    )
    return schema.deployment.c.id == newest


def _older_than(table: Any, row_id: str) -> Any:
    """Hold a query to what comes after a row in a list that has the newest first."""
    moment = select(table.c.created_at).where(table.c.id == row_id).scalar_subquery()
    return or_(table.c.created_at < moment, and_(table.c.created_at == moment, table.c.id < row_id))


class Records:
    """Reads the store; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_stack(self, name: str) -> StackRecord | None:
        """The stack that holds a name."""
        found = await self._stacks(select(schema.stack).where(schema.stack.c.name == name))
        return found[0] if found else None

    async def list_stacks(self, ids: Collection[str] | None = None) -> list[StackRecord]:
        """Return every stack, newest first. ids: only these."""
        query = select(schema.stack).order_by(schema.stack.c.created_at.desc())
        return await self._stacks(query if ids is None else query.where(schema.stack.c.id.in_(ids)))

    async def _stacks(self, query: Select[Any]) -> list[StackRecord]:
        rows = await self._rows(query.where(schema.stack.c.removed_at.is_(None)))
        return [_stack_record(row) for row in rows]

    async def stack_views(
        self, whose: Whose = EVERYBODY, *, after: str | None = None, limit: int | None = None
    ) -> list[StackView]:
        """Stacks with their newest deployments, newest first; the same few queries, however many there are.

        after: only those that follow the stack with this id; limit: at most so many.
        """
        stack = schema.stack.c
        query = (
            _DEPLOYMENTS.add_columns(
                stack.server_id,
                stack.template,
                stack.secrets,
                stack.next_secrets,
                stack.plan.label("stack_plan"),
                stack.created_at.label("stack_created_at"),
            )
            .where(stack.removed_at.is_(None), newest_of_each(), *_held_to(whose))
            .order_by(stack.created_at.desc(), stack.id.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(_older_than(schema.stack, after))
        return await self._database.read(
            lambda connection: [
                StackView(_stack_of(row), record) for row, record in _deployment_records(connection, query)
            ]
        )

    async def lately_gone(self, whose: Whose, *, limit: int) -> list[DeploymentRecord]:
        """The last deployments of stacks that are gone, those that went last first."""
        order = (schema.stack.c.removed_at.desc(), schema.stack.c.id.desc())
        # These few first: what is looked up for each stack would be looked up for all.
        gone = select(schema.stack.c.id).where(schema.stack.c.removed_at.is_not(None), *_held_to(whose))
        few = gone.order_by(*order).limit(limit).subquery()
        return await self._deployments(
            _DEPLOYMENTS.where(schema.stack.c.id.in_(select(few.c.id)), newest_of_each()).order_by(*order)
        )

    async def latest(self, *, limit: int) -> list[DeploymentRecord]:
        """The newest deployments of all stacks."""
        # Ids are ULIDs, which are in the order of time, and have an index.
        return await self._deployments(_DEPLOYMENTS.order_by(schema.deployment.c.id.desc()).limit(limit))

    async def held(self, names: Collection[str]) -> set[str]:
        """Which of the names are held by a stack."""
        rows = await self._rows(
            select(schema.stack.c.name).where(schema.stack.c.name.in_(names), schema.stack.c.removed_at.is_(None))
        )
        return {row.name for row in rows}

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """One deployment by its id."""
        found = await self._deployments(_DEPLOYMENTS.where(schema.deployment.c.id == deployment_id))
        return found[0] if found else None

    async def newest_deployment(self, stack_id: str) -> DeploymentRecord | None:
        """The newest deployment of a stack."""
        found = await self.deployments_of(stack_id, limit=1)
        return found[0] if found else None

    async def deployments_of(self, stack_id: str, *, limit: int, after: str | None = None) -> list[DeploymentRecord]:
        """Deployments of a stack, newest first. after: only those that follow the one with this id."""
        query = _DEPLOYMENTS.where(schema.deployment.c.stack_id == stack_id).order_by(*NEWEST_FIRST).limit(limit)
        return await self._deployments(query if after is None else query.where(_older_than(schema.deployment, after)))

    async def _deployments(self, query: Select[Any]) -> list[DeploymentRecord]:
        return await self._database.read(
            lambda connection: [record for _, record in _deployment_records(connection, query)]
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

    async def kept_of(self, volumes: Collection[str]) -> dict[str, KeptFiles]:
        """Which of some volumes are kept of stacks that are gone, by their names."""
        rows = await self._rows(of_volumes(volumes))
        return {row.volume: kept_of_row(row) for row in rows}

    async def knows_key(self, key_hash: str) -> bool:
        """Whether a fingerprint is that of the manage key of any stack, be it gone."""
        rows = await self._rows(select(schema.stack.c.id).where(schema.stack.c.manage_key_hash == key_hash).limit(1))
        return bool(rows)

    async def kept_files(self, whose: Whose = EVERYBODY, *, name: str | None = None) -> list[KeptFiles]:
        """What is kept of stacks that are gone, the last first. name: only of stacks that were called so."""
        called = [] if name is None else [schema.stack.c.name == name]
        rows = await self._rows(unused(*_held_to(whose), *called))
        return [kept_of_row(row) for row in rows]

    # For runs, which wait while the store is away

    async def dokploy_ids(self, stack_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Dokploy's ids of what stacks have there, by stack id and kind."""
        table = schema.resource.c
        rows = await self._rows(
            select(table.stack_id, table.kind, table.dokploy_id).where(
                table.stack_id.in_(stack_ids), table.dokploy_id.is_not(None)
            )
        )
        ids: dict[str, dict[str, str]] = {}
        for row in rows:
            ids.setdefault(row.stack_id, {})[row.kind] = row.dokploy_id
        return ids

    async def app_names(self, stack_id: str) -> set[str]:
        """What Dokploy called the stack's application: its containers bear that name, whatever becomes of its row."""
        table = schema.step.c
        rows = await self._rows_patiently(
            select(table.output)
            .join(schema.deployment, schema.deployment.c.id == table.deployment_id)
            .where(schema.deployment.c.stack_id == stack_id, table.name == "application")
        )
        return {row.output["app_name"] for row in rows if "app_name" in row.output}

    async def is_kept_volume(self, volume: str, owner: str) -> bool:
        """Whether a volume was left by a removed stack of this same owner, who asked to keep it."""
        rows = await self._rows_patiently(of_volumes([volume]))
        return any(row.owner == owner for row in rows)

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    async def _rows_patiently(self, query: Select[Any]) -> Sequence[Any]:
        # Only runs ask these, and a run waits for the store rather than fail.
        return await self._database.read_patiently(lambda connection: connection.execute(query).all())


def _held_to(whose: Whose) -> list[Any]:
    """Hold a query to some stacks."""
    stack = schema.stack.c
    wanted = ((stack.owner, whose.owner), (stack.manage_key_hash, whose.key_hash))
    return [column == value for column, value in wanted if value is not None]


def _stack_record(row: Any) -> StackRecord:
    return StackRecord(
        id=row.id,
        server_id=row.server_id,
        name=row.name,
        owner=row.owner,
        template=row.template,
        plan=row.plan,
        manage_key_hash=row.manage_key_hash,
        secrets=row.secrets,
        created_at=row.created_at,
        is_password_pending=row.next_secrets is not None,
    )


def _stack_of(row: Any) -> StackRecord:
    """The stack in a row that begins with its newest deployment."""
    return StackRecord(
        id=row.stack_id,
        server_id=row.server_id,
        name=row.name,
        owner=row.owner_of_stack,
        template=row.template,
        plan=row.stack_plan,
        manage_key_hash=row.manage_key_hash,
        secrets=row.secrets,
        created_at=row.stack_created_at,
        is_password_pending=row.next_secrets is not None,
    )


def _deployment_records(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], DeploymentRecord]]:
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
