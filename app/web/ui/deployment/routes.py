"""The page of one deployment, and the cancellation from it."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.web.auth.authorization import DeploymentDep
from app.web.deps import LanguageDep, PortalDep, PrincipalDep
from app.web.ui.deployment.view import deployment_page
from app.web.ui.shared.responses import respond

router = APIRouter()


@router.get("/deployments/{deployment_id}")
async def deployment(
    request: Request, found: DeploymentDep, portal: PortalDep, principal: PrincipalDep, language: LanguageDep
) -> Response:
    """Show a deployment: its progress, or how it ended."""
    return respond(request, await deployment_page(portal, found, principal, language))


@router.post("/deployments/{deployment_id}/cancel")
async def cancel(record: DeploymentDep, portal: PortalDep, principal: PrincipalDep) -> Response:
    """Cancel a deployment; one that has just ended is shown as it is."""
    try:
        await portal.operations.cancel_or_refuse(record, principal.actor)
    except PortalError as error:
        if error.code != "deployment_over":
            raise
    return RedirectResponse(f"/deployments/{record.id}", status_code=303)
