"""The states of a deployment, of its steps, and of what it creates in Dokploy."""

from enum import StrEnum


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


class StepState(StrEnum):
    """Where one step of a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class ResourceState(StrEnum):
    """Where one thing in Dokploy stands. INTENDED: a create was tried, or is about to be; it may exist."""

    PLANNED = "planned"
    INTENDED = "intended"
    PRESENT = "present"
    REMOVED = "removed"
    KEPT = "kept"


def phase_of(status: Status, *, undoing: bool) -> str:
    """Name the phase in which a deployment is: plan, execute, verify or undo."""
    if undoing:
        return "undo"
    if status in {Status.QUEUED, Status.PREPARE}:
        return "plan" if status is Status.QUEUED else "execute"
    return "execute" if status is Status.DEPLOY else "verify"
