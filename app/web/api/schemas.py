"""The JSON of the API, both ways: camelCase on the wire, a sentence for each field in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.audit import Actor
from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord
from app.deployments.sentences import describe, label_of
from app.deployments.states import phase_of
from app.i18n import Language
from app.observation.leftovers import Leftover
from app.reporting.statistics import Overview
from app.stacks.model import StackState, StackView
from app.stacks.plan import Plan
from app.stacks.quotas import Quotas
from app.store.errors import Reason
from app.web.effects import Effect, as_json
from app.web.problems import show_code
from app.web.projector import effects_of


class Body(BaseModel):
    """What a program sends."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What a program gets."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True, serialize_by_alias=True
    )


class PlanBody(Body):
    """What would be deployed."""

    name: Any = None
    """The stack's name; what is wrong with it is told in `blocked`."""
    template: str = Field("opencode", max_length=60)
    """What kind of stack; there is one, `opencode`."""
    inputs: dict[str, str] = Field(default_factory=dict, max_length=50)
    """What the template asks for; the usual one asks for nothing."""


class DeployBody(PlanBody):
    """What to deploy."""

    model_config = ConfigDict(json_schema_extra={"required": ["name"]})

    name: Any = Field(None, json_schema_extra={"type": "string"})
    """The stack's name: 3 to 30 letters, digits and hyphens."""


class ProblemDocument(Answer):
    """What went wrong (RFC 9457)."""

    class FieldError(Answer):
        """One field that is wrong."""

        field: str
        code: str
        message: str

    class Left(Answer):
        """One thing in Dokploy that could not be removed."""

        kind: str
        name: str

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    hint: str
    """What to do next."""
    who_can_mend: Literal["user", "operator", "provider"]
    errors: list[FieldError]
    suggestions: list[str] = Field(default_factory=list)
    """Names near one that is taken, which are not."""
    leftovers: list[Left] = Field(default_factory=list)
    """What of a stack could not be removed."""
    status_url: str | None = None
    """Where the deployment is that ended so."""


class CheckAnswer(Answer):
    """Whether the caller can have a name, from the portal's own record; Dokploy is asked when it is deployed."""

    name: str
    normalized: str
    valid: bool
    available: bool
    files_kept: bool = False
    """Whether files of the caller's from an earlier stack of this name are there, and would be used."""
    code: str | None
    """Why not: one of the codes that begin with `name_`."""
    message: str
    suggestions: list[str]


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


class PlanAnswer(Answer):
    """What a deployment would do; nothing was changed to find out."""

    class Planned(Answer):
        """What would be made."""

        name: str
        template: str
        url: str
        image: str
        port: int
        memory_bytes: int
        cpus: float
        variables: list[str]
        """Names only: values may be secrets."""
        volume: str
        volume_path: str
        certificate: str
        health_check: str

    class Blocked(Answer):
        """Why it would be refused."""

        phase: str
        code: str
        title: str
        detail: str
        hint: str
        field: str | None

    plan: Planned | None
    sentences: list[str]
    warnings: list[str]
    blocked: list[Blocked]


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


class LeftoversAnswer(Answer):
    """Everything that could not be removed yet."""

    class Item(LeftoverAnswer):
        """One resource, why it is there, and when its removal is retried."""

        stack: str
        code: str
        attempts: int
        left_at: datetime
        tried_at: datetime
        next_try_at: datetime | None
        needs_operator: bool
        """Whether the portal has stopped retrying, so that an operator has to act."""
        deployment_id: str
        status_url: str

    leftovers: list[Item]


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


