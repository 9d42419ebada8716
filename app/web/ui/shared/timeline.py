"""Deployments in lists: each as a small line, with its outcome, start and duration in words."""

from datetime import datetime

from app.deployments.model import DeploymentRecord
from app.deployments.sentences import label_of
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.errors import N_
from app.i18n import Language
from app.operations.operation import Operation
from app.operations.password import PASSWORD
from app.web.ui.shared.view import LineEnd, Moment, PastDeployment, SmallLine


def kind_of(record: DeploymentRecord, language: Language) -> str:
    """Say what a deployment did to its stack."""
    return language.text(shown_operation(record).label)


def shown_operation(record: DeploymentRecord) -> Operation:
    """Return the verb that people read: a redeployment that finishes a change of the password counts as that change."""
    return PASSWORD if record.changes_password else record.operation


def small_line(record: DeploymentRecord, language: Language) -> SmallLine:
    """Show a run as one small line."""
    total = len(record.steps)
    reached = _place(record)
    end: LineEnd = ""
    turned_back = record.operation.begins_stack and (record.undoing or record.conclusion is Conclusion.FAILED)
    if record.conclusion is Conclusion.CANCELED:
        end = "canceled"
    elif turned_back:
        end = "undone"
    elif record.conclusion is Conclusion.FAILED:
        end = "failed"
    label = outcome(record, language)
    if record.status is not Status.QUEUED:
        sentence = N_("{outcome}. Station {station} of {total}.")
        label = language.text(sentence, {"outcome": label, "station": reached, "total": total})
    return SmallLine(reached=reached, of=total, end=end, label=label)


def outcome(record: DeploymentRecord, language: Language) -> str:
    """Say in a few words how a run ended, or how far it is."""
    if record.conclusion is None:
        return language.text(_progress(record))
    if record.conclusion is Conclusion.SUCCEEDED:
        if not record.operation.ends_stack:
            return language.text(N_("Done"))
        is_kept = record.resources["volume"].state is ResourceState.KEPT
        return language.text(N_("Removed, files kept") if is_kept else N_("Removed completely"))
    left = any(each.removed_at is None for each in record.leftovers)
    if record.conclusion is Conclusion.CANCELED:
        if not record.operation.begins_stack:
            return language.text(N_("Cancelled"))
        return language.text(N_("Cancelled, some of it is left") if left else N_("Cancelled, undone"))
    station = {"station": label_of(record.problem["step"], language) if record.problem else ""}
    if not record.operation.begins_stack:
        return language.text(N_("Failed at “{station}”"), station)
    return language.text(
        N_("Failed at “{station}”, some of it is left") if left else N_("Failed at “{station}”, undone"), station
    )


def log_expired(record: DeploymentRecord, language: Language) -> str:
    """Say that the log was deleted; empty where it is there."""
    days = record.kept_log_days
    if days is None:
        return ""
    return language.plural("The log was deleted after {count} day.", "The log was deleted after {count} days.", days)


def past_deployment(record: DeploymentRecord, language: Language, *, title: str = "") -> PastDeployment:
    """Show a run in a list. title: shown in place of what it did."""
    return PastDeployment(
        id=record.id,
        title=title or kind_of(record, language),
        line=small_line(record, language),
        began=moment(record.created_at, language),
        outcome=outcome(record, language),
        duration=duration(record, language),
    )


def duration(record: DeploymentRecord, language: Language) -> str:
    """Say how long a run took from the request to its end; empty while it is not over."""
    if record.concluded_at is None:
        return ""
    return language.duration((record.concluded_at - record.created_at).total_seconds())


def moment(value: datetime, language: Language) -> Moment:
    """Show a moment in a language."""
    return Moment(language.moment(value), value.isoformat())


def _progress(record: DeploymentRecord) -> str:
    if record.undoing:
        return N_("Being undone")
    return N_("In line") if record.status is Status.QUEUED else N_("In progress")


def _place(record: DeploymentRecord) -> int:
    """Return the number of the step that a run has reached, or where it stopped; 1 is the first."""
    names = [step.name for step in record.steps]
    if record.problem and record.problem["step"] in names:
        return names.index(record.problem["step"]) + 1
    begun = [place for place, step in enumerate(record.steps, 1) if step.state is not StepState.PENDING]
    return max(begun, default=1)
