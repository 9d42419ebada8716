"""The page of one deployment: its progress while it runs, and how it ended."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord
from app.deployments.sentences import describe, label_of
from app.deployments.states import Conclusion, ResourceState, phase_of
from app.engine.queue import Place, describe_place, is_waiting
from app.errors import N_, PortalError
from app.i18n import Language
from app.identity import Principal
from app.portal import Portal
from app.stacks.model import is_there
from app.stacks.queries import PAGE
from app.web.api.routes import DeploymentDep, LanguageDep, PortalDep, PrincipalDep, cancel_deployment
from app.web.auth.authorization import find_deployment, owns_deployment
from app.web.deps import portal_of
from app.web.problems import show_code
from app.web.ui.shared.passwords import password_of
from app.web.ui.shared.qr import qr_code
from app.web.ui.shared.rendering import respond
from app.web.ui.shared.timeline import stations
from app.web.ui.views import DeploymentPage, LogRow, QueuePlace

router = APIRouter()

RESOURCES: Final = {
    "domain": N_("The address {name}"),
    "application": N_("The application {name}, with its settings and password"),
    "volume": N_("The volume {name}"),
    "project": N_("The project {name}"),
}


@router.get("/deployments/{deployment_id}")
async def deployment(
    request: Request, found: DeploymentDep, portal: PortalDep, principal: PrincipalDep, language: LanguageDep
) -> Response:
    """A deployment: its progress, or how it ended."""
    # Events first: the record is then at least as new, and the page's script goes on after the last event shown.
    events = await all_events(portal, found.id)
    record = await find_deployment(portal, found.id)
    return respond(request, await _deployment_page(request, record, events, principal, language))


async def all_events(portal: Portal, deployment_id: str) -> list[RecordedEvent]:
    """Every event of a deployment so far."""
    events: list[RecordedEvent] = []
    while True:
        batch = await portal.records.events(deployment_id, events[-1].n if events else 0)
        events += batch
        if len(batch) < PAGE:
            return events


async def _deployment_page(
    request: Request,
    record: DeploymentRecord,
    events: Sequence[RecordedEvent],
    principal: Principal,
    language: Language,
) -> DeploymentPage:
    manager = owns_deployment(principal, record)
    over = record.conclusion is not None
    problem = show_code(record.problem["code"], record.problem["params"], language) if record.problem else None
    plan = record.plan
    # Before the first station where our own limit keeps it from beginning, at Deploy where Dokploy is busy.
    place = await portal_of(request).waiting.place(record)
    queue = QueuePlace(record.steps[0].name, place.position) if place else None if over else _queue(events)
    ready = over and record.conclusion == "succeeded" and not record.operation.ends_stack and record.stack_exists
    # It may be on its way out by now, or only be held by what is left of it.
    newest = await portal_of(request).records.newest_deployment(record.stack_id) if ready else None
    if newest is not None and not is_there(newest):
        ready = False
    erased = await _erases(portal_of(request), record)
    return DeploymentPage(
        id=record.id,
        begins_stack=record.operation.begins_stack,
        ends_stack=record.operation.ends_stack,
        name=record.name,
        host=plan["host"],
        url=plan["url"],
        image=plan["image"],
        status=record.status,
        phase=phase_of(record.status, undoing=record.undoing),
        undoing=record.undoing and not over,
        conclusion=record.conclusion,
        sentence=_sentence(record, events, place, language),
        stations=stations(record, language),
        log=log_rows(events, record, language),
        last_event=events[-1].n if events else 0,
        started=record.created_at.isoformat(),
        clock=datetime.now(UTC).isoformat(),
        warnings=_warnings(events, language),
        manager=manager,
        cancelable=record.operation.can_be_canceled and not over and not record.undoing and not record.cancel_requested,
        queue=queue,
        problem=problem,
        password=await _password(portal_of(request), principal, record) if manager and ready else None,
        removed=_removed(record, ["volume"] if erased else RESOURCES, language),
        leftovers=left_over(record, language),
        stack_exists=record.stack_exists,
        changed_by=newest.id if newest is not None and not ready else "",
        qr=qr_code(plan["url"]) if ready else None,
        volume_path=plan["volume_path"],
        kept=await _kept(portal_of(request), record),
        changes_password=record.changes_password,
        erased=erased,
    )


async def _erases(portal: Portal, record: DeploymentRecord) -> bool:
    """Whether it is about files that were kept: the removal before it came to its end, and left nothing else."""
    if not record.operation.ends_stack:
        return False
    before = await portal.records.deployments_of(record.stack_id, limit=1, after=record.id)
    return any(each.operation.ends_stack and each.conclusion is Conclusion.SUCCEEDED for each in before)


async def _kept(portal: Portal, record: DeploymentRecord) -> str:
    """The volume that is kept of a stack that is gone; empty where there is none, or a newer stack has it."""
    if not record.operation.ends_stack or record.stack_exists:
        return ""
    found = await portal.records.kept_files(name=record.name)
    return next((each.volume for each in found if each.stack_id == record.stack_id), "")


# An outage says what is going on now, and nothing any more once it is over: a sentence rather than a warning.
_AWAY = "warning.dokploy_away"


async def _password(portal: Portal, principal: Principal, record: DeploymentRecord) -> str | None:
    stack = await portal.records.find_stack(record.name)
    if stack is None or stack.id != record.stack_id:
        return None
    return password_of(portal, principal, stack)


def _sentence(
    record: DeploymentRecord, events: Sequence[RecordedEvent], place: Place | None, language: Language
) -> str:
    if place is not None:
        return describe_place(place, language)
    if is_waiting(record) and record.cancel_requested:
        return describe("cancel_requested", {}, language)
    for event in reversed(events):
        if event.key == _AWAY or event.type not in {"log_line", "warning"}:
            return describe(event.key, event.params, language)
    return ""


def _warnings(events: Sequence[RecordedEvent], language: Language) -> list[str]:
    return [
        describe(event.key, event.params, language)
        for event in events
        if event.type == "warning" and event.key != _AWAY
    ]


def _queue(events: Sequence[RecordedEvent]) -> QueuePlace | None:
    """The place in Dokploy's line, as long as nothing has moved since it was told."""
    for event in reversed(events):
        if event.type == "queue_position":
            return QueuePlace("deploy", event.params["position"])
        if event.key != "queue_slow":
            return None
    return None