class OverviewAnswer(Answer):
    """The portal as a whole: the last 14 days (UTC), the newest deployments, and what needs a hand."""

    class Day(Answer):
        """How many creations of stacks ended on a day, and how."""

        day: date
        succeeded: int
        failed: int
        canceled: int

    class Step(Answer):
        """How long a step of a creation took, in seconds."""

        name: str
        median: float
        slow: float
        """What only the slowest 5 % took longer than."""

    class Deployment(Answer):
        """One of the newest deployments."""

        id: str
        stack: str
        kind: str
        undoing: bool
        conclusion: str | None
        created_at: datetime
        concluded_at: datetime | None
        status_url: str

    class Stacks(Answer):
        """How many stacks are in each state.

        failed, canceled: such was their last redeployment, and they are there all the same; left: they are to go, and
        some of it could not be removed.
        """

        running: int = 0
        deploying: int = 0
        undoing: int = 0
        removing: int = 0
        failed: int = 0
        canceled: int = 0
        left: int = 0

    at: datetime
    stacks: Stacks
    max_stacks: int | None
    """How many stacks there may be; null: as many as anybody likes."""
    nearly_full: bool
    """Whether the places for stacks run out: from 80 % of them on."""
    waiting: int
    """Deployments that nobody works on yet, here or in Dokploy's line."""
    success: float | None
    """Which share of the creations that ended in these days has succeeded."""
    median_seconds: float | None
    """From the request until the stack was ready."""
    measured: int
    """Of how many creations the median and the steps are: the newest that succeeded, at most 500."""
    days: list[Day]
    """Oldest first; the last is today."""
    steps: list[Step]
    latest: list[Deployment]
    leftovers: list[LeftoversAnswer.Item]


class StackAnswer(Answer):
    """One stack that the caller manages."""

    name: str
    url: str
    state: Literal["deploying", "running", "removing", "failed"]
    template: str
    created_at: datetime
    deployment_id: str
    status_url: str
    password: str | None = None
    """Only where one stack is asked for: what its container was last started with."""
    password_pending: bool = False
    """Whether a change of the password is not finished: the next redeployment does that."""
    user_name: str = "opencode"


class KeptAnswer(Answer):
    """Files that were kept when their stack was removed."""

    name: str
    volume: str
    since: datetime


class StacksAnswer(Answer):
    """The stacks that the caller manages, newest first, and the files that are kept of those that are gone."""

    stacks: list[StackAnswer]
    kept: list[KeptAnswer]


class FollowAnswer(Answer):
    """A deployment that was begun or is being cancelled, and where it can be followed."""

    deployment_id: str
    status_url: str
    events_url: str


class RemovalAnswer(Answer):
    """How far a removal is."""

    removed: bool
    deployment_id: str
    status_url: str
    events_url: str
    resources: list[str]
    """Kinds of what was removed, where it is over."""


class HealthAnswer(Answer):
    """The process serves. What is known of Dokploy is remembered, not asked."""

    class Dokploy(Answer):
        """What is known of Dokploy."""

        reachable: bool | None
        version: str | None
        trouble: str | None
        last_answer: float | None
        circuit: Literal["closed", "open", "half_open"]
        incompatible: list[str] | None
        """Calls of the portal that this Dokploy would not take, and why; null while that is not known."""

    class Runner(Answer):
        """What runs here. enabled: whether this process runs deployments at all; active: whether it does now."""

        enabled: bool
        active: bool
        running: int
        watchers: int

    status: Literal["healthy"] = "healthy"
    version: str
    dokploy: Dokploy
    runner: Runner


class ReadyAnswer(Answer):
    """Whether the store can be written and has the right schema."""

    ready: bool
    store: bool
    schema_version: str | None
    trouble: Reason | Literal["schema"] | None
    """What is wrong: a word for programs, none while all is well."""


class EventAnswer(Answer):
    """One event, in the reader's language."""

    n: int
    at: datetime
    type: str
    key: str
    params: dict[str, Any]
    message: str
    status: str
    current_phase: str
    undoing: bool
    conclusion: str | None
    effects: list[Annotated[Effect, Field(discriminator="effect")]]
    """What it changes on a page that shows the deployment, to be applied in order; programs need none of it."""


class ServerSentEvent(Answer):
    """One event of a stream. event: its `type`, or `heartbeat`, `gap`, `waiting` or `pause`, which have no number."""

    id: str | None = None
    """The event's `n`: send it as `Last-Event-ID` to go on from there."""
    event: str | None = None
    """None where `named=false` was asked for: browsers then take it for a `message`."""
    data: str = Field(json_schema_extra={"contentMediaType": "application/json"})
    """An EventAnswer; of one without a number something of its own."""
    retry: int | None = None


def status_url(deployment_id: str) -> str:
    """Where a deployment's record is."""
    return f"/api/deployments/{deployment_id}"


