"""Readiness of the store: opens it at the start, and knows afterwards whether it can still be written."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog
from sqlalchemy.exc import ArgumentError

from app.errors import SettingsError
from app.store.engine import Database
from app.store.errors import Reason, StoreAway
from app.store.lock import FileLock
from app.store.migrations import HEAD, check, migrate

log = structlog.get_logger()

# How long a store that is away is waited for at the start, and how often the log says so.
PATIENCE: Final = 60.0
_TELL_SECONDS: Final = 10.0
# What a new answer costs is one small write, so that many who ask share one.
_FRESH_SECONDS: Final = 1.0
_LONGEST_LOOK: Final = 8.0
# What may pass without anybody's doing.
_PASSING: Final[frozenset[Reason]] = frozenset({"away", "locked"})

_LINES: Final[Mapping[Reason, str]] = {
    "full": "the disk of the database at {where} is full; make room",
    "failing": "the disk of the database at {where} does not read or write; look at its room, its quota and its health",
    "read_only": "the database at {where} cannot be written; the portal runs as uid {uid}, which must own its folder",
    "corrupt": "the database at {where} is damaged, or not a database; restore it from a backup",
    "unopenable": "the database at {where} cannot be opened; the portal runs as uid {uid}, which must own its folder",
    "locked": "the database at {where} was too busy, or held by another program, for {seconds:.0f} s",
    "refused": "PostgreSQL at {where} refuses DATABASE_URL: {detail}",
    "away": "PostgreSQL at {where} did not answer for {seconds:.0f} s; look at DATABASE_URL, and whether it runs",
}


async def open_store(url: str, *, patience: float = PATIENCE, make: Callable[[str], Database] = Database) -> Database:
    """Open the store, bring its schema up to date and see that it can be written. `make` opens another kind of it.

    One that is away is waited for. Raises SettingsError, with the one line that the operator reads.
    """
    try:
        database = make(url)
    except (ArgumentError, ValueError):
        raise SettingsError(
            "DATABASE_URL is malformed; for example DATABASE_URL=postgresql+asyncpg://portal:secret@db/portal"
        ) from None
    except OSError as error:
        raise SettingsError(f"the folder of the database, {error.filename}, cannot be made: {error.strerror}") from None
    try:
        await _wait_until_usable(database, patience)
    except BaseException:
        await database.close()
        raise
    return database


async def _wait_until_usable(database: Database, patience: float) -> None:
    began = time.monotonic()
    tell_at = began
    while True:
        try:
            if database.is_sqlite:
                FileLock(Path(database.where)).check()
            await migrate(database)
            await check(database)
        except StoreAway as error:
            now = time.monotonic()
            if error.reason not in _PASSING or now - began >= patience:
                raise SettingsError(_line(database, error, patience)) from None
            if now >= tell_at:
                log.warning("store_awaited", where=database.where, reason=str(error))
                tell_at = now + _TELL_SECONDS
            await asyncio.sleep(0.5)
        else:
            return


def _line(database: Database, error: StoreAway, patience: float) -> str:
    return _LINES[error.reason].format(
        where=database.where, uid=os.getuid(), seconds=patience, detail=error.detail.rpartition(">: ")[2]
    )


@dataclass(frozen=True)
class StoreState:
    """What is known of the store. trouble: why it cannot be used; revision: its schema's, where it can be read."""

    trouble: Reason | Literal["schema"] | None
    revision: str | None = None


class Readiness:
    """Says whether requests can be taken in, by a write that is real and at most a second old."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = StoreState("away")
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def look(self) -> StoreState:
        """Return the state of the store now."""
        async with self._looking:
            if time.monotonic() - self._looked_at > _FRESH_SECONDS:
                before, self._known = self._known, await self._look()
                self._looked_at = time.monotonic()
                if self._known.trouble and self._known != before:
                    log.error("not_ready", trouble=self._known.trouble)
            return self._known

    async def _look(self) -> StoreState:
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                revision = await check(self._database)
        except StoreAway as error:
            return StoreState(error.reason)
        except TimeoutError:
            return StoreState("locked" if self._database.is_sqlite else "away")
        return StoreState(None if revision is not None and revision >= HEAD else "schema", revision)
