"""A run that this process holds, and its checkpoint: rows to write, then the same changes in memory."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.deployments.events import Event, RecordedEvent
from app.deployments.model import Left
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.engine.saga import Checkpoint, ResourceChange, StepChange
from app.operations.operation import Operation


@dataclass
class StepRecord:
    """Where one step stands. output: what later steps need."""

    name: str
    state: StepState
    attempts: int
    started_at: datetime | None
    concluded_at: datetime | None
    output: Mapping[str, Any]


@dataclass
class Resource:
    """One thing in Dokploy. attempts: how often its create was begun; intended_at: when it last was."""

    kind: str
    name: str
    state: ResourceState
    dokploy_id: str | None
    attempts: int
    intended_at: datetime | None


@dataclass
class Run:
    """A deployment that this process holds; it alone writes it, as long as owner and epoch in the store are its own.

    interrupted: set with `stopping` and with `cancel_requested`, each of which is waited for by itself as well;
    server_id: the Dokploy server that the stack is on; secrets: the stack's, sealed; next_secrets: those that a
    container is to be started with, where they are to change.
    """

    id: str
    stack_id: str
    server_id: str
    name: str
    operation: Operation
    plan: Mapping[str, Any]
    options: Mapping[str, Any]
    secrets: bytes = field(repr=False)
    next_secrets: bytes | None = field(repr=False)
    owner_of_stack: str
    worker: str
    epoch: int
    status: Status
    undoing: bool
    problem: Mapping[str, Any] | None
    last_event: int
    steps: dict[str, StepRecord]
    resources: dict[str, Resource]
    cancel_requested: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    is_broken: bool = False
    status_changed: Callable[[], None] = field(default=lambda: None, repr=False)

    def cancel(self) -> None:
        """Have the run undone, as somebody has asked for."""
        self.cancel_requested.set()
        self.interrupted.set()

    def hand_over(self) -> None:
        """Have the run come to a place where another process can go on with it."""
        self.stopping.set()
        self.interrupted.set()

    @property
    def is_preparing(self) -> bool:
        """Whether the run is still making calls of its own, rather than waiting for Dokploy or the container."""
        return not self.is_broken and self.status in {Status.QUEUED, Status.PREPARE}

    @property
    def is_new(self) -> bool:
        """Whether no step of it has begun, in this attempt."""
        return self.status is Status.QUEUED and all(step.state is StepState.PENDING for step in self.steps.values())


class Writing:
    """One checkpoint on its way: rows to write, and afterwards the same changes to make in memory."""

    def __init__(
        self,
        run: Run,
        checkpoint: Checkpoint,
        conclusion: Conclusion | None,
        left: Sequence[Left],
        *,
        frees_name: bool,
    ) -> None:
        self.run = run
        self.at = datetime.now(UTC)
        self.steps = checkpoint.steps
        self.resources = checkpoint.resources
        self.secrets = checkpoint.secrets
        self.frees_name = frees_name
        self.conclusion = conclusion
        self.left = left
        self._status = Status.COMPLETED if conclusion else (checkpoint.status or run.status)
        self._undoing = run.undoing if checkpoint.undoing is None else checkpoint.undoing
        self._problem = run.problem or checkpoint.problem
        self.last_event = run.last_event + len(checkpoint.events)
        self.events = self._number(checkpoint.events)

    def _number(self, events: Iterable[Event]) -> list[RecordedEvent]:
        # Between two others the run is not over; only its last event says so.
        last = self.last_event if self.conclusion else None
        return [
            RecordedEvent(
                deployment_id=self.run.id,
                n=n,
                at=self.at,
                type=event.type,
                key=event.key,
                params=event.params,
                status=self._status if n == last or not self.conclusion else self.run.status,
                undoing=self._undoing,
                conclusion=self.conclusion if n == last else None,
            )
            for n, event in enumerate(events, self.run.last_event + 1)
        ]

    def head(self) -> dict[str, Any]:
        """Columns of the deployment."""
        head: dict[str, Any] = {
            "status": self._status,
            "undoing": self._undoing,
            "problem": self._problem,
            "last_event": self.last_event,
        }
        if self.conclusion:
            head |= {
                "conclusion": self.conclusion,
                "concluded_at": self.at,
                "leftovers": [{"kind": each.kind, "name": each.name} for each in self.left],
                "owner": None,
            }
        return head

    def head_row(self) -> dict[str, Any]:
        """Columns of the deployment, and by what it is found."""
        return {"of": self.run.id, "held_by": self.run.worker, "in_epoch": self.run.epoch, **self.head()}

    def event_rows(self) -> list[dict[str, Any]]:
        """Rows of new events."""
        return [
            {
                "deployment_id": event.deployment_id,
                "n": event.n,
                "at": event.at,
                "type": event.type,
                "key": event.key,
                "params": dict(event.params),
                "status": event.status,
                "undoing": event.undoing,
                "conclusion": event.conclusion,
            }
            for event in self.events
        ]

    def step_rows(self) -> list[dict[str, Any]]:
        """Rows of changed steps, whole."""
        return [
            {
                "of": self.run.id,
                "called": changed.name,
                "state": changed.state,
                "attempts": changed.attempts,
                "started_at": changed.started_at,
                "concluded_at": changed.concluded_at,
                "output": dict(changed.output),
            }
            for changed in (self._changed_step(name, change) for name, change in self.steps.items())
        ]

    def resource_rows(self) -> list[dict[str, Any]]:
        """Rows of changed resources, whole."""
        return [
            {
                "of": self.run.stack_id,
                "called": changed.kind,
                "state": changed.state,
                "dokploy_id": changed.dokploy_id,
                "attempts": changed.attempts,
                "intended_at": changed.intended_at,
                "changed_at": self.at,
            }
            for changed in self._changed_resources().values()
        ]

    def apply(self) -> None:
        """Make in memory what the store has taken."""
        run = self.run
        run.steps |= {name: self._changed_step(name, change) for name, change in self.steps.items()}
        run.resources |= self._changed_resources()
        if self.secrets is not None:
            run.secrets, run.next_secrets = self.secrets, None
        run.undoing, run.problem, run.last_event = self._undoing, self._problem, self.last_event
        if run.status is not self._status:
            run.status = self._status
            run.status_changed()

    def _changed_step(self, name: str, change: StepChange) -> StepRecord:
        step = self.run.steps[name]
        begins = change.state is StepState.RUNNING and change.output is None
        return StepRecord(
            name=name,
            state=change.state,
            attempts=step.attempts + begins,
            started_at=step.started_at or self.at,
            concluded_at=None if change.state is StepState.RUNNING else self.at,
            output=step.output if change.output is None else {**step.output, **change.output},
        )

    def _changed_resources(self) -> dict[str, Resource]:
        changed: dict[str, Resource] = {}
        for change in self.resources:
            changed[change.kind] = self._changed_resource(changed.get(change.kind), change)
        return changed

    def _changed_resource(self, before: Resource | None, change: ResourceChange) -> Resource:
        resource = before or self.run.resources[change.kind]
        begins = change.state is ResourceState.INTENDED
        if begins and resource.state in {ResourceState.PRESENT, ResourceState.KEPT}:
            return resource  # it is there already
        return Resource(
            kind=resource.kind,
            name=resource.name,
            state=change.state,
            dokploy_id=change.dokploy_id or resource.dokploy_id,
            attempts=resource.attempts + begins,
            intended_at=self.at if begins else resource.intended_at,
        )
