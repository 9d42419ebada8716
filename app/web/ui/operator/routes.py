"""The operator's page."""

from dataclasses import replace
from typing import Final

from fastapi import APIRouter, Request, Response

from app.store.paging import PageRequest
from app.web.deps import LanguageDep, PortalDep, PrincipalDep
from app.web.ui.operator.view import operator_page
from app.web.ui.shared.paging import links_of
from app.web.ui.shared.responses import respond

router = APIRouter()

# How many of the newest deployments are shown.
LATEST: Final = 10


@router.get("/operator")
async def operator(
    request: Request,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    cursor: str | None = None,
    left: str | None = None,
) -> Response:
    """Show the portal as a whole. left: a cursor of the leftovers."""
    overview = await portal.statistics.overview()
    latest = await portal.records.latest(PageRequest(LATEST, cursor))
    leftovers = await portal.leftovers.page(PageRequest(cursor=left))
    store = await portal.readiness.look()
    page = operator_page(
        portal, overview, latest.items, leftovers.items, store, language, in_session=principal.session is not None
    )
    page = replace(
        page,
        links=links_of(latest, "/operator", cursor, anchor="latest"),
        left_links=links_of(leftovers, "/operator", left, parameter="left", anchor="left"),
    )
    return respond(request, page)
