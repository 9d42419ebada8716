"""The JSON of deployments: accepted, running or completed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from app.audit import Actor
from app.deployments.model import DeploymentRecord
from app.deployments.sentences import label_of
from app.deployments.states import phase_of
from app.i18n import Language
from app.store.paging import Page
from app.web.api.schemas.base import Answer, PageAnswer
from app.web.problems import show_code


class AcceptedAnswer(Answer):
    """A deployment that was taken in."""

    success: Literal[True] = True
    deployment_id: str
    stack_name: str
    url: str
    status_url: str
    events_url: str
    manage_key: str | None
    """What opens this stack, shown this once; none for whoever has an account, or a token that was made for less."""
    """Manages the stack: send it as a Bearer token. Shown now, and to nobody else."""


class StepAnswer(Answer):
    """One step of a deployment. seen: what Dokploy, or the address, showed it."""

    name: str
    label: str
    state: str
    attempts: int
    started_at: datetime | None
    concluded_at: datetime | None
    seconds: float | None
    seen: dict[str, Any]


class ResourceAnswer(Answer):
    """Something of the stack's in Dokploy, as the deployment that changed it last has left it."""

    kind: str
    name: str
    state: Literal["planned", "intended", "present", "removed", "kept"]
    dokploy_id: str | None
    changed_at: datetime


class LeftoverAnswer(Answer):
    """Something in Dokploy that could not be removed: project, application, mount, domain or volume."""

    kind: str
    name: str
    removed_at: datetime | None
    """When a later attempt removed it. Until then the portal retries; `/api/leftovers` says whether it still does."""


class ProblemAnswer(Answer):
    """Why a deployment failed."""

    code: str
    step: str
    title: str
    detail: str
    hint: str
    who_can_mend: str


class ActorAnswer(Answer):
    """Who did something. id: of an account, or what kind of somebody it was; email: where one is known."""

    id: str
    email: str | None
    role: str


class DeploymentAnswer(Answer):
    """The record of one deployment."""

    id: str
    stack: str
    kind: str
    url: str
    status: str
    current_phase: str
    undoing: bool
    conclusion: str | None
    source_summary: str
    recovery_hint: str | None
    problem: ProblemAnswer | None
    leftovers: list[LeftoverAnswer]
    steps: list[StepAnswer]
    last_event: int
    cancel_requested: bool
    trigger: str
    actor: ActorAnswer
    changes_password: bool
    """Whether the stack gets another password by it."""
    declared: dict[str, Any] | None
    """What was asked for and what the template said then; none where that is not known."""
    plan: dict[str, Any]
    """What was decided of it when it was queued, and has not changed since."""
    resources: list[ResourceAnswer]
    created_at: datetime
    started_at: datetime | None
    concluded_at: datetime | None
    log_expired_at: datetime | None
    """When all events but the last were deleted, as the operator keeps them for some time only; else none."""
    events_url: str


class DeploymentSummary(Answer):
    """One deployment of a list; its record is at `statusUrl`."""

    id: str
    stack: str
    kind: str
    undoing: bool
    conclusion: str | None
    created_at: datetime
    concluded_at: datetime | None
    status_url: str


class DeploymentsAnswer(PageAnswer):
    """Deployments, newest first."""

    items: list[DeploymentSummary]


class FollowAnswer(Answer):
    """A deployment that was begun or is being cancelled, and where it can be followed."""

    deployment_id: str
    status_url: str
    events_url: str


def status_url(deployment_id: str) -> str:
    """Where a deployment's record is."""
    return f"/api/deployments/{deployment_id}"


def events_url(deployment_id: str) -> str:
    """Where a deployment's events are."""
    return f"/api/deployments/{deployment_id}/events"


def follow_answer(deployment_id: str) -> FollowAnswer:
    """Say where a deployment can be followed."""
    return FollowAnswer(
        deployment_id=deployment_id,
        status_url=status_url(deployment_id),
        events_url=events_url(deployment_id),
    )


def _public_id(actor: Actor) -> str:
    """Which account it was, or what kind of somebody: which browser it was is nobody else's business."""
    return actor.id if actor.kind == "account" else actor.kind


def deployments_answer(page: Page[DeploymentRecord]) -> DeploymentsAnswer:
    """Return a page of deployments as JSON."""
    return DeploymentsAnswer(items=[deployment_summary(each) for each in page.items], next_cursor=page.next_cursor)


def deployment_summary(record: DeploymentRecord) -> DeploymentSummary:
    """Return a deployment of a list as JSON."""
    return DeploymentSummary(
        id=record.id,
        stack=record.name,
        kind=record.kind,
        undoing=record.undoing,
        conclusion=record.conclusion,
        created_at=record.created_at,
        concluded_at=record.concluded_at,
        status_url=status_url(record.id),
    )


def deployment_answer(record: DeploymentRecord, language: Language) -> DeploymentAnswer:
    """Return a deployment's record as JSON."""
    problem = None
    if record.problem:
        shown = show_code(record.problem["code"], record.problem["params"], language)
        problem = ProblemAnswer(
            code=shown.code,
            step=record.problem["step"],
            title=shown.title,
            detail=shown.detail,
            hint=shown.hint,
            who_can_mend=shown.who,
        )
    return DeploymentAnswer(
        id=record.id,
        stack=record.name,
        kind=record.kind,
        url=record.plan["url"],
        status=record.status,
        current_phase=phase_of(record.status, undoing=record.undoing),
        undoing=record.undoing,
        conclusion=record.conclusion,
        source_summary=record.plan["image"],
        recovery_hint=problem.hint if problem else None,
        problem=problem,
        leftovers=[
            LeftoverAnswer(kind=each.kind, name=each.name, removed_at=each.removed_at) for each in record.leftovers
        ],
        steps=[
            StepAnswer(
                name=step.name,
                label=label_of(step.name, language),
                state=step.state,
                attempts=step.attempts,
                started_at=step.started_at,
                concluded_at=step.concluded_at,
                seconds=step.seconds,
                seen=_camel(step.seen),
            )
            for step in record.steps
        ],
        last_event=record.last_event,
        cancel_requested=record.cancel_requested,
        trigger=record.trigger,
        actor=ActorAnswer(id=_public_id(record.actor), email=record.actor.email, role=str(record.actor.role)),
        changes_password=record.changes_password,
        declared=None if record.declared is None else _camel(record.declared),
        plan=_camel(record.plan),
        resources=[
            ResourceAnswer(
                kind=each.kind,
                name=each.name,
                state=each.state.value,
                dokploy_id=each.dokploy_id,
                changed_at=each.changed_at,
            )
            for each in record.resources.values()
        ],
        created_at=record.created_at,
        started_at=record.started_at,
        concluded_at=record.concluded_at,
        log_expired_at=record.log_expired_at,
        events_url=events_url(record.id),
    )


def _camel(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {to_camel(key): value for key, value in stored.items()}
