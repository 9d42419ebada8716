"""The audit trail for operators: a page at a time, of one stack or one actor if wanted, and all of it as a file."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from app.ids import could_be_id
from app.web.api.account import AUDIT_PAGE, NDJSON, export
from app.web.api.routes import LanguageDep, PortalDep
from app.web.ui.audit.view import audit_page
from app.web.ui.shared.addresses import AUDIT
from app.web.ui.shared.responses import respond

router = APIRouter()

# An e-mail address has at most so many letters.
_LONGEST: Final = 320


@router.get(AUDIT)
async def trail(
    request: Request, portal: PortalDep, language: LanguageDep, before: str = "", stack: str = "", actor: str = ""
) -> Response:
    """Show who did what, newest first."""
    stack, actor = stack.strip()[:_LONGEST], actor.strip()[:_LONGEST]
    before = before if could_be_id(before) else ""
    entries = await portal.trail.entries(
        limit=AUDIT_PAGE + 1, before=before or None, stack=stack or None, actor=actor or None
    )
    page = audit_page(entries, language, stack=stack, actor=actor, before=before, limit=AUDIT_PAGE)
    return respond(request, page)


@router.get(f"{AUDIT}.jsonl")
async def trail_as_file(portal: PortalDep) -> Response:
    """Export all of it as JSON lines, oldest first."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": "attachment;filename=audit.jsonl"}
    return StreamingResponse(export(portal), media_type=NDJSON, headers=headers)
