"""The audit trail for operators: a page at a time, of one stack or one actor if wanted."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.store.paging import PageRequest
from app.web.deps import LanguageDep, PortalDep
from app.web.ui.audit.view import audit_page
from app.web.ui.shared.addresses import AUDIT
from app.web.ui.shared.responses import respond

router = APIRouter()

PAGE: Final = 100
# An e-mail address has at most so many letters.
_LONGEST: Final = 320


@router.get(AUDIT)
async def trail(
    request: Request,
    portal: PortalDep,
    language: LanguageDep,
    stack: str = "",
    actor: str = "",
    cursor: str | None = None,
) -> Response:
    """Show who did what, newest first."""
    stack, actor = stack.strip()[:_LONGEST], actor.strip()[:_LONGEST]
    entries = await portal.trail.entries(PageRequest(PAGE, cursor), stack=stack or None, actor=actor or None)
    return respond(request, audit_page(entries, language, stack=stack, actor=actor, cursor=cursor))
