"""What the page of the audit trail is given: who did what, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.audit import Action, AuditEntry, AuditOutcome
from app.errors import N_, PROBLEMS
from app.i18n import Language
from app.operations.table import OPERATIONS
from app.store.paging import Page
from app.web.ui.shared.actors import MEANS, actor_in_words
from app.web.ui.shared.addresses import AUDIT, trail_of
from app.web.ui.shared.paging import ONE_PAGE, PageLinks, links_of
from app.web.ui.shared.timeline import moment
from app.web.ui.shared.view import Moment
from app.web.ui.shared.view import Page as PageView

# How many letters of a browser's id tell it from another.
_MARK: Final = 6

ACTIONS: Final = {
    **{each.action: each.label for each in OPERATIONS.values()},
    Action.CANCEL: N_("Cancellation"),
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


@dataclass(frozen=True)
class AuditPage(PageView):
    """Who did what, newest first. stack, actor: what it was narrowed to."""

    template = "audit/audit.html"
    section = "operator"

    @dataclass(frozen=True)
    class Entry:
        """One line. mark: what tells a browser from another, or empty.

        trail_of_actor, trail_of_stack: addresses of the trail narrowed to its actor, or its stack; subject: what it was
        about besides a stack; deployment_id: the deployment that it created, or was to change; refused: with which
        code, or empty; reason: that in words.
        """

        at: Moment
        who: str
        mark: str
        trail_of_actor: str
        means: str
        address: str
        what: str
        subject: str
        deployment_id: str
        stack: str
        trail_of_stack: str
        refused: str
        reason: str

    entries: Sequence[Entry]
    stack: str = ""
    actor: str = ""
    links: PageLinks = ONE_PAGE


def audit_page(
    entries: Page[AuditEntry], language: Language, *, stack: str, actor: str, cursor: str | None
) -> AuditPage:
    """Show a page of the trail, which a cursor has led to."""
    return AuditPage(
        entries=[_entry(each, language) for each in entries.items],
        stack=stack,
        actor=actor,
        links=links_of(entries, AUDIT, cursor, stack=stack, actor=actor),
    )


def _entry(entry: AuditEntry, language: Language) -> AuditPage.Entry:
    actor, stack = entry.actor, entry.stack or ""
    refused = entry.outcome is AuditOutcome.REFUSED
    return AuditPage.Entry(
        at=moment(entry.at, language),
        who=actor_in_words(actor, language),
        # Without accounts, every actor is a browser.
        mark=actor.id[-_MARK:] if actor.kind == "browser" else "",
        trail_of_actor=trail_of(actor=actor.id),
        means=language.text(MEANS.get(actor.means, actor.means)),
        address=actor.address or "",
        what=language.text(ACTIONS.get(entry.action, entry.action)),
        subject=entry.subject or "",
        deployment_id=entry.deployment_id or "",
        stack=stack,
        trail_of_stack=trail_of(stack=stack) if stack else "",
        refused=(entry.code or str(entry.outcome)) if refused else "",
        reason=language.text(PROBLEMS[entry.code].title) if entry.code in PROBLEMS else "",
    )
