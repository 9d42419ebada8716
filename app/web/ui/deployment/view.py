"""What the page of a deployment is given: its progress while it runs, its result or its failure when it is over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.deployments.model import DeploymentRecord
from app.deployments.states import Conclusion, ResourceState
from app.i18n import Language
from app.identity import Principal
from app.portal import Portal
from app.stacks.model import is_there
from app.web.auth.authorization import owns_deployment
from app.web.effects import LogRow, QueuePlace, Station
from app.web.passwords import password_of
from app.web.problems import ShownProblem, show_code
from app.web.projector import project
from app.web.ui.shared.events import events_of
from app.web.ui.shared.qr import QrCode, qr_code
from app.web.ui.shared.resources import RESOURCES, left_over, name_resource
from app.web.ui.shared.timeline import log_expired, shown_operation
from app.web.ui.shared.view import Page


@dataclass(frozen=True)
class DeploymentPage(Page):
    """Progress while it runs, the result or the reasons when it is over.

    begins_stack: whether it creates the stack; ends_stack: whether it removes it; running, succeeded, failed:
    headings, with `{name}` for the stack; status, undoing and conclusion: as in the record; sentence: the newest
    event in words; last_event: number after which the page goes on reading; clock: the server's moment now (ISO
    8601), from which the page's script knows how far the reader's clock is off; qr: the address of a stack that runs,
    to scan; volume_path: where its files are; manager: whether this browser may cancel, delete and see the password;
    cancelable: running and not yet cancelled; password: only for a manager of a stack that runs; warnings, removed,
    leftovers: in the viewer's language; kept: the volume that a removal has kept, as long as it is; changed_by: the
    deployment after which a stack that was ready is there no more, or not yet gone; changes_password: whether the
    stack gets another password by it; erased: whether nothing but the files of a stack that was gone is removed by
    it; log_expired: a sentence, where the log was deleted.
    """

    template = "deployment/deployment.html"
    section = "deploy"
    id: str
    begins_stack: bool
    ends_stack: bool
    name: str
    running: str
    succeeded: str
    failed: str
    host: str
    url: str
    image: str
    status: str
    undoing: bool
    conclusion: str | None
    sentence: str
    stations: Sequence[Station]
    log: Sequence[LogRow]
    last_event: int
    manager: bool
    cancelable: bool
    clock: str = ""
    warnings: Sequence[str] = ()
    queue: QueuePlace | None = None
    problem: ShownProblem | None = None
    password: str | None = None
    user_name: str = "opencode"
    removed: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    stack_exists: bool = False
    changed_by: str = ""
    qr: QrCode | None = None
    volume_path: str = ""
    kept: str = ""
    changes_password: bool = False
    erased: bool = False
    log_expired: str = ""


async def deployment_page(
    portal: Portal, record: DeploymentRecord, principal: Principal, language: Language
) -> DeploymentPage:
    """Read what belongs to a deployment, and show it."""
    manager = owns_deployment(principal, record)
    over = record.conclusion is not None
    problem = show_code(record.problem["code"], record.problem["params"], language) if record.problem else None
    plan = record.plan
    place = await portal.waiting.place(record)
    view = project(record, await events_of(portal, record), language, place=place)
    ready = over and record.conclusion == "succeeded" and not record.operation.ends_stack and record.stack_exists
    # By now it may be being deleted, or only its leftovers hold the name.
    newest = await portal.records.newest_deployment(record.stack_id) if ready else None
    if newest is not None and not is_there(newest):
        ready = False
    erased = await _erases(portal, record)
    headings = shown_operation(record).headings
    return DeploymentPage(
        id=record.id,
        begins_stack=record.operation.begins_stack,
        ends_stack=record.operation.ends_stack,
        name=record.name,
        running=language.text(headings.running),
        succeeded=language.text(headings.succeeded),
        failed=language.text(headings.failed),
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
        password=await _password(portal, principal, record) if manager and ready else None,
        removed=_removed(record, ["volume"] if erased else RESOURCES, language),
        leftovers=left_over(record, language),
        stack_exists=record.stack_exists,
        changed_by=newest.id if newest is not None and not ready else "",
        qr=qr_code(plan["url"]) if ready else None,
        volume_path=plan["volume_path"],
        kept=await _kept(portal, record),
        changes_password=record.changes_password,
        erased=erased,
        log_expired=log_expired(record, language),
    )


async def _erases(portal: Portal, record: DeploymentRecord) -> bool:
    """Tell whether it deletes kept files: the removal before it succeeded, and left nothing else."""
    if not record.operation.ends_stack:
        return False
    before = await portal.records.deployment_before(record)
    return before is not None and before.operation.ends_stack and before.conclusion is Conclusion.SUCCEEDED


async def _kept(portal: Portal, record: DeploymentRecord) -> str:
    """Return the volume kept from a deleted stack; empty where there is none, or a newer stack has it."""
    if not record.operation.ends_stack or record.stack_exists:
        return ""
    found = await portal.records.kept_under(record.name)
    return next((each.volume for each in found if each.stack_id == record.stack_id), "")


async def _password(portal: Portal, principal: Principal, record: DeploymentRecord) -> str | None:
    stack = await portal.records.find_stack(record.name)
    if stack is None or stack.id != record.stack_id:
        return None
    return await password_of(portal, principal, stack)


def _removed(record: DeploymentRecord, kinds: Iterable[str], language: Language) -> list[str]:
    """Name the deleted resources of some kinds."""
    names = {
        "domain": record.plan["host"],
        "application": record.plan["application"],
        "volume": record.plan["volume"],
        "project": record.plan["project"],
    }
    gone = [kind for kind in kinds if record.resources[kind].state is ResourceState.REMOVED]
    return [name_resource(kind, names[kind], language) for kind in gone]