def events_url(deployment_id: str) -> str:
    """Where a deployment's events are."""
    return f"/api/deployments/{deployment_id}/events"


def event_json(event: RecordedEvent, created_at: datetime, language: Language) -> dict[str, Any]:
    """An event as JSON values, as EventAnswer describes them. created_at: when its deployment was requested."""
    return {
        "n": event.n,
        "at": event.at.isoformat(),
        "type": event.type,
        "key": event.key,
        "params": dict(event.params),
        "message": describe(event.key, event.params, language),
        "status": event.status,
        "currentPhase": phase_of(event.status, undoing=event.undoing),
        "undoing": event.undoing,
        "conclusion": event.conclusion,
        "effects": as_json(effects_of(event, created_at, language)),
    }


def _public_id(actor: Actor) -> str:
    """Which account it was, or what kind of somebody: which browser it was is nobody else's business."""
    return actor.id if actor.kind == "account" else actor.kind


def deployment_answer(record: DeploymentRecord, language: Language) -> DeploymentAnswer:
    """A deployment's record as JSON."""
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


def plan_answer(plan: Plan, sentences: Sequence[str], warnings: Sequence[str]) -> PlanAnswer:
    """A plan as JSON."""
    return PlanAnswer(
        plan=PlanAnswer.Planned(
            name=plan.name,
            template=plan.template,
            url=plan.url,
            image=plan.image,
            port=plan.port,
            memory_bytes=plan.memory_bytes,
            cpus=plan.cpus,
            variables=list(plan.variables),
            volume=plan.volume,
            volume_path=plan.volume_path,
            certificate=plan.certificate_resolver or plan.certificate_type if plan.https else "plain http",
            health_check=f"GET {plan.probe_paths[0]} answers {', '.join(str(code) for code in sorted(plan.alive))}",
        ),
        sentences=list(sentences),
        warnings=list(warnings),
        blocked=[],
    )


def leftovers_answer(leftovers: Sequence[Leftover]) -> LeftoversAnswer:
    """What is left over as JSON."""
    return LeftoversAnswer(
        leftovers=[
            LeftoversAnswer.Item(
                **asdict(each), needs_operator=each.needs_operator, status_url=status_url(each.deployment_id)
            )
            for each in leftovers
        ]
    )


def overview_answer(
    overview: Overview, latest: Sequence[DeploymentRecord], leftovers: Sequence[Leftover], quotas: Quotas
) -> OverviewAnswer:
    """The portal as a whole as JSON."""
    return OverviewAnswer(
        at=overview.at,
        stacks=OverviewAnswer.Stacks(**{str(state): count for state, count in overview.stacks.items()}),
        max_stacks=quotas.stacks or None,
        nearly_full=quotas.is_near(overview.all_stacks),
        waiting=overview.waiting,
        success=overview.success,
        median_seconds=overview.seconds,
        measured=overview.measured,
        days=[OverviewAnswer.Day(**asdict(day)) for day in overview.days],
        steps=[OverviewAnswer.Step(**asdict(step)) for step in overview.steps],
        latest=[
            OverviewAnswer.Deployment(
                id=each.id,
                stack=each.name,
                kind=each.kind,
                undoing=each.undoing,
                conclusion=each.conclusion,
                created_at=each.created_at,
                concluded_at=each.concluded_at,
                status_url=status_url(each.id),
            )
            for each in latest
        ],
        leftovers=leftovers_answer(leftovers).leftovers,
    )


_STATES: Final[Mapping[StackState, Literal["deploying", "running", "removing", "failed"]]] = {
    StackState.DEPLOYING: "deploying",
    StackState.UNDOING: "removing",
    StackState.REMOVING: "removing",
    StackState.RUNNING: "running",
    StackState.FAILED: "failed",
    StackState.CANCELED: "failed",
    StackState.LEFT: "failed",
}


def stack_answer(view: StackView, *, password: str | None = None) -> StackAnswer:
    """A stack as JSON."""
    stack, newest = view.stack, view.newest
    return StackAnswer(
        name=stack.name,
        url=stack.plan["url"],
        state=_STATES[view.state],
        template=stack.template,
        created_at=stack.created_at,
        deployment_id=newest.id,
        status_url=status_url(newest.id),
        password=password,
        password_pending=stack.is_password_pending,
    )
