"""Tokens for programs: shown once, stored as a fingerprint, with scopes and an expiry date."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, func, insert, or_, select, update

from app.audit import Action, Actor, note
from app.errors import PortalError
from app.identity.scopes import Scope
from app.ids import could_be_id, new_id
from app.security.vault import fingerprint
from app.store.engine import Database
from app.store.paging import Order, Page, PageRequest
from app.store.schema import token as table

# Shown with a token, so that a scanner of repositories can tell what it found, and from a manage key.
_PREFIX: Final = "asdt_"
MAX_NAME: Final = 80
MAX_DAYS: Final = 366
USUAL_DAYS: Final = 90
MAX_TOKENS: Final = 50
"""How many one owner may have that are good."""
# That a token was used is written down once in so long.
_USED_AGAIN: Final = timedelta(minutes=1)
_NEWEST_FIRST: Final = Order("tokens", (table.c.created_at, table.c.id))


@dataclass(frozen=True)
class Token:
    """A token, without what it is known by. owner: whose stacks it reaches."""

    id: str
    owner: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    bound_to: str | None = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return self.expires_at <= datetime.now(UTC)

    @property
    def is_good(self) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and not self.is_over


def is_token(text: str) -> bool:
    """Whether something that was sent says that it is a token."""
    return text.startswith(_PREFIX)


class Tokens:
    """Keeps tokens."""

    def __init__(self, database: Database, *, kept_days: int = 0) -> None:
        """`kept_days`: how long one that is over stays on the list; 0: until it is deleted."""
        self._database = database
        self._kept_days = kept_days

    async def make(
        self,
        actor: Actor,
        *,
        owner: str,
        name: str,
        scopes: Collection[Scope],
        days: int,
        bound_to: str | None = None,
    ) -> tuple[Token, str]:
        """Make a token; the second that is returned is the token itself, which nobody can show again.

        bound_to: fingerprint of what its maker came with, so that it ends with that.

        Raises PortalError: `token_name_invalid`, `token_days_invalid`, `tokens_full`.
        """
        name = name.strip()
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise PortalError("token_name_invalid", field="name", maximum=MAX_NAME)
        if not 1 <= days <= MAX_DAYS:
            raise PortalError("token_days_invalid", field="expiresInDays", maximum=MAX_DAYS)
        secret, now = _PREFIX + secrets.token_urlsafe(32), datetime.now(UTC)
        made = Token(new_id(), owner, name, frozenset(scopes), now, now + timedelta(days=days), None, None, bound_to)

        def work(connection: Connection) -> None:
            connection.execute(
                insert(table).values(
                    id=made.id,
                    hash=fingerprint(secret),
                    owner=owner,
                    bound_to=bound_to,
                    name=name,
                    scopes=sorted(made.scopes),
                    created_at=now,
                    expires_at=made.expires_at,
                )
            )
            good = and_(table.c.owner == owner, table.c.revoked_at.is_(None), table.c.expires_at > now)
            # Its own among them; two at once may pass by one, which harms nobody.
            if (connection.scalar(select(func.count()).where(good)) or 0) > MAX_TOKENS:
                raise PortalError("tokens_full", maximum=MAX_TOKENS)
            note(connection, actor, Action.MAKE_TOKEN, subject=name)

        await self._database.write(work)
        return made, secret

    async def find(self, secret: str) -> Token | None:
        """Return the token with this text, valid or not, and record the use of a valid one."""
        if not is_token(secret):
            return None
        query = select(table).where(table.c.hash == fingerprint(secret))
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        found, now = _token(row), datetime.now(UTC)
        if found.is_good and (found.used_at is None or now - found.used_at > _USED_AGAIN):
            is_old = or_(table.c.used_at.is_(None), table.c.used_at < now - _USED_AGAIN)
            used = update(table).where(table.c.id == found.id, is_old).values(used_at=now)
            await self._database.write(lambda connection: connection.execute(used).close())
        return found

    async def of(self, owner: str | None, request: PageRequest) -> Page[Token]:
        """Return an owner's tokens, or everybody's, newest first, without those that ended long ago."""
        query = select(table)
        if owner is not None:
            query = query.where(table.c.owner == owner)
        if self._kept_days:
            lately = datetime.now(UTC) - timedelta(days=self._kept_days)
            query = query.where(
                table.c.expires_at > lately, or_(table.c.revoked_at.is_(None), table.c.revoked_at > lately)
            )

        def read(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], Token]]:
            return [(row, _token(row)) for row in connection.execute(query)]

        return await self._database.read(
            lambda connection: _NEWEST_FIRST.page(partial(read, connection), query, request)
        )

    async def revoke(self, actor: Actor, token_id: str, *, owner: str | None) -> None:
        """Make a token good for nothing, at once. owner: whose it has to be; with none anybody's.

        Raises PortalError `token_not_found`. Doing it twice changes nothing.
        """
        if not could_be_id(token_id):
            raise PortalError("token_not_found")
        which = and_(table.c.id == token_id, *([] if owner is None else [table.c.owner == owner]))

        def work(connection: Connection) -> None:
            name = connection.scalar(select(table.c.name).where(which))
            if name is None:
                raise PortalError("token_not_found")
            revoked = update(table).where(which, table.c.revoked_at.is_(None)).values(revoked_at=datetime.now(UTC))
            if connection.execute(revoked).rowcount:
                note(connection, actor, Action.REVOKE_TOKEN, subject=name)

        await self._database.write(work)


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        owner=row.owner,
        name=row.name,
        # What a newer portal has made a token for is nothing to this one.
        scopes=frozenset(Scope(name) for name in row.scopes if name in set(Scope)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
        bound_to=row.bound_to,
    )
