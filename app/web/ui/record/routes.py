"""The record of a deployment: what was declared, what was decided of it, what was seen, and each step's own times."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from app.audit import Actor
from app.deployments.model import DeploymentRecord, ResourceView, StepView
from app.deployments.sentences import STEP_LABELS, label_of
from app.deployments.states import ResourceState, StepState
from app.errors import N_
from app.i18n import Language
from app.identity import Principal
from app.stacks.plan import certificate_in_dokploys_words
from app.web.api.routes import DeploymentDep, LanguageDep, PrincipalDep
from app.web.auth.authorization import owns_deployment
from app.web.ui.deployment.routes import left_over
from app.web.ui.shared.rendering import respond
from app.web.ui.shared.timeline import duration, kind_of, log_expired, moment, outcome
from app.web.ui.views import Moment, RecordPage

router = APIRouter()

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
# By which way it came, and what kind of somebody asked: which browser it was is nobody else's business.
_TRIGGERS: Final = {
    "user": N_("A page"),
    "api": N_("The API"),
    "cli": N_("The command line"),
    "portal": N_("The portal by itself"),
}
ACTORS: Final = {
    "account": N_("Somebody with an account"),
    "browser": N_("A browser"),
    "key": N_("A manage key"),
    "operator": N_("The operator"),
    "portal": N_("The portal"),
    "anonymous": N_("Nobody known"),
}

# A value as it is shown, and what stands for it when the views are compared.
Value = tuple[str, Any]
Said = Callable[[Mapping[str, Any], Language], Value | None]


@router.get("/deployments/{deployment_id}/record")
async def record(request: Request, found: DeploymentDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """What is on record of a deployment, for whoever may see its page."""
    return respond(request, _record_page(found, principal, language))


def _record_page(record: DeploymentRecord, principal: Principal, language: Language) -> RecordPage:
    return RecordPage(
        id=record.id,
        name=record.name,
        kind=kind_of(record, language),
        trigger=language.text(_TRIGGERS.get(record.trigger, record.trigger)),
        actor=_who(record.actor, language),
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


def _who(actor: Actor, language: Language) -> str:
    return actor.email or language.text(ACTORS.get(actor.kind, actor.kind))


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


# The three views. Each says a property in its own words; what they compare is the same in all of them.


def compare(record: DeploymentRecord, language: Language) -> list[RecordPage.View]:
    """Put what was declared, decided and seen side by side, and say where they differ."""
    views = []
    for label, declared, frozen, observed in _PROPERTIES:
        first = declared(record.declared, language) if record.declared is not None else None
        second = frozen(record.plan, language)
        third = observed({**record.observed, "plan": record.plan}, language)
        meant = [each[1] for each in (first, second, third) if each is not None]
        views.append(
            RecordPage.View(
                label=language.text(label),
                declared=first[0] if first else None,
                frozen=second[0] if second else None,
                observed=third[0] if third else None,
                differs=any(each != meant[0] for each in meant),
            )
        )
    return views


def certificate_of(plan: Mapping[str, Any], language: Language) -> Value:
    """Where the certificate of a planned address comes from."""
    return _certificate(plan["https"], plan["certificate_type"], plan["certificate_resolver"], language)


def _certificate(https: bool, kind: str, resolver: str | None, language: Language) -> Value:
    if not https:
        return language.text(N_("none, plain http")), False
    said = language.text(N_("the proxy's own")) if kind == "none" else resolver or kind
    return said, (kind, resolver)


def _declared_certificate(declared: Mapping[str, Any], language: Language) -> Value:
    https = declared["address"].startswith("https:")
    _, meant = _certificate(https, *certificate_in_dokploys_words(declared["certificate"]), language)
    return declared["certificate"], meant


def _seen_certificate(seen: Mapping[str, Any], language: Language) -> Value | None:
    if seen.get("https") is None or seen.get("certificate_type") is None:
        return None
    return _certificate(seen["https"], seen["certificate_type"], seen.get("certificate_resolver"), language)


def _plain(name: str) -> Said:
    def say(values: Mapping[str, Any], _: Language) -> Value | None:
        value = values.get(name)
        return None if value is None else (str(value), value)

    return say


def _pattern(name: str) -> Said:
    """A pattern is shown as it is, and means what it comes to with the stack's name."""

    def say(values: Mapping[str, Any], _: Language) -> Value:
        return values[name], values[name].replace("{name}", values["name"])

    return say


def _memory(values: Mapping[str, Any], language: Language) -> Value:
    return language.size(values["memory_bytes"]), values["memory_bytes"]


def _cpus(values: Mapping[str, Any], language: Language) -> Value:
    return language.number(values["cpus"], 2), values["cpus"]


def _volume(values: Mapping[str, Any], _: Language) -> Value | None:
    if values.get("volume") is None or values.get("volume_path") is None:
        return None
    name = values["volume"].replace("{name}", values.get("name", ""))
    return f"{values['volume']} → {values['volume_path']}", (name, values["volume_path"])


def _variables(values: Mapping[str, Any], _: Language) -> Value:
    return ", ".join(values["variables"]), sorted(values["variables"])


def _check(values: Mapping[str, Any], _: Language) -> Value:
    paths, wanted = ", ".join(values["probe_paths"]), ", ".join(str(status) for status in sorted(values["alive"]))
    return f"{paths} → {wanted}", True


def _seen_check(seen: Mapping[str, Any], language: Language) -> Value | None:
    if "probe_path" not in seen:
        return None
    status = seen["status"]
    said = str(status) if status is not None else language.text(N_("no answer"))
    return f"{seen['probe_path']} → {said}", status in seen["plan"]["alive"]


def _seen_address(seen: Mapping[str, Any], _: Language) -> Value | None:
    """Dokploy knows the host of a route, and no port of the proxy's: where that fits, it is the planned address."""
    if seen.get("host") is None:
        return None
    host, plan = seen["host"], seen["plan"]
    return host, plan["url"] if host == plan["host"] else host


def _unknown(_: Mapping[str, Any], __: Language) -> None:
    """Nobody has looked at this."""


_PROPERTIES: Final[tuple[tuple[str, Said, Said, Said], ...]] = (
    (N_("Name"), _plain("name"), _plain("name"), _plain("project")),
    (N_("Address"), _pattern("address"), _plain("url"), _seen_address),
    (N_("Image"), _plain("image"), _plain("image"), _unknown),
    (N_("Port"), _plain("port"), _plain("port"), _plain("port")),
    (N_("Memory"), _memory, _memory, _unknown),
    (N_("Processors"), _cpus, _cpus, _unknown),
    (N_("Volume"), _volume, _volume, _volume),
    (N_("Certificate"), _declared_certificate, certificate_of, _seen_certificate),
    (N_("Variables"), _variables, _variables, _unknown),
    (N_("Health check"), _check, _check, _seen_check),
)
