"""The operator's page."""

from fastapi import APIRouter, Request, Response

from app.web.api.routes import LATEST, LanguageDep, PortalDep, PrincipalDep
from app.web.ui.operator.view import operator_page
from app.web.ui.shared.responses import respond

router = APIRouter()


@router.get("/operator")
async def operator(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Show the portal as a whole."""
    overview = await portal.statistics.overview()
    latest = await portal.records.latest(limit=LATEST)
    left = await portal.leftovers.all()
    store = await portal.readiness.look()
    page = operator_page(portal, overview, latest, left, store, language, in_session=principal.session is not None)
    return respond(request, page)
