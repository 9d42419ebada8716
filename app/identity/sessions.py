"""Sessions: the browsers in which an account is signed in, kept in the store so that ending one counts everywhere."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from app.audit import Action, Actor, note
from app.identity.accounts import Account, read_account
from app.ids import new_id
from app.security.vault import fingerprint
from app.store.engine import Database
from app.store.schema import account, session

# Of each account; whoever has more than this can end them all at once.
_SHOWN: Final = 50


@dataclass(frozen=True)
class Session:
    """One browser in which somebody is signed in. account: none for the operator, who came with his token."""

    id: str
    account: Account | None
    bound_to: str | None = field(repr=False)
    address: str | None
    browser: str | None
    created_at: datetime


class Sessions:
    """Keeps sessions."""

    def __init__(self, database: Database, *, lives: timedelta) -> None:
        self._database = database
        self.lives = lives

    async def begin(self, actor: Actor, *, account: Account | None, bound_to: str | None, browser: str | None) -> str:
        """Begin a session and return its secret, which only the browser keeps."""
        secret, now = secrets.token_urlsafe(32), datetime.now(UTC)

        def work(connection: Connection) -> None:
            connection.execute(
                insert(session).values(
                    id=new_id(),
                    hash=fingerprint(secret),
                    account_id=account.id if account else None,
                    bound_to=bound_to,
                    address=actor.address,
                    browser=browser,
                    created_at=now,
                    expires_at=now + self.lives,
                )
            )
            note(connection, actor, Action.SIGN_IN)

        await self._database.write(work)
        return secret

    async def find(self, secret: str) -> Session | None:
        """Return the session with this secret, unless it has expired."""
        found = await self._select(session.c.hash == fingerprint(secret))
        return found[0] if found else None

    async def of(self, account: Account | None) -> list[Session]:
        """Sessions of an account, or of the operator, the newest first; at most so many as a page shows."""
        return await self._select(_of(account))

    async def _select(self, condition: Any) -> list[Session]:
        query = (
            select(
                session.c.id.label("session_id"),
                session.c.bound_to,
                session.c.address,
                session.c.browser,
                session.c.created_at.label("began_at"),
                account,
            )
            .outerjoin(account, account.c.id == session.c.account_id)
            .where(condition, session.c.expires_at > datetime.now(UTC))
            .order_by(session.c.created_at.desc(), session.c.id.desc())
            .limit(_SHOWN)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [
            Session(
                id=row.session_id,
                account=read_account(row) if row.id else None,
                bound_to=row.bound_to,
                address=row.address,
                browser=row.browser,
                created_at=row.began_at,
            )
            for row in rows
        ]

    async def end(self, actor: Actor, ended: Session) -> None:
        """End one session."""

        def work(connection: Connection) -> None:
            if connection.execute(delete(session).where(session.c.id == ended.id)).rowcount:
                note(connection, actor, Action.SIGN_OUT)

        await self._database.write(work)

    async def end_all(self, actor: Actor, account: Account | None) -> None:
        """End every session of an account, or of the operator."""

        def work(connection: Connection) -> None:
            connection.execute(delete(session).where(_of(account)))
            note(connection, actor, Action.SIGN_OUT_EVERYWHERE)

        await self._database.write(work)


def _of(account: Account | None) -> Any:
    return session.c.account_id.is_(None) if account is None else session.c.account_id == account.id
