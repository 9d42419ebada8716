"""Sentences for events: one for each key, in the reader's language."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import N_, PROBLEMS
from app.i18n import Language
from app.operations.operation import Operation
from app.operations.table import OPERATIONS


def once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Put pairs into a table. Raises ValueError where one name has two values: a step is told in one way only."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise ValueError(f"{name} is both {found[name]!r} and {value!r}")
    return found


def _of_steps(operation: Operation) -> Iterator[tuple[str, str]]:
    for step in operation.steps:
        yield f"step_started.{operation.told_as}.{step.name}", step.started
        yield f"step_succeeded.{operation.told_as}.{step.name}", step.succeeded


STEP_LABELS = once((step.name, step.label) for each in OPERATIONS.values() for step in each.steps)

MESSAGES = {
    **once(pair for each in OPERATIONS.values() for pair in [*each.sentences.items(), *_of_steps(each)]),
    "deployment_resumed": N_("The portal restarted and goes on where it was."),
    "deployment_retried": N_("Attempt {attempt} is queued."),
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
}

# Written by a newer portal beside this one.
_UNKNOWN = N_("This version of the portal cannot describe this event.")


def label_of(step: str, language: Language) -> str:
    """Return what a step is called; one that only a newer portal knows goes by its name."""
    return language.text(STEP_LABELS[step]) if step in STEP_LABELS else step


def describe(key: str, params: Mapping[str, Any], language: Language) -> str:
    """Say an event in a language."""
    if not (params["code"] in PROBLEMS if "details" in params else key in MESSAGES):
        return language.text(_UNKNOWN)
    if key.startswith("step_failed."):
        return language.text(PROBLEMS[params["code"]].detail, params["details"])
    shown = dict(params)
    if params.get("estimate_seconds") is not None:
        shown["estimate"] = language.duration(params["estimate_seconds"])
    if "step" in params:
        shown["step"] = label_of(params["step"], language)
    if key == "step_compensation_failed":
        shown["detail"] = language.text(PROBLEMS[params["code"]].detail, params["details"])
    plain = {name: value for name, value in shown.items() if isinstance(value, str | int | float)}
    return language.text(MESSAGES[key], plain)
