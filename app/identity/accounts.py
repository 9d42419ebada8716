"""Accounts: people known by an OpenID provider or a proxy."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.identity.allowlist import Claims
from app.ids import new_id
from app.store.engine import Database
from app.store.schema import account as table

# What the owner of a stack of theirs begins with.
ACCOUNT: Final = "account:"
# A proxy tells who it is at every request; that somebody was seen is written down less often.
_SEEN_AGAIN: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class Account:
    """A person. claims: what was told of him last."""

    id: str
    claims: Claims
    seen_at: datetime

    @property
    def owner(self) -> str:
        """What his stacks have as their owner."""
        return f"{ACCOUNT}{self.id}"


class Accounts:
    """Keeps accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, claims: Claims) -> Account:
        """Find somebody's account, or make it, and keep what is told of him now."""
        found = await self._find(claims)
        if found and found.claims == claims and datetime.now(UTC) - found.seen_at < _SEEN_AGAIN:
            return found
        try:
            return await self._database.write(lambda connection: _keep(connection, claims))
        except IntegrityError:  # another request of his was faster to make it
            return await self._database.write(lambda connection: _keep(connection, claims))

    async def _find(self, claims: Claims) -> Account | None:
        query = select(table).where(table.c.issuer == claims.issuer, table.c.subject == claims.subject)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return read_account(row) if row else None

    async def find(self, account_id: str) -> Account | None:
        """Return the account with this id."""
        query = select(table).where(table.c.id == account_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return read_account(row) if row else None

    async def emails(self, account_ids: Collection[str]) -> dict[str, str]:
        """Return the email addresses of some accounts, as far as they are known, by id."""
        query = select(table.c.id, table.c.email).where(table.c.id.in_(account_ids), table.c.email.is_not(None))
        rows = await self._database.read(lambda connection: connection.execute(query).all()) if account_ids else []
        return {row.id: row.email for row in rows}


def _keep(connection: Connection, claims: Claims) -> Account:
    now = datetime.now(UTC)
    told = {
        "name": claims.name,
        "email": claims.email,
        "email_verified": claims.email_verified,
        "groups": list(claims.groups),
        "seen_at": now,
    }
    whose = (table.c.issuer == claims.issuer, table.c.subject == claims.subject)
    # Found by changing it: an account that was only read could be deleted as an old one before it is changed.
    account_id = connection.scalar(update(table).where(*whose).values(**told).returning(table.c.id))
    if account_id is None:
        account_id = new_id()
        connection.execute(
            insert(table).values(id=account_id, issuer=claims.issuer, subject=claims.subject, created_at=now, **told)
        )
    return Account(account_id, claims, now)


def read_account(row: Any) -> Account:
    """Read an account out of a row that has its columns."""
    return Account(
        id=row.id,
        claims=Claims(
            issuer=row.issuer,
            subject=row.subject,
            name=row.name,
            email=row.email,
            email_verified=row.email_verified,
            groups=tuple(row.groups),
        ),
        seen_at=row.seen_at,
    )
