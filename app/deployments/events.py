"""What happened to a deployment: frozen facts in the past tense, each with a key that every language has words for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from app.errors import N_, PROBLEMS
from app.i18n import Language


class Status(StrEnum):
    """How far a deployment is. While it is being undone the status stays where it was."""

    QUEUED = "queued"
    PREPARE = "prepare"
    DEPLOY = "deploy"
    FINALIZE = "finalize"
    COMPLETED = "completed"


class Conclusion(StrEnum):
    """How a deployment ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"


class Kind(StrEnum):
    """What a deployment does to its stack. REDEPLOY: makes it again what its plan says, and looks at it anew."""

    CREATE = "create"
    REDEPLOY = "redeploy"
    REMOVE = "remove"


# The stations, in reading order. configure and domain run side by side.
CREATE_STEPS = ("validate", "project", "application", "configure", "domain", "deploy", "verify")
REDEPLOY_STEPS = CREATE_STEPS[1:]
REMOVE_STEPS = ("release", "application", "domain", "volume", "project")

STEPS = {Kind.CREATE: CREATE_STEPS, Kind.REDEPLOY: REDEPLOY_STEPS, Kind.REMOVE: REMOVE_STEPS}

STEP_LABELS = {
    "validate": N_("Check"),
    "project": N_("Project"),
    "application": N_("Application"),
    "configure": N_("Settings"),
    "domain": N_("Address"),
    "deploy": N_("Deploy"),
    "verify": N_("Verify"),
    "release": N_("Stop"),
    "volume": N_("Volume"),
}

_MESSAGES = {
    "deployment_queued.create": N_("{name} is in line."),
    "deployment_queued.redeploy": N_("{name} is in line to be deployed again."),
    "deployment_queued.remove": N_("The removal of {name} is in line."),
    "deployment_started.create": N_("The deployment of {name} has started."),
    "deployment_started.redeploy": N_("{name} is being deployed again."),
    "deployment_started.remove": N_("The removal of {name} has started."),
    "deployment_resumed": N_("The portal restarted and goes on where it was."),
    "step_started.create.validate": N_("Checking that the name and the address are free."),
    "step_started.create.project": N_("Creating the project in Dokploy."),
    "step_started.create.application": N_("Creating the application."),
    "step_started.create.configure": N_("Setting the image, the password, the limits and the volume."),
    "step_started.create.domain": N_("Setting the route to the address."),
    "step_started.create.deploy": N_("Asking Dokploy to start the container."),
    "step_started.create.verify": N_("Opening the address to be sure that it answers."),
    "step_started.remove.release": N_("Waiting until Dokploy lets go of the stack."),
    "step_started.remove.domain": N_("Removing the address."),
    "step_started.remove.application": N_("Removing the application and its container."),
    "step_started.remove.volume": N_("Dealing with the volume."),
    "step_started.remove.project": N_("Removing the project."),
    "step_succeeded.create.validate": N_("The name and the address are free."),
    "step_succeeded.create.project": N_("The project is there."),
    "step_succeeded.create.application": N_("The application is there."),
    "step_succeeded.create.configure": N_("The image, the password, the limits and the volume are set."),
    "step_succeeded.create.domain": N_("The route to the address is set."),
    "step_succeeded.create.deploy": N_("Dokploy has deployed the image."),
    "step_succeeded.create.verify": N_("The address answers, and asks strangers for the password."),
    "step_succeeded.remove.release": N_("Dokploy has let go of the stack."),
    "step_succeeded.remove.domain": N_("The address is removed."),
    "step_succeeded.remove.application": N_("The application and its container are removed."),
    "step_succeeded.remove.volume": N_("The volume is dealt with."),
    "step_succeeded.remove.project": N_("The project is removed."),
    "queue_position": N_("In Dokploy's line at place {position} of {total}."),
    "queue_position.estimate": N_("In Dokploy's line at place {position} of {total}, about {estimate} to go."),
    "queue_slow": N_("Still waiting in Dokploy's line. Dokploy is busy with other deployments."),
    "deploy_triggered_again": N_("Dokploy lost the deployment in a restart; it was asked again."),
    "container_running": N_("Dokploy is starting the container."),
    "container_starting": N_("The container is starting."),
    "container_answering": N_("The container runs; waiting for its address."),
    "route_left": N_("The proxy still answers at the address; it is listed as left over."),
    "volume_left": N_("Docker still holds the volume; it is listed as left over."),
    "log_line": "{line}",
    "warning.dokploy_away": N_("Dokploy does not answer. This goes on as soon as it does."),
    "warning.tls_not_ready": N_("The certificate of the address is not valid yet. It usually is a few minutes later."),
    "warning.files_kept": N_("The files of an earlier stack of this name were kept, and are used again."),
    "warning.plain_http": N_("The address is plain http: whoever is on the way can read along."),
    "cancel_requested": N_("Cancelling was asked for."),
    "undo_started": N_("Undoing what was made."),
    "undo_waiting": N_("Dokploy is still working on it; this goes on as soon as it lets go."),
    "step_compensated": N_("{step}: undone."),
    "step_compensation_failed": N_("{step}: could not be undone. {detail}"),
    "deployment_completed.create.succeeded": N_("{name} is ready at {url}."),
    "deployment_completed.create.failed": N_("{name} was not deployed. Everything that was made is removed again."),
    "deployment_completed.create.failed.leftovers": N_("{name} was not deployed. Some of it could not be removed."),
    "deployment_completed.create.canceled": N_("Cancelled. Everything that was made is removed again."),
    "deployment_completed.create.canceled.leftovers": N_("Cancelled. Some of it could not be removed."),
    "deployment_completed.redeploy.succeeded": N_("{name} is ready again at {url}."),
    "deployment_completed.redeploy.failed": N_("{name} could not be deployed again. What is there was left as it is."),
    "deployment_completed.redeploy.canceled": N_("Cancelled. What is there was left as it is."),
    "deployment_completed.remove.succeeded": N_("{name} is removed."),
    "deployment_completed.remove.failed.leftovers": N_("{name} could not be removed completely."),
}


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
    """The request was accepted and recorded; nothing is done yet."""

    type: ClassVar[str] = "deployment_queued"
    name: str
    kind: str

    @property
    def key(self) -> str:
        """One sentence a kind."""
        return f"{self.type}.{self.kind}"


