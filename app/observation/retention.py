"""Retention: once an hour, one process deletes what is older than the operator has it kept, a little at a time.

A transaction deletes about 500 rows, and as long as it took nothing is deleted afterwards: at least half of the time
the one writer of SQLite is free for people.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Self, TypeVar

import structlog
from sqlalchemy import Connection, select, update

from app.config.settings import Settings
from app.observation import expired
from app.observation.expired import Counts
from app.operations.idempotency import LIVES
from app.store import schema
from app.store.dialects import database_now
from app.store.engine import Database
from app.store.errors import StoreAway

log = structlog.get_logger()

T = TypeVar("T")

_HOUR_SECONDS: Final = 3600.0
# How often each process looks whether the hour is over.
_LOOK_SECONDS: Final = 60.0
# After how long a sweep that failed is tried again.
_AGAIN_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Keep:
    """How long things are kept; None: forever."""

    events: timedelta | None = None
    deployments: timedelta | None = None
    audit: timedelta | None = None
    tokens: timedelta | None = None
    accounts: timedelta | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the settings, in which 0 stands for forever."""
        return cls(
            events=_days(settings.keep_events_days),
            deployments=_days(settings.keep_deployments_days),
            audit=_days(settings.keep_audit_days),
            tokens=_days(settings.keep_tokens_days),
            accounts=_days(settings.keep_accounts_days),
        )


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


class _Stopped(Exception):
    """This process is to delete nothing any more."""


class Retention:
    """Deletes what is old. Several portals may try: the store lets one begin in an hour."""

    def __init__(
        self, database: Database, keep: Keep, *, may_act: Callable[[], bool], every: float | None = None
    ) -> None:
        """`may_act`: whether this process is to delete anything now; `every`: seconds between two looks."""
        self._database = database
        self._keep = keep
        self._may_act = may_act
        self._every = _LOOK_SECONDS if every is None else every
        self._has_failed = False

    async def run(self) -> None:
        """Look, and sweep once an hour, until cancelled."""
        is_away = False
        while True:
            await asyncio.sleep(self._every)
            if not self._may_act():
                continue
            try:
                await self.look()
                is_away = False
            except StoreAway as error:
                if not is_away:  # once: the next look comes soon
                    log.warning("retention_stopped", reason=str(error))
                is_away = True

    async def look(self) -> None:
        """Sweep if an hour is over since the last sweep, or some minutes since one that failed. Raises as `sweep`."""
        if self._has_failed:
            await self._give_back()
        if await self.claim():
            try:
                await self.sweep()
            except Exception:
                self._has_failed = True
                await self._give_back()
                raise

    async def _give_back(self) -> None:
        """Have the next sweep be due in some minutes; where that cannot be written, the next look tries it again."""
        table = schema.retention
        soon = database_now() - _HOUR_SECONDS + _AGAIN_SECONDS
        again = update(table).where(table.c.what == "sweep").values(swept_at=soon)
        await self._database.write(lambda connection: connection.execute(again).close())
        self._has_failed = False

    async def claim(self) -> bool:
        """Take this hour's sweep, by the database's clock; False where somebody has it."""
        table = schema.retention.c
        is_due = (table.what == "sweep") & (table.swept_at <= database_now() - _HOUR_SECONDS)
        due = select(table.what).where(is_due)
        if not await self._database.read(lambda connection: connection.execute(due).first()):
            return False  # the one writer's turn is worth more than a look
        taken = update(schema.retention).where(is_due).values(swept_at=database_now())
        return await self._database.write(lambda connection: connection.execute(taken).rowcount == 1)

    async def sweep(self, at: datetime | None = None) -> Counts:
        """Delete all that is old at a moment, by default now; return how many rows of each kind.

        What fails keeps nothing else from being deleted, and is raised at the end: a mistake of ours rather than
        StoreAway.
        """
        began = time.monotonic()
        if at is None:
            seconds = await self._database.read(lambda connection: connection.scalar(select(database_now())))
            at = datetime.fromtimestamp(seconds or 0.0, UTC)
        done: Counts = Counter()
        failed: dict[str, Exception] = {}
        for kind, batches in self._kinds(at):
            try:
                async for each in batches:
                    done += each
            except _Stopped:
                log.info("retention_handed_over")
                break
            except Exception as error:  # noqa: BLE001 - raised below
                failed[kind] = error
        seconds = round(time.monotonic() - began, 3)
        log.info("retention_swept", seconds=seconds, deleted=dict(done), failed=list(failed))
        if failed:
            raise min(failed.values(), key=lambda error: isinstance(error, StoreAway))
        return done

    def _kinds(self, at: datetime) -> Iterator[tuple[str, AsyncIterator[Counts]]]:
        """Give what is deleted of each kind, a transaction at a time; no kind needs another to be done."""
        keep = self._keep
        for kind, work in self._plain(at):
            yield kind, self._repeat(work)
        if keep.deployments is not None:
            yield "deployments", self._deployments(at - keep.deployments)
            yield "stacks", self._stacks(at - keep.deployments)
        if keep.audit is not None:
            yield "audit", self._audit(at - keep.audit)

    def _plain(self, at: datetime) -> Iterator[tuple[str, Callable[[Connection], Counts]]]:
        """Give what is done again until there is nothing more to delete."""
        keep = self._keep
        for column, kept in (
            (schema.offer.c.expires_at, timedelta()),
            (schema.session.c.expires_at, timedelta()),
            (schema.idempotency.c.created_at, LIVES),
            (schema.token.c.expires_at, keep.tokens),
            (schema.token.c.revoked_at, keep.tokens),
        ):
            if kept is not None:
                yield str(column), partial(expired.delete_older, column=column, before=at - kept)
        yield "secrets", expired.erase_secrets
        if keep.events is not None:
            yield "logs", partial(expired.trim_logs, before=at - keep.events, at=at)
        if keep.accounts is not None:
            yield "accounts", partial(expired.delete_accounts, before=at - keep.accounts)

    async def _repeat(self, work: Callable[[Connection], Counts]) -> AsyncIterator[Counts]:
        while (done := await self._delete(work)).total():
            yield done

    async def _deployments(self, before: datetime) -> AsyncIterator[Counts]:
        after = ""
        while rows := await self._database.read(partial(expired.standing_stacks, after=after)):
            after = rows[-1].name
            work = partial(expired.delete_deployments, stack_ids=[row.id for row in rows], before=before)
            async for done in self._repeat(work):
                yield done

    async def _stacks(self, before: datetime) -> AsyncIterator[Counts]:
        after: tuple[datetime, str] | None = None
        while True:
            rest: Sequence[str]
            rest, after = await self._database.read(partial(expired.removed_stacks, before=before, after=after))
            while rest:
                done, rest = await self._delete(partial(expired.delete_stacks, ids=rest, before=before))
                yield done
            if after is None:
                return

    async def _audit(self, before: datetime) -> AsyncIterator[Counts]:
        if entries := await self._database.read(partial(expired.count_entries, before=before)):
            await self._delete(partial(expired.advance_audit, before=before, entries=entries))
        allowed = await self._database.read(expired.audit_before)
        if allowed is not None:
            until = min(allowed, before)
            async for done in self._repeat(partial(expired.delete_older, column=schema.audit.c.at, before=until)):
                yield done

    async def _delete(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction, and leave the writer to others for as long."""
        if not self._may_act():
            raise _Stopped

        def delete(connection: Connection) -> T:
            return work(connection)

        began = time.monotonic()
        done = await self._database.write(delete)
        await asyncio.sleep(time.monotonic() - began)
        return done
