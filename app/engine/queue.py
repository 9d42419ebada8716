"""The portal's own queue: which deployments wait, in which order, and for about how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, select

from app.deployments.model import PORTAL_TRIGGER, DeploymentRecord
from app.deployments.states import Status
from app.engine.estimates import Estimates
from app.errors import N_
from app.i18n import Language
from app.observation.tracker import SharedRead
from app.store import schema
from app.store.dialects import database_now
from app.store.engine import Database

ORDER: Final = (schema.deployment.c.trigger == PORTAL_TRIGGER, schema.deployment.c.created_at, schema.deployment.c.id)
"""How deployments begin: as they were requested, and then the portal's own, for which nobody waits."""

# A run usually begins at once; who waits no longer than this is not waiting.
PATIENCE_SECONDS: Final = 1.0
# One look serves everybody who watches.
_GAP_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Place:
    """A place in the queue, 1 being next. total: how many wait; estimate_seconds: None before any was measured."""

    position: int
    total: int
    estimate_seconds: float | None


class DeploymentQueue:
    """Tells places in the queue."""

    def __init__(self, database: Database, estimates: Estimates, *, concurrency: int) -> None:
        """`concurrency`: how many deployments one process runs at once."""
        self._database = database
        self._estimates = estimates
        self._concurrency = concurrency
        self._look = SharedRead(self._read_queue, gap=_GAP_SECONDS)

    async def place(self, record: DeploymentRecord) -> Place | None:
        """Return the place of a waiting deployment; None for one that has begun or was requested just now."""
        if (
            not is_waiting(record)
            or record.cancel_requested
            or (datetime.now(UTC) - record.created_at).total_seconds() < PATIENCE_SECONDS
        ):
            return None
        places, slots = await self._look()
        position = places.get(record.id)
        if position is None:
            return None
        usual = (await self._estimates.medians()).creation
        return Place(position, len(places), None if usual is None else usual * position / slots)

    async def _read_queue(self) -> tuple[Mapping[str, int], int]:
        table, worker = schema.deployment.c, schema.worker.c
        waiting = (
            select(table.id)
            .where(table.status != Status.COMPLETED, table.status == Status.QUEUED, table.started_at.is_(None))
            .order_by(*ORDER)
        )
        alive = select(func.count()).where(worker.expires_at > database_now())

        def read(connection: Connection) -> tuple[Mapping[str, int], int]:
            places = {row.id: place for place, row in enumerate(connection.execute(waiting), 1)}
            return places, max(1, connection.scalar(alive) or 0) * self._concurrency

        return await self._database.read(read)


def is_waiting(record: DeploymentRecord) -> bool:
    """Whether no process has taken a deployment yet."""
    return record.status is Status.QUEUED and record.started_at is None


def describe_place(place: Place, language: Language) -> str:
    """Say a place in a language."""
    ahead = place.position - 1
    if place.estimate_seconds is None:
        if not ahead:
            return language.text(N_("The portal is busy. This deployment is next."))
        return language.plural(
            "The portal is busy. {count} deployment goes first.",
            "The portal is busy. {count} deployments go first.",
            ahead,
        )
    estimate = {"estimate": language.duration(place.estimate_seconds)}
    if not ahead:
        return language.text(N_("The portal is busy. This deployment is next, in about {estimate}."), estimate)
    return language.plural(
        "The portal is busy. {count} deployment goes first, about {estimate}.",
        "The portal is busy. {count} deployments go first, about {estimate}.",
        ahead,
        estimate,
    )
