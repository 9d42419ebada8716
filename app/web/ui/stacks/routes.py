"""The pages of stacks: all that somebody manages, one of them, and what is asked before it is changed."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.model import DeploymentRecord
from app.errors import N_, PortalError
from app.i18n import Language
from app.ids import could_be_id
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.portal import Portal
from app.stacks.model import STANDING, StackRecord, StackState, StackView
from app.stacks.plan import version_of
from app.stacks.requester import Requester
from app.web.api.routes import KeptDep, LanguageDep, PortalDep, PrincipalDep, StackDep, stacks_of
from app.web.auth.authorization import files_of, whose_stacks
from app.web.deps import read_form
from app.web.projector import log_of
from app.web.ui.deployment.routes import events_of
from app.web.ui.record.routes import certificate_of
from app.web.ui.shared.actors import owners_in_words
from app.web.ui.shared.passwords import password_of
from app.web.ui.shared.qr import qr_code
from app.web.ui.shared.responses import respond
from app.web.ui.shared.timeline import moment, past_deployment
from app.web.ui.views import DeletePage, ErasePage, PasswordPage, RedeployPage, ShownState, StackPage, StacksPage

router = APIRouter()

PAGE: Final = 50
LATELY: Final = 5

_STATES: Final = {
    StackState.DEPLOYING: ShownState(N_("Deploying"), "half"),
    StackState.UNDOING: ShownState(N_("Being undone"), "undone"),
    StackState.REMOVING: ShownState(N_("Removing"), "undone"),
    StackState.RUNNING: ShownState(N_("Running"), "run"),
    StackState.FAILED: ShownState(N_("Not deployed again"), "failed"),
    StackState.CANCELED: ShownState(N_("Not deployed again"), "off"),
    StackState.LEFT: ShownState(N_("Something is left"), "failed"),
}


@router.get("/stacks")
async def stacks(
    request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep, after: str = ""
) -> Response:
    """The stacks that the visitor manages, and what became of those that are gone."""
    views = await stacks_of(portal, principal, after=_id_or_none(after), limit=PAGE + 1)
    whose = whose_stacks(principal)
    gone: Sequence[DeploymentRecord] = []
    if whose is not None and _id_or_none(after) is None and not principal.is_operator:
        gone = await portal.records.lately_gone(whose, limit=LATELY)
    kept = await files_of(portal, principal) if _id_or_none(after) is None else []
    shown = views[:PAGE]
    owners = {}
    if principal.is_operator:
        owners = await owners_in_words(portal, [view.stack.owner for view in shown], language)
    page = StacksPage(
        rows=[_row(view, owners.get(view.stack.owner, ""), language) for view in shown],
        lately=[past_deployment(record, language, title=record.name) for record in gone],
        kept=[StacksPage.Kept(each.name, each.volume, moment(each.since, language)) for each in kept],
        everybody=principal.is_operator,
        of_browser=portal.settings.auth_mode == "open",
        after=shown[-1].stack.id if len(views) > PAGE else None,
        first=_id_or_none(after) is None,
    )
    return respond(request, page)


def _row(view: StackView, owner: str, language: Language) -> StacksPage.Row:
    return StacksPage.Row(
        name=view.stack.name,
        host=view.stack.plan["host"],
        state=shown_state(view.state, language),
        version=version_of(view.stack.plan["image"]),
        last=past_deployment(view.newest, language),
        owner=owner,
    )


def shown_state(state: StackState, language: Language) -> ShownState:
    """Say a stack's state in a language."""
    shown = _STATES[state]
    return ShownState(language.text(shown.words), shown.dot)


def _id_or_none(text: str) -> str | None:
    """The id in an address, from which a list goes on; one that cannot be an id is passed over."""
    return text if could_be_id(text) else None


