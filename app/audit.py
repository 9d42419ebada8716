"""The audit trail: who did what to which stack, from where, by which means, with what outcome; only ever added to."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, Connection, Index, Select, String, Table, and_, insert, or_, select

from app.database import Database, Moment, metadata
from app.ids import new_id

# What is kept of a text that came from outside, such as the name in a request that was refused.
_LONGEST: Final = 80
_PAGE: Final = 500


class Means(StrEnum):
    """How somebody showed who he is."""

    NOTHING = "nothing"
    BROWSER = "browser"
    MANAGE_KEY = "manage_key"
    TOKEN = "token"
    SESSION = "session"
    PROXY = "proxy"
    ADMIN_TOKEN = "admin_token"
    PORTAL = "portal"
    COMMAND_LINE = "command_line"


class Role(StrEnum):
    """What somebody is to this portal."""

    STRANGER = "stranger"
    USER = "user"
    OPERATOR = "operator"
    PORTAL = "portal"


class Action(StrEnum):
    """What is written down when it is done, or when it was refused."""

    DEPLOY = "deploy"
    REDEPLOY = "redeploy"
    CANCEL = "cancel"
    CHANGE_PASSWORD = "change_password"
    REMOVE = "remove"
    ERASE_KEPT = "erase_kept"
    OFFER = "offer"
    TAKE_OVER = "take_over"
    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    MAKE_TOKEN = "make_token"
    REVOKE_TOKEN = "revoke_token"


class AuditOutcome(StrEnum):
    """What became of it. What was begun has a deployment, which tells the rest."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True)
class Actor:
    """Who does something, in plain values and without a secret.

    id: such as `account:…`, `browser:…`, `operator` or `portal`; email: where one is known; address: where the request
    came from.
    """

    id: str
    role: Role
    means: Means
    email: str | None = None
    address: str | None = None

    @property
    def kind(self) -> str:
        """The id without which one it is: which browser it was is nobody else's business."""
        return self.id.partition(":")[0]


PORTAL: Final = Actor("portal", Role.PORTAL, Means.PORTAL)
"""The portal, when it does something by itself."""


COMMAND_LINE: Final = Actor("operator", Role.OPERATOR, Means.COMMAND_LINE)
"""An operator at the command line of the portal's own machine."""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the trail. subject: what it was about besides a stack, such as the name of a token."""

    id: str
    at: datetime
    actor: Actor
    action: Action
    outcome: AuditOutcome
    code: str | None
    stack: str | None
    deployment_id: str | None
    subject: str | None


audit = Table(
    "audit",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("email", String(320)),
    Column("role", String(20), nullable=False),
    Column("means", String(20), nullable=False),
    Column("address", String(64)),
    Column("action", String(40), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("code", String(60)),
    Column("stack", String(_LONGEST)),
    Column("deployment_id", String(26)),
    Column("subject", String(_LONGEST)),
    Index("ix_audit_at", "at"),
    Index("ix_audit_stack", "stack"),
    Index("ix_audit_actor", "actor"),
)


def note(
    connection: Connection,
    actor: Actor,
    action: Action,
    *,
    outcome: AuditOutcome = AuditOutcome.DONE,
    code: str | None = None,
    stack: str | None = None,
    deployment_id: str | None = None,
    subject: str | None = None,
) -> None:
    """Add a line, in the transaction that does what it tells of: neither is ever there without the other."""
    connection.execute(
        insert(audit).values(
            id=new_id(),
            at=datetime.now(UTC),
            actor=actor.id,
            email=actor.email,
            role=actor.role,
            means=actor.means,
            address=actor.address,
            action=action,
            outcome=outcome,
            code=code,
            stack=_bounded(stack),
            deployment_id=deployment_id,
            subject=_bounded(subject),
        )
    )


def _bounded(text: str | None) -> str | None:
    """What came from outside may be long, and PostgreSQL takes no NUL."""
    return None if text is None else "".join(each if each.isprintable() else "�" for each in text[:_LONGEST])


class Trail:
    """Reads the trail, and adds what was refused, which has no transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refused(
        self, actor: Actor, action: Action, code: str, *, stack: str | None = None, subject: str | None = None
    ) -> None:
        """Add that something was refused, and with which code."""
        await self._database.write(
            lambda connection: note(
                connection, actor, action, outcome=AuditOutcome.REFUSED, code=code, stack=stack, subject=subject
            )
        )

    async def entries(
        self,
        *,
        limit: int,
        before: str | None = None,
        stack: str | None = None,
        actor: str | None = None,
    ) -> Sequence[AuditEntry]:
        """Entries, newest first. before: only those older than the one with this id; stack, actor: only of these."""
        if any("\0" in each for each in (before, stack, actor) if each is not None):
            return []  # nothing is called so, and PostgreSQL takes no such text
        wanted = [
            column == value for column, value in ((audit.c.stack, stack), (audit.c.actor, actor)) if value is not None
        ]
        query = select(audit).where(*wanted).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
        return await self._read(query if before is None else query.where(_on_one_side(before, newer=False)))

    async def export(self) -> AsyncIterator[AuditEntry]:
        """Every entry, oldest first, a page in memory at a time."""
        after: str | None = None
        while True:
            query = select(audit).order_by(audit.c.at, audit.c.id).limit(_PAGE)
            page = await self._read(query if after is None else query.where(_on_one_side(after, newer=True)))
            for entry in page:
                yield entry
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def _read(self, query: Select[Any]) -> Sequence[AuditEntry]:
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_entry(row) for row in rows]


def _on_one_side(entry_id: str, *, newer: bool) -> Any:
    """Hold a query to what comes before or after an entry in time."""
    moment = select(audit.c.at).where(audit.c.id == entry_id).scalar_subquery()
    if newer:
        return or_(audit.c.at > moment, and_(audit.c.at == moment, audit.c.id > entry_id))
    return or_(audit.c.at < moment, and_(audit.c.at == moment, audit.c.id < entry_id))


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=row["at"],
        actor=Actor(
            id=row["actor"],
            role=Role(row["role"]),
            means=Means(row["means"]),
            email=row["email"],
            address=row["address"],
        ),
        action=Action(row["action"]),
        outcome=AuditOutcome(row["outcome"]),
        code=row["code"],
        stack=row["stack"],
        deployment_id=row["deployment_id"],
        subject=row["subject"],
    )
