"""For operators: the overview, leftover resources and the audit trail."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.portal import Portal
from app.stacks.quotas import Quotas
from app.store.paging import PageRequest
from app.web.api.paging import PageDep
from app.web.api.schemas.audit import AuditAnswer, audit_entry, audit_line
from app.web.api.schemas.deployments import DeploymentsAnswer, deployments_answer
from app.web.api.schemas.operators import LeftoversAnswer, OverviewAnswer, leftovers_answer, overview_answer
from app.web.deps import PortalDep

router = APIRouter()


NDJSON: Final = "application/x-ndjson"
# How many of the newest deployments the operator is told of.
LATEST: Final = 10


@router.get("/api/leftovers", tags=["operators"])
async def leftovers(
    portal: PortalDep,
    response: Response,
    page: PageDep,
    removed: Annotated[bool, Query(description="Include resources that were removed since.")] = False,
) -> LeftoversAnswer:
    """List resources that could not be removed from Dokploy, and when the portal retries."""
    response.headers["Cache-Control"] = "no-store"
    return leftovers_answer(await portal.leftovers.page(page, removed=removed))


@router.get("/api/deployments", tags=["operators"])
async def deployments(portal: PortalDep, response: Response, page: PageDep) -> DeploymentsAnswer:
    """List the deployments of all stacks, newest first."""
    response.headers["Cache-Control"] = "no-store"
    return deployments_answer(await portal.records.latest(page))


@router.get("/api/overview", tags=["operators"])
async def overview(portal: PortalDep, response: Response) -> OverviewAnswer:
    """Return the numbers of the operator's page: the last 14 days, the newest deployments, leftover resources."""
    response.headers["Cache-Control"] = "no-store"
    latest = await portal.records.latest(PageRequest(LATEST))
    overview, left = await portal.statistics.overview(), await portal.leftovers.page(PageRequest())
    return overview_answer(overview, latest.items, left.items, Quotas.of(portal.settings))


@router.get(
    "/api/audit",
    tags=["operators"],
    response_model=AuditAnswer,
    responses={
        200: {
            "description": "A page of it; as JSON lines all of it, the oldest first",
            "content": {NDJSON: {"schema": {"$ref": "#/components/schemas/Entry"}}},
        },
    },
)
async def audit(
    request: Request,
    portal: PortalDep,
    response: Response,
    page: PageDep,
    stack: Annotated[str | None, Query(max_length=80, description="Only entries of this stack.")] = None,
    actor: Annotated[
        str | None, Query(max_length=320, description="Only entries of the person with this ID or email address.")
    ] = None,
) -> AuditAnswer | Response:
    """List audit entries: who did what to which stack, from where, by which means, with what outcome.

    `Accept: application/x-ndjson` exports the whole trail as JSON lines.
    """
    if NDJSON in request.headers.get("accept", ""):
        return StreamingResponse(export(portal), media_type=NDJSON, headers={"Cache-Control": "no-store"})
    response.headers["Cache-Control"] = "no-store"
    found = await portal.trail.entries(page, stack=stack, actor=actor)
    return AuditAnswer(items=[audit_entry(each) for each in found.items], next_cursor=found.next_cursor)


async def export(portal: Portal) -> AsyncIterator[str]:
    """Stream the whole trail as JSON lines, oldest first."""
    async for entry in portal.trail.export():
        yield audit_line(entry)


@router.get("/operator/audit.jsonl", include_in_schema=False)
async def audit_as_file(portal: PortalDep) -> Response:
    """Export the whole trail as JSON lines, for a browser to keep as a file."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": "attachment;filename=audit.jsonl"}
    return StreamingResponse(export(portal), media_type=NDJSON, headers=headers)