def log_rows(events: Sequence[RecordedEvent], record: DeploymentRecord, language: Language) -> list[LogRow]:
    """The log of a deployment."""
    return [_log_row(event, record.created_at, language) for event in events]


def _log_row(event: RecordedEvent, since: datetime, language: Language) -> LogRow:
    """An event as a row, the same that the page's script makes of it when it comes live."""
    seconds = max(0, _milliseconds(event.at) - _milliseconds(since)) // 1000
    step = event.params.get("step") or ("deploy" if event.type in {"log_line", "queue_position"} else "")
    return LogRow(
        n=event.n,
        time=f"{seconds // 60}:{seconds % 60:02}",
        step=label_of(step, language) if step else "",
        text=describe(event.key, event.params, language),
        raw=event.type == "log_line",
    )


def _milliseconds(moment: datetime) -> int:
    # Browsers know no shorter time; rounded as they do, both count the same seconds.
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def left_over(record: DeploymentRecord, language: Language) -> list[str]:
    """What a run has left behind and is still there."""
    return [
        name_resource(each.kind, each.name, language)
        for each in record.leftovers
        if each.kind in RESOURCES and each.removed_at is None
    ]


def _removed(record: DeploymentRecord, kinds: Iterable[str], language: Language) -> list[str]:
    """What is gone by now, of some kinds of things."""
    names = {
        "domain": record.plan["host"],
        "application": record.plan["application"],
        "volume": record.plan["volume"],
        "project": record.plan["project"],
    }
    gone = [kind for kind in kinds if record.resources[kind].state is ResourceState.REMOVED]
    return [name_resource(kind, names[kind], language) for kind in gone]


def name_resource(kind: str, name: str, language: Language) -> str:
    """Say what a thing in Dokploy is to the person whose stack it is."""
    return language.text(RESOURCES[kind], {"name": name})


@router.post("/deployments/{deployment_id}/cancel")
async def cancel(record: DeploymentDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Cancel from the page; one that has just ended is simply shown."""
    try:
        await cancel_deployment(portal, principal, record)
    except PortalError as error:
        if error.code != "deployment_over":
            raise
    return RedirectResponse(f"/deployments/{record.id}", status_code=303)
