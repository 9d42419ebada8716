"""The tracker of Dokploy deployments: one observer polls for all runs, and each run finds its own job and record."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, TypeVar

from app.dokploy import DokployClient, DokployDeployment, Project, QueueJob, Volume
from app.observation.observer import Observer
from app.stacks.marker import Marker

T = TypeVar("T")

# What Dokploy calls a deployment whose title it was not given, or did not keep.
DEFAULT_TITLE: Final = "Manual deployment"


class SharedRead(Generic[T]):
    """One call for everybody who asks at the same time.

    An answer serves only those who asked before its call began, so nobody reads something older than the question.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], *, gap: float = 0.0) -> None:
        """`gap`: seconds from the beginning of one call to that of the next, at least."""
        self._read = read
        self._gap = gap
        self._under_way: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None
        self._began = float("-inf")

    async def __call__(self) -> T:
        """Ask, or join those who ask already."""
        if self._next is None:
            self._next = asyncio.create_task(self._call(self._under_way))
            self._next.add_done_callback(_look_at)
        return await asyncio.shield(self._next)

    async def _call(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait({before})
        await asyncio.sleep(max(0.0, self._began + self._gap - time.monotonic()))
        self._began = time.monotonic()
        self._under_way, self._next = self._next, None
        return await self._read()


def _look_at(task: asyncio.Task[T]) -> None:
    """Mark a failure as seen: everyone who asked may have left meanwhile."""
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True)
class DokployQueue:
    """Dokploy's queue at one moment."""

    jobs: Sequence[QueueJob]

    @cached_property
    def _waiting(self) -> list[QueueJob]:
        # Dokploy lists the newest first, also of those that came in one millisecond.
        waiting = (job for job in reversed(self.jobs) if job.state == "waiting")
        return sorted(waiting, key=lambda job: job.timestamp)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {job.id: place for place, job in enumerate(self._waiting, 1)}

    @cached_property
    def _titles(self) -> dict[str | None, QueueJob]:
        return {job.data.title_log: job for job in reversed(self.jobs)}

    @cached_property
    def _applications(self) -> dict[str | None, list[QueueJob]]:
        found: dict[str | None, list[QueueJob]] = {}
        for job in self.jobs:
            found.setdefault(job.data.application_id, []).append(job)
        return found

    def titled(self, title: str) -> QueueJob | None:
        """Return the job with our title; the newest, if it was triggered twice."""
        return self._titles.get(title)

    def untitled(self, application_id: str, marker: Marker | None) -> QueueJob | None:
        """Return an application's newest job with Dokploy's default title and this marker; None: no description."""
        for job in self.of_application(application_id):
            description = job.data.description_log
            if job.data.title_log == DEFAULT_TITLE and (marker.is_on(description) if marker else not description):
                return job
        return None

    def of_application(self, application_id: str) -> list[QueueJob]:
        """Every job of an application, waiting or active."""
        return self._applications.get(application_id, [])

    def place(self, job: QueueJob) -> int:
        """Place among the waiting; 1 is next."""
        return self._places[job.id]

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._places)


class Tracker:
    """Asks Dokploy once for what many runs want to know at the same time."""

    def __init__(self, dokploy: DokployClient) -> None:
        self.queue = SharedRead(self._read_queue, gap=0.1)
        self.queue_observer = Observer(self.queue)
        # Set for good by the first title of ours that is seen over there.
        self.keeps_titles = False
        self.projects = SharedRead(self._read_projects)
        self.volumes = SharedRead(self._read_volumes)
        self._dokploy = dokploy

    async def _read_queue(self) -> DokployQueue:
        return DokployQueue(await self._dokploy.list_queue())

    async def _read_projects(self) -> dict[str, list[Project]]:
        by_name: dict[str, list[Project]] = {}
        for project in await self._dokploy.list_projects():
            by_name.setdefault(project.name, []).append(project)
        return by_name

    async def _read_volumes(self) -> set[str]:
        volumes: list[Volume] = await self._dokploy.list_volumes()
        return {volume.name for volume in volumes}


def find_row(
    rows: Sequence[DokployDeployment],
    title: str,
    *,
    marker: Marker | None = None,
    baseline: Collection[str] = (),
    guess: int = 0,
) -> DokployDeployment | None:
    """Find our row among an application's, which come newest first.

    The title is the proof; where the server has dropped it, our `marker` as the description of a row that is not among
    those before, the `baseline`. `guess`: how often was asked, where the server may have dropped both; the newest
    counts when there are just so many new rows and none has a name. Dokploy's own button makes such rows, too.
    """
    for row in rows:
        if row.title == title:
            return row
    new = [row for row in rows if row.deployment_id not in baseline]
    for row in new:
        if marker and row.title == DEFAULT_TITLE and marker.is_on(row.description):
            return row
    nameless = all(row.title == DEFAULT_TITLE and not row.description for row in new)
    return new[0] if guess and len(new) == guess and nameless else None


class Pace:
    """How long to wait between two looks: a small part of the time since something last moved."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since something moved."""
        return time.monotonic() - self._since

    def moved(self) -> None:
        """Something moved: look closely again."""
        self._since = time.monotonic()

    def interval(self, *, watched: bool) -> float:
        """Seconds until the next look. Looking at 8 % of the age costs at most 8 % of the time that is waited."""
        return max(0.15, min(self.age * 0.08, 2.0 if watched else 5.0))
