"""The page with the record of a deployment."""

from fastapi import APIRouter, Request, Response

from app.web.auth.authorization import DeploymentDep
from app.web.deps import LanguageDep, PrincipalDep
from app.web.ui.record.view import record_page
from app.web.ui.shared.responses import respond

router = APIRouter()


@router.get("/deployments/{deployment_id}/record")
async def record(request: Request, found: DeploymentDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Show what is on record of a deployment, to everyone who may see its page."""
    return respond(request, record_page(found, principal, language))
