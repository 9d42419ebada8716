"""The pages of stacks: all that the viewer manages, one of them, and the questions before it is changed."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.portal import Portal
from app.stacks.model import STANDING, StackRecord, StackState, StackView
from app.stacks.requester import Requester
from app.web.auth.authorization import KeptDep, StackDep
from app.web.deps import LanguageDep, PortalDep, PrincipalDep, read_form
from app.web.ui.shared.responses import respond
from app.web.ui.stacks.view import DeletePage, ErasePage, PasswordPage, RedeployPage, stack_page, stacks_page

router = APIRouter()


@router.get("/stacks")
async def stacks(
    request: Request,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    cursor: str | None = None,
    kept: str | None = None,
) -> Response:
    """Show the stacks that the viewer manages, and what became of deleted ones. kept: a cursor of kept files."""
    return respond(request, await stacks_page(portal, principal, language, cursor=cursor, kept_cursor=kept))


@router.get("/stacks/{name}")
async def one_stack(
    request: Request,
    stack: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    cursor: str | None = None,
) -> Response:
    """Show one stack: its state, access, parts, deployments, and operations."""
    view = await _view_of(portal, stack)
    return respond(request, await stack_page(portal, principal, view, language, cursor=cursor))


async def _view_of(portal: Portal, stack: StackRecord) -> StackView:
    """Read a stack with its newest deployment. Raises PortalError `stack_not_found`."""
    newest = await portal.records.newest_deployment(stack.id)
    if newest is None:
        raise PortalError("stack_not_found", name=stack.name)
    return StackView(stack, newest)


@router.get("/stacks/{name}/redeploy")
async def ask_to_redeploy(request: Request, stack: StackDep, portal: PortalDep) -> Response:
    """Ask before a redeployment, unless it would be refused."""
    await _must_stand(portal, stack)
    return respond(request, RedeployPage(name=stack.name, password_pending=stack.is_password_pending))


async def _must_stand(portal: Portal, stack: StackRecord) -> None:
    """Raise PortalError unless a stack can be redeployed now."""
    state = (await _view_of(portal, stack)).state
    if state not in STANDING:
        raise PortalError("name_cleaning_up" if state is StackState.LEFT else "stack_busy", name=stack.name)


@router.post("/stacks/{name}/redeploy")
async def redeploy(stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Redeploy, and go to the page of that deployment."""
    deployment_id = await portal.operations.change(REDEPLOY, stack, Requester(stack.owner, principal.actor, "user"))
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/password")
async def ask_to_change_password(request: Request, stack: StackDep, portal: PortalDep) -> Response:
    """Ask before the password is changed, unless that would be refused."""
    await _must_stand(portal, stack)
    return respond(request, PasswordPage(name=stack.name))


@router.post("/stacks/{name}/password")
async def change_password(stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Redeploy with a new password, and go to the page of that deployment."""
    requester = Requester(stack.owner, principal.actor, "user")
    deployment_id = await portal.operations.change(PASSWORD, stack, requester)
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/delete")
async def ask_to_delete(request: Request, stack: StackDep) -> Response:
    """Ask before deleting."""
    return respond(request, DeletePage(name=stack.name, host=stack.plan["host"], volume=stack.plan["volume"]))


@router.post("/stacks/{name}/delete")
async def delete(request: Request, stack: StackDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Delete, and go to the page of the deletion."""
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
    """Ask before the kept files of a stack are erased."""
    return respond(request, ErasePage(name=kept.name, volume=kept.volume))


@router.post("/stacks/{name}/erase")
async def erase(kept: KeptDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Erase them, and go to the page of the deletion."""
    deployment_id = await portal.operations.erase(kept, Requester(kept.owner, principal.actor, "user"))
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)
