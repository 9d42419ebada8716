"""The line of a deployment as its pages draw it: each station, how it looks, and what is noted beside it."""

from collections.abc import Sequence
from dataclasses import replace

from app.deployments.events import STEP_LABELS, Status
from app.deployments.record import DeploymentRecord, StepView
from app.deployments.saga import StepState
from app.i18n import Language
from app.web.contexts import Station, StationState
from app.web.templating import END_NOTES, STATE_TEXTS, STATION_NOTES


def planned_stations(kind: str, language: Language) -> Sequence[Station]:
    """The stations of a run that has not begun. kind: as in STATION_NOTES."""
    return [station(step, "wait", None, kind, language) for step in STATION_NOTES[kind]]


def stations(record: DeploymentRecord, language: Language) -> list[Station]:
    """The stations of a run, as far as it is."""
    over = record.status is Status.COMPLETED
    found = []
    for step in record.steps:
        shown = station(step.name, *_state_of(step, record, over=over), record.kind, language)
        began = step.started_at.isoformat() if shown.state == "now" and step.started_at else ""
        found.append(replace(shown, began=began))
    return found


def _state_of(step: StepView, record: DeploymentRecord, *, over: bool) -> tuple[StationState, str | float | None]:
    """How a station looks, and what is noted beside it: a sentence's mark, seconds, or None for what it is for."""
    if step.state is StepState.COMPENSATION_FAILED:
        return "failed", "left"
    # Where it stopped stays in sight, although what it had made is removed as well.
    if record.problem and record.problem["step"] == step.name and record.problem["code"] != "canceled":
        return "failed", "failed"
    if step.state is StepState.FAILED:
        return ("failed", "failed") if record.problem and record.problem["code"] != "canceled" else ("off", "")
    if step.state is StepState.COMPENSATED:
        return "undone", "undone"
    if step.state is StepState.SUCCEEDED:
        return "done", step.seconds
    if step.state is StepState.RUNNING:
        return "now", None
    return ("off", "") if over or record.undoing else ("wait", None)


def station(step: str, state: StationState, note: str | float | None, kind: str, language: Language) -> Station:
    """One station. note: a mark of END_NOTES, seconds, or None for what the station is for."""
    if note is None:
        words = language.text(STATION_NOTES[kind][step])
    elif isinstance(note, str):
        words = language.text(END_NOTES[note]) if note else ""
    else:
        words = language.duration(note)
    return Station(
        name=step,
        label=language.text(STEP_LABELS[step]),
        state=state,
        state_text=language.text(STATE_TEXTS[state]),
        note=words,
    )
