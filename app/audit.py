"""The audit trail: who did what to which stack, from where, by which means, with what outcome; only ever added to."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Select, and_, insert, or_, select

from app.ids import new_id
from app.store.engine import Database
from app.store.schema import AUDIT_TEXT, audit

W = TypeVar("W", bound=StrEnum)

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
    DELETE_OLD = "delete_old"


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
    """What came from outside may be long."""
    return None if text is None else _printable(text[:AUDIT_TEXT])


def _printable(text: str) -> str:
    """What came from outside may turn the words around it, and PostgreSQL takes no NUL."""
    return "".join(each if each.isprintable() else "�" for each in text)


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
        """Entries, newest first.

        before: only those older than the one with this id; stack: only of this one; actor: only of whom this is the
        id, or the e-mail address.
        """
        wanted: list[Any] = []
        if stack is not None:
            wanted.append(audit.c.stack == _bounded(stack))
        if actor is not None:
            named = _printable(actor)
            wanted.append(or_(audit.c.actor == named, audit.c.email == named))
        query = select(audit).where(*wanted).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
        return await self._read(query if before is None else query.where(_on_one_side(_printable(before), newer=False)))

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


def _word(kind: type[W], word: str) -> W:
    """One of our words; or, as it stands, one that only a newer portal has: nothing of the trail is left out."""
    return kind(word) if word in set(kind) else cast("W", word)


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=row["at"],
        actor=Actor(
            id=row["actor"],
            role=_word(Role, row["role"]),
            means=_word(Means, row["means"]),
            email=row["email"],
            address=row["address"],
        ),
        action=_word(Action, row["action"]),
        outcome=_word(AuditOutcome, row["outcome"]),
        code=row["code"],
        stack=row["stack"],
        deployment_id=row["deployment_id"],
        subject=row["subject"],
    )
