"""The one projector: what each event of a deployment changes in the view of it, and the view that results.

An event has the same effects for everybody who reads a language, so a stream sends them with it; the page is their sum.
Both therefore show the same: a page that is loaded late, and one that was open from the start. Does no I/O.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from app.deployments.events import (
    CancelRequested,
    DeploymentCompleted,
    DeploymentRetried,
    Event,
    LogLine,
    QueuePosition,
    RecordedEvent,
    StepCompensated,
    StepCompensationFailed,
    StepFailed,
    StepStarted,
    StepSucceeded,
    UndoStarted,
    Warned,
)
from app.deployments.model import DeploymentRecord, StepView
from app.deployments.sentences import describe, label_of
from app.deployments.states import StepState
from app.engine.queue import Place, describe_place, is_waiting
from app.errors import N_
from app.i18n import Language
from app.operations.table import operation_of, step_of
from app.web.effects import (
    DequeueEffect,
    Effect,
    LogEffect,
    LogRow,
    QueueEffect,
    QueuePlace,
    ReloadEffect,
    SentenceEffect,
    Station,
    StationState,
    StepEffect,
    UncancelableEffect,
    UndoEffect,
    View,
    WarningEffect,
)

# What a screen reader hears after a step's name.
STATE_TEXTS: Final[Mapping[StationState, str]] = {
    "wait": N_("not started"),
    "look": N_("checking"),
    "ready": N_("the name is free"),
    "now": N_("in progress"),
    "done": N_("done"),
    "undone": N_("undone"),
    "failed": N_("failed"),
    "off": N_("not reached"),
}

# What stands beside a step after such an end, in place of its duration.
END_NOTES: Final[Mapping[str, str]] = {
    "undone": N_("Removed again"),
    "failed": N_("Failed here"),
    "left": N_("Could not be removed"),
}


def project(
    record: DeploymentRecord, events: Sequence[RecordedEvent], language: Language, *, place: Place | None = None
) -> View:
    """Show a deployment. events: all of those that the record knows of, as far as they are still kept.

    place: where it waits in the portal's own queue, which is no event. Where events are not kept any more, what can be
    told from the record stands in for them; the log has what is there.
    """
    view = View(planned_stations(record.kind, [step.name for step in record.steps], language), cancelable=False)
    view.cancelable = record.operation.can_be_canceled
    if events and events[0].n == 1:
        _apply(view, events, record, language)
    else:
        _apply(view, list(_recall(record)), record, language)
        view.log = log_of(record, events, language)
    for effect in effects_of_waiting(record, place, language):
        effect.apply(view)
    return view


def _apply(view: View, events: Sequence[RecordedEvent], record: DeploymentRecord, language: Language) -> None:
    for event in events:
        for effect in effects_of(event, record.created_at, language):
            effect.apply(view)


def log_of(record: DeploymentRecord, events: Sequence[RecordedEvent], language: Language) -> list[LogRow]:
    """Show events as rows of a log."""
    rows = [_log_effect(event, record.created_at, language) for event in events]
    return [LogRow(row.n, row.time, row.step, row.text, row.raw) for row in rows]


def effects_of(event: RecordedEvent, created_at: datetime, language: Language) -> list[Effect]:
    """Return what an event changes, to be applied in order. created_at: when the deployment was requested.

    One that nothing is known of, as a newer portal may have written it, is told and changes no step.
    """
    row = _log_effect(event, created_at, language)
    effects: list[Effect] = [row]
    if event.type == QueuePosition.type:
        effects.append(_queue_effect(QueuePlace(_AT_DEPLOY, event.params["position"])))
    elif event.key != _STILL_QUEUED:
        effects.append(DequeueEffect())
    if row.raw:
        return effects
    if event.type == Warned.type and event.key != _AWAY:
        return [*effects, WarningEffect(row.text)]
    if changes := _CHANGES.get(event.type):
        effects += changes(event, language)
    # What was done is seen; a screen reader hears what begins.
    spoken = event.type not in {StepSucceeded.type, DeploymentCompleted.type}
    return [*effects, SentenceEffect(row.text, spoken=spoken)] + ([ReloadEffect()] if event.conclusion else [])


def effects_of_waiting(record: DeploymentRecord, place: Place | None, language: Language) -> list[Effect]:
    """Return what the place in the portal's own queue changes, or a request to cancel that is made there."""
    effects: list[Effect] = []
    if place is not None:
        effects.append(_queue_effect(QueuePlace(record.steps[0].name, place.position)))
        effects.append(SentenceEffect(describe_place(place, language), spoken=True))
    elif is_waiting(record) and record.cancel_requested:
        effects.append(SentenceEffect(describe(CancelRequested.type, {}, language), spoken=True))
    if record.cancel_requested:
        effects.append(UncancelableEffect())
    return effects


