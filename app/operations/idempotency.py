"""Idempotency keys: a request that is repeated under one within a day gets the first one's answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from app.errors import PortalError
from app.store import schema

LIVES: Final = timedelta(hours=24)


@dataclass(frozen=True)
class IdempotencyKey:
    """A key on one request. hash, body_hash: fingerprints of the key with its sender, and of what was requested."""

    hash: str = field(repr=False)
    body_hash: str = field(repr=False)

    def answer(self, connection: Connection, decrypt: Callable[[bytes], str]) -> str | None:
        """Return the answer that the key stands for; None where it is new, or has expired.

        Raises PortalError `idempotency_key_reused` where something else was requested under it.
        """
        table = schema.idempotency
        row = connection.execute(select(table).where(table.c.key_hash == self.hash)).first()
        if row is None:
            return None
        if row.created_at < datetime.now(UTC) - LIVES:
            connection.execute(delete(table).where(table.c.key_hash == self.hash))
            return None
        if row.body_hash != self.body_hash:
            raise PortalError("idempotency_key_reused", field="Idempotency-Key")
        return decrypt(row.answer)

    def keep(self, connection: Connection, deployment_id: str, answer: bytes) -> None:
        """Store the answer, encrypted: it holds a manage key."""
        connection.execute(
            insert(schema.idempotency).values(
                key_hash=self.hash,
                body_hash=self.body_hash,
                deployment_id=deployment_id,
                answer=answer,
                created_at=datetime.now(UTC),
            )
        )
