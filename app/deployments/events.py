"""Events of a deployment: frozen facts in the past tense, each with a key that every language has words for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from app.deployments.states import Conclusion, Status
from app.operations.table import operation_of


@dataclass(frozen=True)
class Event:
    """A fact about one deployment. `type` is the name of the SSE event; the fields are its parameters."""

    type: ClassVar[str]

    @property
    def key(self) -> str:
        """Which sentence says this; stable, for programs."""
        return self.type

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as plain JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class DeploymentQueued(Event):
    """The request was accepted and recorded. Always number 1."""

    type: ClassVar[str] = "deployment_queued"
    name: str
    kind: str

    @property
    def key(self) -> str:
        """One sentence a kind."""
        return f"{self.type}.{self.kind}"


@dataclass(frozen=True)
class DeploymentStarted(Event):
    """A runner started the deployment."""

    type: ClassVar[str] = "deployment_started"
    name: str
    kind: str

    @property
    def key(self) -> str:
        """One sentence a kind."""
        return f"{self.type}.{self.kind}"


@dataclass(frozen=True)
class DeploymentResumed(Event):
    """A runner continued the deployment after a restart, or took it over from another portal."""

    type: ClassVar[str] = "deployment_resumed"


@dataclass(frozen=True)
class DeploymentRetried(Event):
    """The deployment failed and is queued again. `attempt` is 2 for the first retry."""

    type: ClassVar[str] = "deployment_retried"
    kind: str
    attempt: int


@dataclass(frozen=True)
class StepStarted(Event):
    """A step started."""

    type: ClassVar[str] = "step_started"
    kind: str
    step: str

    @property
    def key(self) -> str:
        """One sentence a step; a step that is taken again is told as the first time."""
        return f"{self.type}.{operation_of(self.kind).told_as}.{self.step}"


@dataclass(frozen=True)
class StepSucceeded(Event):
    """A step succeeded, after `seconds`."""

    type: ClassVar[str] = "step_succeeded"
    kind: str
    step: str
    seconds: float

    @property
    def key(self) -> str:
        """One sentence a step; a step that is taken again is told as the first time."""
        return f"{self.type}.{operation_of(self.kind).told_as}.{self.step}"


@dataclass(frozen=True)
class StepFailed(Event):
    """A step failed. `code` says why; `details` are the parameters of its message."""

    type: ClassVar[str] = "step_failed"
    step: str
    code: str
    details: Mapping[str, str | int | float]

    @property
    def key(self) -> str:
        """The problem's own sentence."""
        return f"{self.type}.{self.code}"


@dataclass(frozen=True)
class QueuePosition(Event):
    """The position in Dokploy's queue changed; 1 is next. The estimate is null until there are measurements."""

    type: ClassVar[str] = "queue_position"
    position: int
    total: int
    estimate_seconds: float | None

    @property
    def key(self) -> str:
        """With or without an estimate."""
        return self.type if self.estimate_seconds is None else f"{self.type}.estimate"


@dataclass(frozen=True)
class Progressed(Event):
    """Something happened within a step. `what` says what, for example `container_starting`."""

    type: ClassVar[str] = "progressed"
    step: str
    what: str

    @property
    def key(self) -> str:
        """The sentence of what moved."""
        return self.what


@dataclass(frozen=True)
class LogLine(Event):
    """One line of Dokploy's deployment log, with secrets masked."""

    type: ClassVar[str] = "log_line"
    line: str


@dataclass(frozen=True)
class Warned(Event):
    """A problem that does not stop the deployment. `code` says which, for example `tls_not_ready`."""

    type: ClassVar[str] = "warning"
    code: str

    @property
    def key(self) -> str:
        """The warning's own sentence."""
        return f"{self.type}.{self.code}"


@dataclass(frozen=True)
class CancelRequested(Event):
    """The runner has received a request to cancel."""

    type: ClassVar[str] = "cancel_requested"


@dataclass(frozen=True)
class UndoStarted(Event):
    """The rollback of changes started. `undoing` is true from here on."""

    type: ClassVar[str] = "undo_started"


@dataclass(frozen=True)
class StepCompensated(Event):
    """The changes of a step were rolled back."""

    type: ClassVar[str] = "step_compensated"
    step: str


@dataclass(frozen=True)
class StepCompensationFailed(Event):
    """The changes of a step could not be rolled back in time. `code` and `details` are as in `step_failed`."""

    type: ClassVar[str] = "step_compensation_failed"
    step: str
    code: str
    details: Mapping[str, str | int | float]


@dataclass(frozen=True)
class DeploymentCompleted(Event):
    """The deployment, or one attempt of it, ended. `leftovers` are the resources that could not be removed."""

    type: ClassVar[str] = "deployment_completed"
    name: str
    kind: str
    url: str
    conclusion: str
    code: str | None
    leftovers: list[dict[str, str]]

    @property
    def key(self) -> str:
        """One sentence a kind and conclusion, another one where something is left."""
        return f"{self.type}.{self.kind}.{self.conclusion}" + (".leftovers" if self.leftovers else "")


@dataclass(frozen=True)
class RecordedEvent:
    """An event as the journal keeps it: its number in the deployment, its moment (UTC), and where the run stood."""

    deployment_id: str
    n: int
    at: datetime
    type: str
    key: str
    params: Mapping[str, Any]
    status: Status
    undoing: bool
    conclusion: Conclusion | None