def planned_stations(kind: str, steps: Sequence[str], language: Language) -> list[Station]:
    """Show the steps of a run that has not begun."""
    return [station(step, "wait", None, kind, language) for step in steps]


def station(step: str, state: StationState, note: str | float | None, kind: str, language: Language) -> Station:
    """Show one step. note: a mark of END_NOTES, seconds, or None for what the step is for."""
    if note is None:
        declared = step_of(kind, step)
        words = language.text(declared.purpose) if declared else ""
    else:
        words = _note(note, language)
    return Station(step, label_of(step, language), state, language.text(STATE_TEXTS[state]), words)


# A key, rather than a type, where one event says different things.
_STILL_QUEUED: Final = "queue_slow"
# An outage says what is going on now, and nothing any more once it is over: a sentence rather than a warning.
_AWAY: Final = "warning.dokploy_away"
_CANCELED: Final = "canceled"
_AT_DEPLOY: Final = "deploy"
# Where it failed stays in sight, although what it made is removed as well.
_UNLESS_FAILED: Final[Sequence[StationState]] = ("wait", "now", "done", "undone", "off")


def _log_effect(event: RecordedEvent, created_at: datetime, language: Language) -> LogEffect:
    seconds = max(0, int((event.at - created_at).total_seconds()))
    about_deploy = event.type in {LogLine.type, QueuePosition.type}
    step = event.params.get("step") or (_AT_DEPLOY if about_deploy else "")
    return LogEffect(
        n=event.n,
        time=f"{seconds // 60}:{seconds % 60:02}",
        step=label_of(step, language) if step else "",
        text=describe(event.key, event.params, language),
        raw=event.type == LogLine.type,
    )


def _queue_effect(place: QueuePlace) -> QueueEffect:
    return QueueEffect(before=place.before, position=place.position, between=place.between, shown=list(place.shown))


def _step_effect(
    name: str,
    state: StationState,
    note: str | float | None,
    language: Language,
    *,
    only: Sequence[StationState] = (),
    since: str = "",
) -> StepEffect:
    return StepEffect(
        name=name,
        only=only,
        state=state,
        words=language.text(STATE_TEXTS[state]),
        note=None if note is None else _note(note, language),
        since=since,
    )


def _note(note: str | float, language: Language) -> str:
    """Say a mark of END_NOTES, or seconds."""
    if isinstance(note, str):
        return language.text(END_NOTES[note]) if note else ""
    return language.duration(note)


def _retried(event: RecordedEvent, language: Language) -> list[Effect]:
    kind = event.params["kind"]
    stations = planned_stations(kind, operation_of(kind).step_names, language)
    return [StepEffect(each.name, (), each.state, each.state_text, each.note, "") for each in stations]


def _started(event: RecordedEvent, language: Language) -> list[Effect]:
    return [_step_effect(event.params["step"], "now", None, language, since=event.at.isoformat())]


def _succeeded(event: RecordedEvent, language: Language) -> list[Effect]:
    return [_step_effect(event.params["step"], "done", event.params["seconds"], language)]