@dataclass(frozen=True)
class DeploymentStarted(Event):
    """A runner took the deployment."""

    type: ClassVar[str] = "deployment_started"
    name: str
    kind: str

    @property
    def key(self) -> str:
        """One sentence a kind."""
        return f"{self.type}.{self.kind}"


@dataclass(frozen=True)
class DeploymentResumed(Event):
    """A runner took up a deployment that another, or an earlier start of the portal, had begun."""

    type: ClassVar[str] = "deployment_resumed"


def _told_as(kind: str) -> str:
    return Kind.CREATE if kind == Kind.REDEPLOY else kind


@dataclass(frozen=True)
class StepStarted(Event):
    """A station was reached."""

    type: ClassVar[str] = "step_started"
    kind: str
    step: str

    @property
    def key(self) -> str:
        """One sentence a step; a step that is taken again is told as the first time."""
        return f"{self.type}.{_told_as(self.kind)}.{self.step}"


@dataclass(frozen=True)
class StepSucceeded(Event):
    """A station was passed. seconds: how long it took."""

    type: ClassVar[str] = "step_succeeded"
    kind: str
    step: str
    seconds: float

    @property
    def key(self) -> str:
        """One sentence a step; a step that is taken again is told as the first time."""
        return f"{self.type}.{_told_as(self.kind)}.{self.step}"


@dataclass(frozen=True)
class StepFailed(Event):
    """A station failed. code: a code of `app.errors.PROBLEMS`; details: that problem's parameters."""

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
    """Our job's place in Dokploy's line. position: 1 is next; estimate_seconds: None where nothing was measured yet."""

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
    """Something within a step moved on. what: queue_slow, container_running, container_starting and so on."""

    type: ClassVar[str] = "progressed"
    step: str
    what: str

    @property
    def key(self) -> str:
        """The sentence of what moved."""
        return self.what


@dataclass(frozen=True)
class LogLine(Event):
    """One line of Dokploy's log of the deployment, secrets masked."""

    type: ClassVar[str] = "log_line"
    line: str


@dataclass(frozen=True)
class Warned(Event):
    """Something is not as it should be, but the deployment goes on. code: dokploy_away, tls_not_ready, plain_http."""

    type: ClassVar[str] = "warning"
    code: str

    @property
    def key(self) -> str:
        """The warning's own sentence."""
        return f"{self.type}.{self.code}"


@dataclass(frozen=True)
class CancelRequested(Event):
    """Somebody asked to cancel, and the runner has seen it."""

    type: ClassVar[str] = "cancel_requested"


@dataclass(frozen=True)
class UndoStarted(Event):
    """The run turned back: `undoing` is true from here on."""

    type: ClassVar[str] = "undo_started"


@dataclass(frozen=True)
class StepCompensated(Event):
    """What a step had made is gone again."""

    type: ClassVar[str] = "step_compensated"
    step: str


@dataclass(frozen=True)
class StepCompensationFailed(Event):
    """What a step had made could not be removed in time. code and details: as in StepFailed."""

    type: ClassVar[str] = "step_compensation_failed"
    step: str
    code: str
    details: Mapping[str, str | int | float]


@dataclass(frozen=True)
class DeploymentCompleted(Event):
    """The last event, always. leftovers: resources that could not be removed, as `kind` and `name`."""

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


def phase_of(status: Status, *, undoing: bool) -> str:
    """Name the phase in which a deployment is: plan, execute, verify or undo."""
    if undoing:
        return "undo"
    if status in {Status.QUEUED, Status.PREPARE}:
        return "plan" if status is Status.QUEUED else "execute"
    return "execute" if status is Status.DEPLOY else "verify"


def describe(key: str, params: Mapping[str, Any], language: Language) -> str:
    """Say an event in a language."""
    if key.startswith("step_failed."):
        return language.text(PROBLEMS[params["code"]].detail, params["details"])
    shown = dict(params)
    if params.get("estimate_seconds") is not None:
        shown["estimate"] = language.duration(params["estimate_seconds"])
    if "step" in params:
        shown["step"] = language.text(STEP_LABELS[params["step"]])
    if key == "step_compensation_failed":
        shown["detail"] = language.text(PROBLEMS[params["code"]].detail, params["details"])
    plain = {name: value for name, value in shown.items() if isinstance(value, str | int | float)}
    return language.text(_MESSAGES[key], plain)
