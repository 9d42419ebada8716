"""The audit trail for operators: a page at a time, of one stack or of somebody if wanted, and all of it as a file."""

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from app.audit import Action, AuditEntry, AuditOutcome, Means
from app.errors import N_, PROBLEMS
from app.i18n import Language
from app.ids import could_be_id
from app.web.api.account import AUDIT_PAGE, NDJSON, export
from app.web.api.routes import LanguageDep, PortalDep
from app.web.ui.record.routes import ACTORS
from app.web.ui.shared.rendering import respond
from app.web.ui.shared.timeline import moment
from app.web.ui.views import AuditPage

router = APIRouter()

ADDRESS: Final = "/operator/audit"
# How much of a browser's id tells it from another.
_MARK: Final = 6
# An e-mail address has at most so many letters.
_LONGEST: Final = 320

MEANS: Final = {
    Means.NOTHING: N_("Not signed in"),
    Means.BROWSER: N_("A browser's cookie"),
    Means.MANAGE_KEY: N_("A manage key"),
    Means.TOKEN: N_("A token"),
    Means.SESSION: N_("Signed in"),
    Means.PROXY: N_("The proxy in front"),
    Means.ADMIN_TOKEN: N_("The operator's token"),
    Means.PORTAL: N_("The portal by itself"),
    Means.COMMAND_LINE: N_("The command line"),
}
ACTIONS: Final = {
    Action.DEPLOY: N_("First deployment"),
    Action.REDEPLOY: N_("Deployed again"),
    Action.CANCEL: N_("Cancellation"),
    Action.CHANGE_PASSWORD: N_("New password"),
    Action.REMOVE: N_("Removal"),
    Action.ERASE_KEPT: N_("Kept files erased"),
    Action.OFFER: N_("Offer to hand over"),
    Action.TAKE_OVER: N_("Take-over"),
    Action.SIGN_IN: N_("Sign-in"),
    Action.SIGN_OUT: N_("Sign-out"),
    Action.SIGN_OUT_EVERYWHERE: N_("Sign-out everywhere"),
    Action.MAKE_TOKEN: N_("New token"),
    Action.REVOKE_TOKEN: N_("Token revoked"),
    Action.DELETE_OLD: N_("Old entries deleted"),
}


@router.get(ADDRESS)
async def trail(
    request: Request, portal: PortalDep, language: LanguageDep, before: str = "", stack: str = "", actor: str = ""
) -> Response:
    """Who did what, newest first."""
    stack, actor = stack.strip()[:_LONGEST], actor.strip()[:_LONGEST]
    entries = await portal.trail.entries(
        limit=AUDIT_PAGE + 1,
        before=before if could_be_id(before) else None,
        stack=stack or None,
        actor=actor or None,
    )
    shown = entries[:AUDIT_PAGE]
    page = AuditPage(
        entries=[_entry(each, language) for each in shown],
        stack=stack,
        actor=actor,
        older=trail_of(stack, actor, shown[-1].id) if len(entries) > AUDIT_PAGE else "",
        newest=trail_of(stack, actor) if could_be_id(before) else "",
    )
    return respond(request, page)


def trail_of(stack: str = "", actor: str = "", before: str = "") -> str:
    """Where a part of the trail is shown."""
    said = {name: value for name, value in (("stack", stack), ("actor", actor), ("before", before)) if value}
    return f"{ADDRESS}?{urlencode(said)}" if said else ADDRESS


def _entry(entry: AuditEntry, language: Language) -> AuditPage.Entry:
    actor, stack = entry.actor, entry.stack or ""
    refused = entry.outcome is AuditOutcome.REFUSED
    return AuditPage.Entry(
        at=moment(entry.at, language),
        who=actor.email or language.text(ACTORS.get(actor.kind, actor.kind)),
        # One browser is otherwise like another, and without accounts there is nobody else.
        mark=actor.id[-_MARK:] if actor.kind == "browser" else "",
        only_his=trail_of(actor=actor.id),
        means=language.text(MEANS.get(actor.means, actor.means)),
        address=actor.address or "",
        what=language.text(ACTIONS.get(entry.action, entry.action)),
        subject=entry.subject or "",
        deployment_id=entry.deployment_id or "",
        stack=stack,
        only_its=trail_of(stack=stack) if stack else "",
        refused=(entry.code or str(entry.outcome)) if refused else "",
        reason=language.text(PROBLEMS[entry.code].title) if entry.code in PROBLEMS else "",
    )


@router.get(f"{ADDRESS}.jsonl")
async def trail_as_file(portal: PortalDep) -> Response:
    """All of it as JSON lines, the oldest first."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": "attachment;filename=audit.jsonl"}
    return StreamingResponse(export(portal), media_type=NDJSON, headers=headers)