def _failed(event: RecordedEvent, language: Language) -> list[Effect]:
    # What was canceled has not failed.
    if event.params["code"] == _CANCELED:
        return [_step_effect(event.params["step"], "off", "", language)]
    return [_step_effect(event.params["step"], "failed", "failed", language)]


def _cancel_requested(_event: RecordedEvent, _language: Language) -> list[Effect]:
    return [UncancelableEffect()]


def _undo_started(_event: RecordedEvent, language: Language) -> list[Effect]:
    return [
        # Under way only where the run was interrupted; what is not yet begun never will be.
        _step_effect("", "undone", "", language, only=("now",)),
        _step_effect("", "off", "", language, only=("wait",)),
        UndoEffect(),
        UncancelableEffect(),
    ]


def _compensated(event: RecordedEvent, language: Language) -> list[Effect]:
    return [_step_effect(event.params["step"], "undone", "undone", language, only=_UNLESS_FAILED)]


def _compensation_failed(event: RecordedEvent, language: Language) -> list[Effect]:
    return [_step_effect(event.params["step"], "failed", "left", language)]


def _completed(_event: RecordedEvent, language: Language) -> list[Effect]:
    return [_step_effect("", "off", "", language, only=("wait", "now")), UncancelableEffect()]


# What events change besides the log and the sentence; all others change no more than these.
_CHANGES: Final[Mapping[str, Callable[[RecordedEvent, Language], list[Effect]]]] = {
    DeploymentRetried.type: _retried,
    StepStarted.type: _started,
    StepSucceeded.type: _succeeded,
    StepFailed.type: _failed,
    CancelRequested.type: _cancel_requested,
    UndoStarted.type: _undo_started,
    StepCompensated.type: _compensated,
    StepCompensationFailed.type: _compensation_failed,
    DeploymentCompleted.type: _completed,
}


def _recall(record: DeploymentRecord) -> Iterator[RecordedEvent]:
    """Tell what must have happened for the record to be as it is, where the events themselves are not kept any more."""
    for moment, event in _recalled_events(record):
        yield RecordedEvent(
            deployment_id=record.id,
            n=0,
            at=moment,
            type=event.type,
            key=event.key,
            params=event.params,
            status=record.status,
            undoing=record.undoing,
            conclusion=record.conclusion if isinstance(event, DeploymentCompleted) else None,
        )


def _recalled_events(record: DeploymentRecord) -> Iterator[tuple[datetime, Event]]:
    begun = [step for step in record.steps if step.state is not StepState.PENDING]
    for step in begun:
        yield step.started_at or record.created_at, StepStarted(record.kind, step.name)
    for step in begun:
        if (result := _recalled_result(step, record)) is not None:
            yield step.concluded_at or record.created_at, result
    end = record.concluded_at or record.created_at
    if record.undoing:
        yield end, UndoStarted()
    for step in begun:
        if step.state is StepState.COMPENSATED:
            yield end, StepCompensated(step.name)
        elif step.state is StepState.COMPENSATION_FAILED:
            yield end, StepCompensationFailed(step.name, *_why(record))
    if record.conclusion is not None:
        left = [{"kind": each.kind, "name": each.name} for each in record.leftovers]
        code = record.problem["code"] if record.problem else None
        yield (
            end,
            DeploymentCompleted(record.name, record.kind, record.plan["url"], record.conclusion, code, left),
        )


def _recalled_result(step: StepView, record: DeploymentRecord) -> Event | None:
    if step.state is StepState.RUNNING:
        return None
    if step.state is StepState.FAILED or (record.problem and record.problem["step"] == step.name):
        return StepFailed(step.name, *_why(record))
    return StepSucceeded(record.kind, step.name, step.seconds or 0.0)


def _why(record: DeploymentRecord) -> tuple[str, Mapping[str, Any]]:
    return (record.problem["code"], record.problem["params"]) if record.problem else ("internal_error", {})
