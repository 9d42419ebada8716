"""Hands a stack to another owner: by a code that its owner passes on, or by its manage key; the key is made anew."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from app.audit import Action, note
from app.database import Database
from app.deployments import tables
from app.deployments.intake import Asker
from app.deployments.quota import Quotas
from app.deployments.record import StackRecord
from app.errors import PortalError
from app.vault import fingerprint, new_manage_key

OFFER_LIVES: Final = timedelta(hours=24)
# Shown with a code, so that it is not taken for a manage key.
_PREFIX: Final = "asdo_"


@dataclass(frozen=True)
class Offer:
    """A code with which somebody may take a stack over, once. code: a secret."""

    code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class TakenOver:
    """A stack that has a new owner. manage_key: its new one, a secret; the one before opens nothing any more."""

    name: str
    url: str
    manage_key: str = field(repr=False)


class HandingOver:
    """Gives stacks to other owners. Whoever takes one over has agreed to it by doing so."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    async def offer(self, stack: StackRecord, asker: Asker) -> Offer:
        """Make the code for a stack; one that was made before counts no more."""
        now = datetime.now(UTC)
        offer = Offer(_PREFIX + secrets.token_urlsafe(24), now + OFFER_LIVES)

        def work(connection: Connection) -> None:
            connection.execute(delete(tables.offer).where(tables.offer.c.stack_id == stack.id))
            connection.execute(
                insert(tables.offer).values(
                    stack_id=stack.id, hash=fingerprint(offer.code), created_at=now, expires_at=offer.expires_at
                )
            )
            note(connection, asker.actor, Action.OFFER, stack=stack.name)

        await self._database.write(work)
        return offer

    async def take(self, code: str, asker: Asker) -> TakenOver:
        """Make the asker the owner of the stack that a code, or a manage key, is for.

        Raises PortalError `offer_invalid`: wrong, used, expired, or the stack is gone; `stacks_of_owner`.
        """
        key, hashed = new_manage_key(), fingerprint(code)
        stack, offer = tables.stack, tables.offer

        def work(connection: Connection) -> TakenOver:
            self._quotas.take_turns(self._database, connection)
            of_offer = select(offer.c.stack_id).where(offer.c.hash == hashed, offer.c.expires_at > datetime.now(UTC))
            which = stack.c.id.in_(of_offer) | (stack.c.manage_key_hash == hashed)
            found = connection.execute(
                select(stack).where(which, stack.c.removed_at.is_(None)).with_for_update()
            ).first()
            if found is None:
                raise PortalError("offer_invalid", field="code")
            # The condition again, so that of two who come with the same code at once only one has it.
            taken = (
                update(stack)
                .where(stack.c.id == found.id, stack.c.manage_key_hash == found.manage_key_hash)
                .values(owner=asker.owner or f"key:{found.id}", manage_key_hash=fingerprint(key))
            )
            if connection.execute(taken).rowcount != 1:
                raise PortalError("offer_invalid", field="code")
            self._quotas.check_owner(connection, asker.owner, is_operator=asker.is_operator)
            connection.execute(delete(offer).where(offer.c.stack_id == found.id))
            note(connection, asker.actor, Action.TAKE_OVER, stack=found.name)
            return TakenOver(found.name, found.plan["url"], key)

        return await self._database.write(work)
