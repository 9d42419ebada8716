"""The JSON of accounts, tokens, handing over and the audit trail; that of deployments and stacks is in `models`."""

import json
from datetime import datetime
from typing import Any

from pydantic import Field

from app.audit import AuditEntry
from app.identity import MAX_DAYS, USUAL_DAYS, Scope, Token
from app.web.api.schemas import ActorAnswer, Answer, Body


class TokenBody(Body):
    """A token to make."""

    name: str = Field(max_length=1000)
    """What it is for: 1 to 80 characters."""
    scopes: list[Any] = Field(
        max_length=100, json_schema_extra={"items": {"type": "string", "enum": [scope.value for scope in Scope]}}
    )
    """What it may do."""
    expires_in_days: int = Field(USUAL_DAYS, json_schema_extra={"minimum": 1, "maximum": MAX_DAYS})
    """For how long it is good."""


class TokenAnswer(Answer):
    """A token, without what it is known by."""

    id: str
    name: str
    scopes: list[str]
    good: bool
    """Whether it opens anything: neither expired nor revoked."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    """When it was last used, to the minute."""
    revoked_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    """A token that was made."""

    token: str
    """The token itself, shown this once: send it as `Authorization: Bearer`."""


class TokensAnswer(Answer):
    """Tokens, newest first."""

    tokens: list[TokenAnswer]


class OfferAnswer(Answer):
    """A code with which somebody may take a stack over, once."""

    code: str
    expires_at: datetime


class TakeOverBody(Body):
    """A stack to take over."""

    code: str = Field(max_length=200)
    """The code that its owner has passed on, or its manage key."""


class TakenOverAnswer(Answer):
    """A stack that is the caller's now."""

    stack_name: str
    url: str
    manage_key: str | None
    """Its new key, as POST /api/deploy answers it; the one before opens nothing any more."""


class AuditAnswer(Answer):
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

    entries: list[Entry]
    next: str | None
    """Ask for `?before=` this to read on."""


def token_answer(token: Token) -> TokenAnswer:
    """A token as JSON."""
    return TokenAnswer(
        id=token.id,
        name=token.name,
        scopes=sorted(token.scopes),
        good=token.is_good,
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
    )


def audit_line(entry: AuditEntry) -> str:
    """A line of the trail as a line of JSON."""
    return json.dumps(audit_entry(entry).model_dump(mode="json"), ensure_ascii=False) + "\n"


def audit_entry(entry: AuditEntry) -> AuditAnswer.Entry:
    """A line of the trail as JSON, for operators: with the whole id of whoever it was."""
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
