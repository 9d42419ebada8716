"""Transfer of a stack to another owner by a one-time code or its manage key, which is replaced."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from app.audit import Action, note
from app.errors import PortalError
from app.security.vault import fingerprint, new_manage_key
from app.stacks.model import StackRecord
from app.stacks.ownership import must_be_unchanged
from app.stacks.quotas import TURN, Quotas
from app.stacks.requester import Requester
from app.store import schema
from app.store.engine import Database

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


class Transfers:
    """Gives stacks to other owners. Whoever takes one over has agreed to it by doing so."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    async def offer(self, stack: StackRecord, requester: Requester) -> Offer:
        """Make the code for a stack; one that was made before counts no more.

        Raises PortalError `stack_not_found` once the stack is gone or somebody else's.
        """
        now = datetime.now(UTC)
        offer = Offer(_PREFIX + secrets.token_urlsafe(24), now + OFFER_LIVES)

        def work(connection: Connection) -> None:
            # First, as `take` does: so of two that are made at once the later sees the earlier.
            if not must_be_unchanged(connection, stack, requester.actor):
                raise PortalError("stack_not_found", name=stack.name)
            connection.execute(delete(schema.offer).where(schema.offer.c.stack_id == stack.id))
            connection.execute(
                insert(schema.offer).values(
                    stack_id=stack.id, hash=fingerprint(offer.code), created_at=now, expires_at=offer.expires_at
                )
            )
            note(connection, requester.actor, Action.OFFER, stack=stack.name)

        await self._database.write(work)
        return offer

    async def take(self, code: str, requester: Requester) -> TakenOver:
        """Make the requester the owner of the stack that a code, or a manage key, is for.

        Raises PortalError `offer_invalid`: wrong, used, expired, or the stack is gone; `stacks_of_owner`.
        """
        key, hashed = new_manage_key(), fingerprint(code)
        stack, offer = schema.stack, schema.offer

        def work(connection: Connection) -> TakenOver:
            # One at a time, whatever the limits are.
            self._database.take_turns(connection, TURN)
            of_offer = select(offer.c.stack_id).where(offer.c.hash == hashed)
            which = connection.scalar(
                select(stack.c.id).where(stack.c.id.in_(of_offer) | (stack.c.manage_key_hash == hashed))
            )
            # Locked before anything is decided. What the row says now is never compared with a snapshot from before
            # the wait: PostgreSQL reads only the locked row anew, and not what else is in its query.
            found = connection.execute(
                select(stack).where(stack.c.id == which, stack.c.removed_at.is_(None)).with_for_update(key_share=True)
            ).first()
            if found is None:
                raise PortalError("offer_invalid", field="code")
            of_it = delete(offer).where(offer.c.stack_id == found.id)
            used = connection.execute(of_it.where(offer.c.hash == hashed, offer.c.expires_at > datetime.now(UTC)))
            is_its_key = stack.c.manage_key_hash == hashed
            taken = (
                update(stack)
                .where(stack.c.id == found.id, *([] if used.rowcount else [is_its_key]))
                .values(owner=requester.owner or f"key:{found.id}", manage_key_hash=fingerprint(key))
            )
            if connection.execute(taken).rowcount != 1:
                raise PortalError("offer_invalid", field="code")
            connection.execute(of_it)
            self._quotas.check_owner(connection, requester.owner, is_operator=requester.is_operator)
            note(connection, requester.actor, Action.TAKE_OVER, stack=found.name)
            return TakenOver(found.name, found.plan["url"], key)

        return await self._database.write(work)