@router.get("/stacks/{name}")
async def one_stack(
    request: Request,
    stack: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    after: str = "",
) -> Response:
    """One stack: how it is, how to get in, what it is made of, what was done to it, and what can be."""
    newest = await _newest(portal, stack)
    deployments = await portal.records.deployments_of(stack.id, limit=PAGE + 1, after=_id_or_none(after))
    shown = deployments[:PAGE]
    view = StackView(stack, newest)
    plan, state = stack.plan, view.state
    page = StackPage(
        name=stack.name,
        host=plan["host"],
        url=plan["url"],
        state=shown_state(state, language),
        newest=newest.id,
        opens=view.opens,
        redeployable=state in STANDING,
        deletable=newest.conclusion is not None,
        image=plan["image"],
        version=version_of(plan["image"]),
        port=plan["port"],
        memory=language.size(plan["memory_bytes"]),
        cpus=language.number(plan["cpus"], 2),
        volume=plan["volume"],
        volume_path=plan["volume_path"],
        certificate=certificate_of(plan, language)[0],
        created=moment(stack.created_at, language),
        deployments=[past_deployment(record, language) for record in shown],
        log=log_of(newest, await events_of(portal, newest), language),
        running=newest.id if newest.conclusion is None else None,
        password=password_of(portal, principal, stack) if view.opens else None,
        password_pending=stack.is_password_pending,
        qr=qr_code(plan["url"]) if view.opens else None,
        after=shown[-1].id if len(deployments) > PAGE else None,
        first=_id_or_none(after) is None,
    )
    return respond(request, page)


async def _newest(portal: Portal, stack: StackRecord) -> DeploymentRecord:
    newest = await portal.records.newest_deployment(stack.id)
    if newest is None:
        raise PortalError("stack_not_found", name=stack.name)
    return newest


@router.get("/stacks/{name}/redeploy")
async def ask_to_redeploy(request: Request, stack: StackDep, portal: PortalDep) -> Response:
    """Ask before deploying again, unless that would be refused."""
    await _must_stand(portal, stack)
    return respond(request, RedeployPage(name=stack.name, password_pending=stack.is_password_pending))


async def _must_stand(portal: Portal, stack: StackRecord) -> None:
    """Raise PortalError unless a stack could be deployed again now."""
    state = StackView(stack, await _newest(portal, stack)).state
    if state not in STANDING:
        raise PortalError("name_cleaning_up" if state is StackState.LEFT else "stack_busy", name=stack.name)


@router.post("/stacks/{name}/redeploy")
async def redeploy(stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Deploy again, and on to that deployment's page."""
    deployment_id = await portal.operations.change(REDEPLOY, stack, Requester(stack.owner, principal.actor, "user"))
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/password")
async def ask_to_change_password(request: Request, stack: StackDep, portal: PortalDep) -> Response:
    """Ask before the password is changed, unless that would be refused."""
    await _must_stand(portal, stack)
    return respond(request, PasswordPage(name=stack.name))


@router.post("/stacks/{name}/password")
async def change_password(stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Deploy again with a new password, and on to that deployment's page."""
    requester = Requester(stack.owner, principal.actor, "user")
    deployment_id = await portal.operations.change(PASSWORD, stack, requester)
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/delete")
async def ask_to_delete(request: Request, stack: StackDep) -> Response:
    """Ask before deleting."""
    return respond(request, DeletePage(name=stack.name, host=stack.plan["host"], volume=stack.plan["volume"]))


@router.post("/stacks/{name}/delete")
async def delete(request: Request, stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Delete, and on to the page of the removal."""
    fields = await read_form(request)
    match fields.get("volume"):
        case "erase" | "keep" as volume:
            requester = Requester(stack.owner, principal.actor, "user")
            deployment_id = await portal.operations.remove(stack, volume, requester)
        case _:  # what is lost is chosen, not left out
            raise PortalError("request_invalid", field="volume")
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/erase")
async def ask_to_erase(request: Request, kept: KeptDep) -> Response:
    """Ask before the files that were kept of a stack are erased."""
    return respond(request, ErasePage(name=kept.name, volume=kept.volume))


@router.post("/stacks/{name}/erase")
async def erase(kept: KeptDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Erase them, and on to the page of the removal."""
    deployment_id = await portal.operations.erase(kept, Requester(kept.owner, principal.actor, "user"))
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)
