"""What the record of a deployment is given: its steps with their times, its resources, and the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.deployments.model import DeploymentRecord, ResourceView, StepView
from app.deployments.sentences import STEP_LABELS, label_of
from app.deployments.states import ResourceState, StepState
from app.errors import N_
from app.i18n import Language
from app.identity import Principal
from app.web.auth.authorization import owns_deployment
from app.web.ui.record.comparison import ComparedProperty, compare
from app.web.ui.shared.actors import actor_in_words
from app.web.ui.shared.resources import left_over
from app.web.ui.shared.timeline import duration, kind_of, log_expired, moment, outcome
from app.web.ui.shared.view import Moment, Page

_STEP_STATES: Final = {
    StepState.PENDING: N_("not started"),
    StepState.RUNNING: N_("in progress"),
    StepState.SUCCEEDED: N_("done"),
    StepState.FAILED: N_("failed"),
    StepState.COMPENSATED: N_("undone"),
    StepState.COMPENSATION_FAILED: N_("not undone"),
}
_PIECES: Final = {
    "project": STEP_LABELS["project"],
    "application": STEP_LABELS["application"],
    "domain": STEP_LABELS["domain"],
    "mount": N_("Mount"),
    "volume": STEP_LABELS["volume"],
}
_PIECE_STATES: Final = {
    ResourceState.PLANNED: N_("never made"),
    ResourceState.INTENDED: N_("perhaps there"),
    ResourceState.PRESENT: N_("there"),
    ResourceState.REMOVED: N_("removed"),
    ResourceState.KEPT: N_("kept"),
}
_TRIGGERS: Final = {
    "user": N_("A page"),
    "api": N_("The API"),
    "cli": N_("The command line"),
    "portal": N_("The portal by itself"),
}


@dataclass(frozen=True)
class RecordPage(Page):
    """What is on record of a deployment.

    views: what was declared, what was decided and what was seen, side by side; has_declared: whether the first of them
    was recorded at all; pieces: the stack's things in Dokploy; manager: whether the viewer manages the stack;
    log_expired: a sentence, where the log was deleted.
    """

    template = "record/record.html"
    section = "deploy"

    @dataclass(frozen=True)
    class Step:
        """One step. Moments are empty where it never began, or never ended."""

        label: str
        state: str
        attempts: int
        began: Moment | None
        ended: Moment | None
        duration: str

    @dataclass(frozen=True)
    class Piece:
        """Something in Dokploy, as it was left. dokploy_id: empty where it never had one."""

        label: str
        name: str
        state: str
        dokploy_id: str
        changed: Moment

    id: str
    name: str
    kind: str
    trigger: str
    actor: str
    outcome: str
    created: Moment
    started: Moment | None
    concluded: Moment | None
    duration: str
    steps: Sequence[Step]
    pieces: Sequence[Piece]
    views: Sequence[ComparedProperty]
    leftovers: Sequence[str]
    has_declared: bool
    over: bool = True
    stack_exists: bool = False
    manager: bool = False
    log_expired: str = ""


def record_page(record: DeploymentRecord, principal: Principal, language: Language) -> RecordPage:
    """Show what is on record of a deployment."""
    return RecordPage(
        id=record.id,
        name=record.name,
        kind=kind_of(record, language),
        trigger=language.text(_TRIGGERS.get(record.trigger, record.trigger)),
        actor=actor_in_words(record.actor, language),
        outcome=outcome(record, language),
        created=moment(record.created_at, language),
        started=moment(record.started_at, language) if record.started_at else None,
        concluded=moment(record.concluded_at, language) if record.concluded_at else None,
        duration=duration(record, language),
        steps=[_step(step, record, language) for step in record.steps],
        pieces=[_piece(record.resources[kind], record, language) for kind in _PIECES],
        views=compare(record, language),
        leftovers=left_over(record, language),
        has_declared=record.declared is not None,
        over=record.conclusion is not None,
        stack_exists=record.stack_exists,
        manager=owns_deployment(principal, record),
        log_expired=log_expired(record, language),
    )


def _step(step: StepView, record: DeploymentRecord, language: Language) -> RecordPage.Step:
    state = _STEP_STATES[step.state]
    # Where it stopped is undone with the rest, and yet is where it stopped.
    if step.state is StepState.COMPENSATED and record.problem and record.problem["step"] == step.name:
        state = N_("failed, undone")
    return RecordPage.Step(
        label=label_of(step.name, language),
        state=language.text(state),
        attempts=step.attempts,
        began=_clock(step.started_at, language),
        ended=_clock(step.concluded_at, language),
        duration=language.duration(step.seconds) if step.seconds is not None else "",
    )


def _clock(value: datetime | None, language: Language) -> Moment | None:
    return Moment(language.clock(value), value.isoformat()) if value else None


def _piece(piece: ResourceView, record: DeploymentRecord, language: Language) -> RecordPage.Piece:
    state = _PIECE_STATES[piece.state]
    if piece.kind == "volume" and record.observed.get("volume_listed") is False:
        state = N_("removed, and seen to be gone")
    return RecordPage.Piece(
        label=language.text(_PIECES[piece.kind]),
        name=piece.name,
        state=language.text(state),
        dokploy_id=piece.dokploy_id or "",
        changed=moment(piece.changed_at, language),
    )
