"""What can be read of stacks and deployments, by whoever may: plain frozen records, straight from the store."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, select
from sqlalchemy.engine import Row

from app.database import Database
from app.deployments import tables
from app.deployments.events import Conclusion, Kind, RecordedEvent, Status
from app.deployments.saga import ResourceState, StepState

# An event stream is read in pages, so that one reader of a long log cannot fill the memory.
PAGE = 500

StackState = Literal["deploying", "running", "removing", "failed"]


@dataclass(frozen=True)
class StackRecord:
    """A stack that holds its name. secrets: encrypted."""

    id: str
    name: str
    owner: str
    template: str
    plan: Mapping[str, Any]
    manage_key_hash: str = field(repr=False)
    secrets: bytes = field(repr=False)
    created_at: datetime


@dataclass(frozen=True)
class StepView:
    """One step of a deployment, as its record shows it."""

    name: str
    state: StepState
    attempts: int
    started_at: datetime | None
    concluded_at: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has not ended."""
        if self.started_at is None or self.concluded_at is None:
            return None
        return (self.concluded_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class LeftoverView:
    """A resource that a run left behind; removed_at: when a later try removed it."""

    kind: str
    name: str
    removed_at: datetime | None


@dataclass(frozen=True)
class DeploymentRecord:
    """One deployment: what was asked, how far it is, how it ended. Holds no secret."""

    id: str
    stack_id: str
    name: str
    owner_of_stack: str
    stack_exists: bool
    manage_key_hash: str = field(repr=False)
    kind: Kind
    trigger: str
    actor: str
    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    concluded_at: datetime | None
    cancel_requested: bool
    status: Status
    undoing: bool
    conclusion: Conclusion | None
    problem: Mapping[str, Any] | None
    leftovers: Sequence[LeftoverView]
    last_event: int
    steps: Sequence[StepView]
    resources: Mapping[str, ResourceState]


def stack_state(kind: str, conclusion: str | None, *, undoing: bool) -> StackState:
    """How a stack is, by its newest deployment."""
    if kind == Kind.REMOVE:
        return "removing" if conclusion is None else "failed"
    if conclusion is None:
        return "removing" if undoing else "deploying"
    return "running" if conclusion == Conclusion.SUCCEEDED else "failed"


class Records:
    """Reads the store; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_stack(self, name: str) -> StackRecord | None:
        """The stack that holds a name."""
        found = await self._stacks(select(tables.stack).where(tables.stack.c.name == name))
        return found[0] if found else None

    async def list_stacks(self, owner: str | None) -> list[StackRecord]:
        """The stacks of one owner, or of everybody, newest first."""
        query = select(tables.stack).order_by(tables.stack.c.created_at.desc())
        return await self._stacks(query if owner is None else query.where(tables.stack.c.owner == owner))

    async def _stacks(self, query: Select[Any]) -> list[StackRecord]:
        rows = await self._rows(query.where(tables.stack.c.removed_at.is_(None)))
        return [
            StackRecord(
                id=row.id,
                name=row.name,
                owner=row.owner,
                template=row.template,
                plan=row.plan,
                manage_key_hash=row.manage_key_hash,
                secrets=row.secrets,
                created_at=row.created_at,
            )
            for row in rows
        ]

    async def held(self, names: Collection[str]) -> set[str]:
        """Which of the names are held by a stack."""
        rows = await self._rows(
            select(tables.stack.c.name).where(tables.stack.c.name.in_(names), tables.stack.c.removed_at.is_(None))
        )
        return {row.name for row in rows}

    async def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """One deployment by its id."""
        return await self._deployment(tables.deployment.c.id == deployment_id)

    async def newest_deployment(self, stack_id: str) -> DeploymentRecord | None:
        """The newest deployment of a stack."""
        return await self._deployment(tables.deployment.c.stack_id == stack_id)

    async def _deployment(self, which: Any) -> DeploymentRecord | None:
        query = (
            select(
                tables.deployment,
                tables.stack.c.owner.label("owner_of_stack"),
                tables.stack.c.manage_key_hash,
                tables.stack.c.removed_at,
            )
            .join(tables.stack, tables.stack.c.id == tables.deployment.c.stack_id)
            .where(which)
            .order_by(tables.deployment.c.created_at.desc(), tables.deployment.c.id.desc())
            .limit(1)
        )

        def read(connection: Connection) -> DeploymentRecord | None:
            row = connection.execute(query).first()
            if row is None:
                return None
            steps = connection.execute(
                select(tables.step).where(tables.step.c.deployment_id == row.id).order_by(tables.step.c.place)
            )
            resources = connection.execute(
                select(tables.resource.c.kind, tables.resource.c.state).where(
                    tables.resource.c.stack_id == row.stack_id
                )
            )
            left = connection.execute(
                select(tables.leftover.c.kind, tables.leftover.c.removed_at).where(
                    tables.leftover.c.stack_id == row.stack_id
                )
            )
            removed = {each.kind: each.removed_at for each in left}
            return _deployment_record(row, steps.all(), resources.all(), removed)

        return await self._database.read(read)

    async def events(self, deployment_id: str, after: int = 0) -> list[RecordedEvent]:
        """Events of a deployment after a number, in order, at most PAGE of them."""
        table = tables.event.c
        rows = await self._rows(
            select(tables.event)
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

    async def dokploy_ids(self, stack_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Dokploy's ids of what stacks have there, by stack id and kind."""
        table = tables.resource.c
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
        table = tables.step.c
        rows = await self._rows_patiently(
            select(table.output)
            .join(tables.deployment, tables.deployment.c.id == table.deployment_id)
            .where(tables.deployment.c.stack_id == stack_id, table.name == "application")
        )
        return {row.output["app_name"] for row in rows if "app_name" in row.output}

    async def usual_deploy_seconds(self) -> float | None:
        """How long Dokploy usually needs for one deployment: the median of the last twenty; None before the first."""
        table = tables.step.c
        rows = await self._rows_patiently(
            select(table.output)
            .where(table.name == "deploy", table.state == StepState.SUCCEEDED)
            .order_by(table.concluded_at.desc())
            .limit(20)
        )
        seconds = [row.output["ran_seconds"] for row in rows if "ran_seconds" in row.output]
        return statistics.median(seconds) if seconds else None

    async def is_kept_volume(self, volume: str, owner: str) -> bool:
        """Whether a volume was left by a removed stack of this same owner, who asked to keep it.

        A stack that never came as far as the volume says nothing of it: else a stranger's refused try would count.
        """
        table = tables.resource.c
        rows = await self._rows_patiently(
            select(table.state, tables.stack.c.owner)
            .join(tables.stack, tables.stack.c.id == table.stack_id)
            .where(
                table.kind == "volume",
                table.name == volume,
                table.state != ResourceState.PLANNED,
                tables.stack.c.removed_at.is_not(None),
            )
            .order_by(tables.stack.c.removed_at.desc())
            .limit(1)
        )
        return any(row.state == ResourceState.KEPT and row.owner == owner for row in rows)

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    async def _rows_patiently(self, query: Select[Any]) -> Sequence[Any]:
        # Only runs ask these, and a run waits for the store rather than fail.
        return await self._database.read_patiently(lambda connection: connection.execute(query).all())


def _deployment_record(
    row: Row[Any], steps: Sequence[Row[Any]], resources: Sequence[Any], removed: Mapping[str, datetime | None]
) -> DeploymentRecord:
    return DeploymentRecord(
        id=row.id,
        stack_id=row.stack_id,
        name=row.name,
        owner_of_stack=row.owner_of_stack,
        stack_exists=row.removed_at is None,
        manage_key_hash=row.manage_key_hash,
        kind=Kind(row.kind),
        trigger=row.trigger,
        actor=row.actor,
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
            StepView(step.name, StepState(step.state), step.attempts, step.started_at, step.concluded_at)
            for step in steps
        ],
        resources={resource.kind: ResourceState(resource.state) for resource in resources},
    )
