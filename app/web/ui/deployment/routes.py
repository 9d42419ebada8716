"""The page of one deployment: its progress while it runs, and how it ended."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord
from app.deployments.states import Conclusion, ResourceState
from app.errors import N_, PortalError
from app.i18n import Language
from app.identity import Principal
from app.portal import Portal
from app.stacks.model import is_there
from app.stacks.queries import PAGE
from app.web.api.routes import DeploymentDep, LanguageDep, PortalDep, PrincipalDep, cancel_deployment
from app.web.auth.authorization import owns_deployment
from app.web.deps import portal_of
from app.web.problems import show_code
from app.web.projector import project
from app.web.ui.shared.passwords import password_of
from app.web.ui.shared.qr import qr_code
from app.web.ui.shared.rendering import respond
from app.web.ui.shared.timeline import log_expired
from app.web.ui.views import DeploymentPage

router = APIRouter()

RESOURCES: Final = {
    "domain": N_("The address {name}"),
    "application": N_("The application {name}, with its settings and password"),
    "volume": N_("The volume {name}"),
    "project": N_("The project {name}"),
}


@router.get("/deployments/{deployment_id}")
async def deployment(
    request: Request, found: DeploymentDep, principal: PrincipalDep, language: LanguageDep
) -> Response:
    """A deployment: its progress, or how it ended."""
    return respond(request, await _deployment_page(request, found, principal, language))


async def events_of(portal: Portal, record: DeploymentRecord) -> list[RecordedEvent]:
    """Every event that a record knows of, so that both are of one moment."""
    events: list[RecordedEvent] = []
    while True:
        batch = await portal.records.events(record.id, events[-1].n if events else 0)
        events += [event for event in batch if event.n <= record.last_event]
        if len(batch) < PAGE or batch[-1].n >= record.last_event:
            return events


async def _deployment_page(
    request: Request,
    record: DeploymentRecord,
    principal: Principal,
    language: Language,
) -> DeploymentPage:
    manager = owns_deployment(principal, record)
    over = record.conclusion is not None
    problem = show_code(record.problem["code"], record.problem["params"], language) if record.problem else None
    plan = record.plan
    place = await portal_of(request).waiting.place(record)
    view = project(record, await events_of(portal_of(request), record), language, place=place)
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
        undoing=view.undoing and not over,
        conclusion=record.conclusion,
        sentence=view.sentence,
        stations=view.stations,
        log=view.log,
        last_event=record.last_event,
        clock=datetime.now(UTC).isoformat(),
        warnings=view.warnings,
        manager=manager,
        cancelable=view.cancelable,
        queue=view.queue,
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
        log_expired=log_expired(record, language),
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


async def _password(portal: Portal, principal: Principal, record: DeploymentRecord) -> str | None:
    stack = await portal.records.find_stack(record.name)
    if stack is None or stack.id != record.stack_id:
        return None
    return password_of(portal, principal, stack)


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
