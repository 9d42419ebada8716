"""The pages of stacks: the question before one is deleted."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.intake import Asker
from app.web.api import CallerDep, PortalDep, managed_stack, visible_stack
from app.web.contexts import DeletePage
from app.web.deps import read_form
from app.web.rendering import respond

router = APIRouter()


@router.get("/stacks/{name}/delete")
async def ask_to_delete(request: Request, name: str, portal: PortalDep, caller: CallerDep) -> Response:
    """Ask before deleting."""
    stack = await visible_stack(portal, caller, name)
    return respond(request, DeletePage(name=stack.name, host=stack.plan["host"], volume=stack.plan["volume"]))


@router.post("/stacks/{name}/delete")
async def delete(request: Request, name: str, portal: PortalDep, caller: CallerDep) -> Response:
    """Delete, and on to the page of the removal."""
    stack = await managed_stack(request, portal, caller, name)
    fields = await read_form(request)
    volume = "keep" if fields.get("volume") == "keep" else "erase"
    deployment_id = await portal.intake.remove(stack, volume, Asker(stack.owner, caller.name, "user"))  # type: ignore[arg-type]
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)
