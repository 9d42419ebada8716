"""The record of a deployment: what was requested, its progress, how it ended. Frozen and without secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from app.audit import Actor
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.operations.operation import Operation
from app.operations.table import operation_of

PORTAL_TRIGGER: Final = "portal"
"""The trigger of what the portal does by itself, for which nobody waits."""


@dataclass(frozen=True)
class StepView:
    """One step of a deployment, as its record shows it. seen: what Dokploy, or the address, showed it."""

    name: str
    state: StepState
    attempts: int
    started_at: datetime | None
    concluded_at: datetime | None
    seen: Mapping[str, Any]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has not ended."""
        if self.started_at is None or self.concluded_at is None:
            return None
        return (self.concluded_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class ResourceView:
    """A thing of the stack's in Dokploy, as whichever deployment changed it last has left it; changed_at: when."""

    kind: str
    name: str
    state: ResourceState
    dokploy_id: str | None
    changed_at: datetime


@dataclass(frozen=True)
class Left:
    """A resource that a run leaves behind. code: why, a code of `app.errors.PROBLEMS`."""

    kind: str
    name: str
    code: str


@dataclass(frozen=True)
class LeftoverView:
    """A resource that a run left behind; removed_at: when a later try removed it."""

    kind: str
    name: str
    removed_at: datetime | None


@dataclass(frozen=True)
class DeploymentRecord:
    """One deployment: what was asked, how far it is, how it ended. Holds no secret.

    log_expired_at: when all its events but the last were deleted; None while they are there.
    """

    id: str
    stack_id: str
    name: str
    owner_of_stack: str
    stack_exists: bool
    manage_key_hash: str = field(repr=False)
    kind: str
    trigger: str
    actor: Actor
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
    resources: Mapping[str, ResourceView]
    log_expired_at: datetime | None = None

    @property
    def kept_log_days(self) -> int | None:
        """After how many days all events but the last were deleted; None while they are there."""
        if self.log_expired_at is None or self.concluded_at is None:
            return None
        return (self.log_expired_at - self.concluded_at).days

    @property
    def declared(self) -> Mapping[str, Any] | None:
        """What was asked for and what the template said then; None where no request was made, or none was kept."""
        return self.options.get("declared")

    @property
    def changes_password(self) -> bool:
        """Whether the stack gets another password by it; a redeployment finishes a change that was not finished."""
        return bool(self.options.get("changes_password"))

    @property
    def operation(self) -> Operation:
        """What it does to its stack."""
        return operation_of(self.kind)

    @property
    def observed(self) -> Mapping[str, Any]:
        """What Dokploy and the address showed its steps, newer over older."""
        return {name: value for step in self.steps for name, value in step.seen.items()}
