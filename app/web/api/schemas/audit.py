"""The JSON of the audit trail."""

import json
from datetime import datetime

from app.audit import AuditEntry
from app.web.api.schemas.base import Answer, PageAnswer
from app.web.api.schemas.deployments import ActorAnswer


class AuditAnswer(PageAnswer):
    """The audit trail, newest first."""

    class Entry(Answer):
        """One line of it."""

        id: str
        at: datetime
        actor: ActorAnswer
        means: str
        """How he showed who he is."""
        address: str | None
        """Where the request came from."""
        action: str
        outcome: str
        """`done`, or `refused` with a code. With a deployment `done` says that it was begun: that tells the rest."""
        code: str | None
        stack: str | None
        deployment_id: str | None
        subject: str | None
        """What it was about besides a stack, such as the name of a token."""

    items: list[Entry]


def audit_line(entry: AuditEntry) -> str:
    """Return an audit entry as a line of JSON."""
    return json.dumps(audit_entry(entry).model_dump(mode="json"), ensure_ascii=False) + "\n"


def audit_entry(entry: AuditEntry) -> AuditAnswer.Entry:
    """Return an audit entry as JSON for operators, with the actor's whole id."""
    actor = entry.actor
    return AuditAnswer.Entry(
        id=entry.id,
        at=entry.at,
        actor=ActorAnswer(id=actor.id, email=actor.email, role=str(actor.role)),
        means=str(actor.means),
        address=actor.address,
        action=str(entry.action),
        outcome=str(entry.outcome),
        code=entry.code,
        stack=entry.stack,
        deployment_id=entry.deployment_id,
        subject=entry.subject,
    )
