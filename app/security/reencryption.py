"""Re-encryption of the store's secrets with the newest key, beside running portals; detects a store of another key."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, select, update

from app.errors import SettingsError
from app.security.vault import Vault
from app.store import schema
from app.store.engine import Database

# So many rows a transaction: others who write wait for no longer than that takes.
_BATCH: Final = 100
# What somebody else changes in the very moment is looked at again.
_PASSES: Final = 5
# Answers kept for a repeated request count for a day; afterwards nobody reads them.
_ANSWERS_COUNT: Final = timedelta(hours=24)
# What is encrypted to know the key by: anything would do.
_SEALED: Final = "ai-stack-deployer"


@dataclass(frozen=True)
class Ages:
    """How many secrets are encrypted with which key. unreadable: with one that SECRET_KEY lacks, and still needed."""

    newest: int = 0
    older: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class _Kept:
    """A column of encrypted values. living: says of a row whether anybody may still need it."""

    table: Table
    key: Column[Any]
    value: Column[Any]
    living: Column[Any]


_STACKS: Final = _Kept(schema.stack, schema.stack.c.id, schema.stack.c.secrets, schema.stack.c.removed_at)
_NEXT: Final = _Kept(schema.stack, schema.stack.c.id, schema.stack.c.next_secrets, schema.stack.c.removed_at)
_ANSWERS: Final = _Kept(
    schema.idempotency, schema.idempotency.c.key_hash, schema.idempotency.c.answer, schema.idempotency.c.created_at
)
_EVERYTHING: Final = (_STACKS, _NEXT, _ANSWERS)


class Reencryption:
    """What the store holds encrypted, seen with the keys of one SECRET_KEY.

    The `seal` of the installation is encrypted with the oldest key that is still in use, so that a process without that
    key notices at its start.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def recognise(self) -> None:
        """See at the start that SECRET_KEY is the one that the store is written with. Raises SettingsError if not."""
        table = schema.installation

        def look(connection: Connection) -> tuple[bytes | None, bytes | None]:
            newest = (
                select(schema.stack.c.secrets)
                .where(schema.stack.c.removed_at.is_(None), schema.stack.c.secrets != b"")
                .order_by(schema.stack.c.id.desc())
                .limit(1)
            )
            return connection.scalar(select(table.c.seal)), connection.scalar(newest)

        def seal(connection: Connection) -> bytes:
            first = update(table).where(table.c.seal.is_(None)).values(seal=self._vault.encrypt(_SEALED))
            connection.execute(first)
            return bytes(connection.scalar(select(table.c.seal)) or b"")

        sealed, secrets = await self._database.read(look)
        if sealed is None:
            # A store from before there were seals is known by its newest stack.
            if secrets is not None:
                self._vault.decrypt(secrets)
            # Two may start at once: whoever comes second finds the other's.
            sealed = await self._database.write(seal)
        self._vault.decrypt(sealed)

    async def count(self) -> Ages:
        """Count, and change nothing."""
        ages = Ages()
        for kept in _EVERYTHING:
            async for batch in self._batches(kept):
                for row in batch:
                    ages = self._counted(ages, kept, row)[0]
        return ages

    async def run(self, *, lost: bool = False) -> tuple[int, Ages]:
        """Encrypt anew what an older key has encrypted: how many that were, and how things are then.

        May be broken off at any moment, and run again. Beside a process whose newest key is an older one it does not
        come to an end; so it gives up after a few passes, and says what is left. `lost`: what no key reads is given up,
        so that a portal starts without it.
        """
        renewed, ages = 0, Ages()
        for _ in range(_PASSES):
            ages = Ages()
            for kept in _EVERYTHING:
                async for batch in self._batches(kept):
                    done, ages = await self._renew(kept, batch, ages)
                    renewed += done
            if not ages.older:
                break
        if not ages.older and (lost or not ages.unreadable):
            await self._seal_anew()
        return renewed, ages

    async def _batches(self, kept: _Kept) -> AsyncIterator[list[Any]]:
        """Yield the rows in the order of their keys, each batch read by itself."""
        batch = await self._batch(kept, "")
        while batch:
            yield batch
            batch = await self._batch(kept, batch[-1].key)

    async def _batch(self, kept: _Kept, after: str) -> list[Any]:
        query = (
            select(kept.key.label("key"), kept.value.label("value"), kept.living.label("living"))
            .where(kept.key > after, kept.value.is_not(None), kept.value != b"")  # erased with its stack
            .order_by(kept.key)
            .limit(_BATCH)
        )
        return await self._database.read(lambda connection: list(connection.execute(query)))

    async def _renew(self, kept: _Kept, batch: list[Any], ages: Ages) -> tuple[int, Ages]:
        new: dict[str, tuple[bytes, bytes]] = {}
        for row in batch:
            ages, renewed = self._counted(ages, kept, row)
            if renewed is not None:
                new[row.key] = (row.value, renewed)
        if not new:
            return 0, ages

        def write(connection: Connection) -> int:
            done = 0
            for key, (old, renewed) in new.items():
                # Only what still is as it was read: what somebody has written since is newer than ours.
                same = update(kept.table).where(kept.key == key, kept.value == old)
                done += connection.execute(same.values({kept.value: renewed})).rowcount
            return done

        done = await self._database.write(write)
        return done, replace(ages, newest=ages.newest + done, older=ages.older - done)

    def _counted(self, ages: Ages, kept: _Kept, row: Any) -> tuple[Ages, bytes | None]:
        """Count a row, and give what it would be under the newest key where that is not its own."""
        try:
            renewed = self._vault.renew(row.value)
        except SettingsError:
            needed = (
                row.living is None if kept.table is schema.stack else row.living > datetime.now(UTC) - _ANSWERS_COUNT
            )
            return (replace(ages, unreadable=ages.unreadable + 1) if needed else ages), None
        if renewed is None:
            return replace(ages, newest=ages.newest + 1), None
        return replace(ages, older=ages.older + 1), renewed

    async def _seal_anew(self) -> None:
        table = schema.installation
        sealed = self._vault.encrypt(_SEALED)
        await self._database.write(lambda connection: connection.execute(update(table).values(seal=sealed)))
