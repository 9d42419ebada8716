"""The audit trail: who did what to which stack, from where, how, and with what outcome. Entries never change."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Row, Select, insert, select

from app.ids import new_id
from app.store.engine import Database
from app.store.paging import Order, Page, PageRequest, every
from app.store.schema import AUDIT_TEXT, audit

W = TypeVar("W", bound=StrEnum)

_PAGE: Final = 500
_NEWEST_FIRST: Final = Order("audit", (audit.c.at, audit.c.id))
_OLDEST_FIRST: Final = Order("audit-export", (audit.c.at, audit.c.id), descending=False)


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


# The ids of actors that are one of a kind; others are `<kind>:<which>`.
_KINDS: Final = frozenset({"anonymous", "key", "operator", "portal"})


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
        insert(audit),
        {
            "id": new_id(),
            "at": datetime.now(UTC),
            "actor": actor.id,
            "email": actor.email,
            "role": actor.role,
            "means": actor.means,
            "address": actor.address,
            "action": action,
            "outcome": outcome,
            "code": code,
            "stack": _bounded(stack),
            "deployment_id": deployment_id,
            "subject": _bounded(subject),
        },
    )


def _bounded(text: str | None) -> str | None:
    """Shorten a text from outside."""
    return None if text is None else _printable(text[:AUDIT_TEXT])


def _printable(text: str) -> str:
    """Replace control and direction characters of a text from outside; PostgreSQL takes no NUL."""
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
        self, request: PageRequest, *, stack: str | None = None, actor: str | None = None
    ) -> Page[AuditEntry]:
        """Entries, newest first. stack: only of this one; actor: only of whom this is the id, or the email address."""
        wanted: list[Any] = []
        if stack is not None:
            wanted.append(audit.c.stack == _bounded(stack))
        if actor is not None:
            named = _printable(actor)
            # Each has an index of its own. What a proxy or a provider calls an email address need not have an @.
            wanted.append(audit.c.actor == named if _could_be_id(named) else audit.c.email == named)
        return await self._page(select(audit).where(*wanted), _NEWEST_FIRST, request)

    def export(self) -> AsyncIterator[AuditEntry]:
        """Every entry, oldest first, a page in memory at a time."""
        return every(partial(self._page, select(audit), _OLDEST_FIRST), at_once=_PAGE)

    async def _page(self, query: Select[Any], order: Order, request: PageRequest) -> Page[AuditEntry]:
        return await self._database.read(lambda connection: order.page(partial(_read, connection), query, request))


def _could_be_id(text: str) -> bool:
    """Tell ids of actors, such as `account:...` and `operator`, from email addresses."""
    return "@" not in text and (":" in text or text in _KINDS)


def _read(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], AuditEntry]]:
    return [(row, _entry(row)) for row in connection.execute(query)]


def _word(kind: type[W], word: str) -> W:
    """One of our words; or, as it stands, one that only a newer portal has: nothing of the trail is left out."""
    return kind(word) if word in set(kind) else cast("W", word)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=Actor(
            id=row.actor,
            role=_word(Role, row.role),
            means=_word(Means, row.means),
            email=row.email,
            address=row.address,
        ),
        action=_word(Action, row.action),
        outcome=_word(AuditOutcome, row.outcome),
        code=row.code,
        stack=row.stack,
        deployment_id=row.deployment_id,
        subject=row.subject,
    )
