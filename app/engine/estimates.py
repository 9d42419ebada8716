"""Estimates of durations: medians of the last creations, cached."""

import asyncio
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, and_, select

from app.deployments.states import Conclusion
from app.operations.table import kinds
from app.store import schema
from app.store.engine import Database
from app.store.errors import StoreAway

# Durations change slowly, and hundreds of runs may ask at the same moment.
_FRESH_SECONDS: Final = 30.0
# The first ones are looked for soon: a store in which nothing has ended has little to read.
_UNKNOWN_SECONDS: Final = 1.0
_MEASURED: Final = 20


@dataclass(frozen=True)
class Medians:
    """In seconds; None before the first. creation: of a whole run; dokploy: of Dokploy's own work on a deployment."""

    creation: float | None = None
    dokploy: float | None = None


class Estimates:
    """What the last creations that succeeded tell of the next one."""

    def __init__(self, database: Database, *, fresh: float = _FRESH_SECONDS) -> None:
        """`fresh`: seconds for which what was read counts."""
        self._database = database
        self._fresh = fresh
        self._known = Medians()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def medians(self) -> Medians:
        """Return the newest; while the store is away, those that were known last."""
        async with self._reading:
            fresh = self._fresh if self._known.creation is not None else _UNKNOWN_SECONDS
            if time.monotonic() - self._read_at > fresh:
                try:
                    self._known = await self._database.read(_read)
                except StoreAway:
                    return self._known
                self._read_at = time.monotonic()
            return self._known


def last_creations() -> Select[tuple[object, ...]]:
    """Select the last creations that succeeded, with what their deploy steps measured; by an index, few rows each."""
    deployment, step = schema.deployment, schema.step
    last = (
        select(deployment.c.id, deployment.c.started_at, deployment.c.concluded_at)
        .where(
            deployment.c.kind.in_(kinds(lambda each: each.begins_stack)),
            deployment.c.conclusion == Conclusion.SUCCEEDED,
        )
        .order_by(deployment.c.concluded_at.desc())
        .limit(_MEASURED)
        .subquery()
    )
    of_it = and_(step.c.deployment_id == last.c.id, step.c.name == "deploy")
    return select(last.c.started_at, last.c.concluded_at, step.c.output).join(step, of_it, isouter=True)


def _read(connection: Connection) -> Medians:
    rows = connection.execute(last_creations()).all()
    whole = [(row.concluded_at - row.started_at).total_seconds() for row in rows]
    measured = [row.output["ran_seconds"] for row in rows if row.output and "ran_seconds" in row.output]
    return Medians(_median(whole), _median(measured))


def _median(seconds: Iterable[float]) -> float | None:
    known = list(seconds)
    return statistics.median(known) if known else None
