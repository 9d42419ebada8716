"""What the steps of one run share: its plan, its secrets, the way to Dokploy, and the way into the journal."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.deployments.blame import PASSING, problem_of
from app.deployments.events import CancelRequested, Event
from app.deployments.feed import Feed
from app.deployments.journal import Journal
from app.deployments.plan import Plan
from app.deployments.probing import Prober
from app.deployments.record import Records
from app.deployments.run import Resource, Run
from app.deployments.saga import Checkpoint, ResourceChange, RunLost, StepChange, StepState
from app.deployments.template import Registry, StackSecrets
from app.deployments.tracking import Observer
from app.dokploy import DokployClient, DokployError
from app.errors import PortalError
from app.settings import Settings


@dataclass(frozen=True)
class Surroundings:
    """What all runs of a process share."""

    settings: Settings
    dokploy: DokployClient
    observer: Observer
    prober: Prober
    journal: Journal
    records: Records
    feed: Feed
    registry: Registry | None
    installation: str


@dataclass
class RunContext:
    """One run on its way. Satisfies the saga's `Recorder`."""

    run: Run
    around: Surroundings
    plan: Plan
    secrets: StackSecrets = field(repr=False)
    _cancel_told: bool = False

    @property
    def dokploy(self) -> DokployClient:
        """The client."""
        return self.around.dokploy

    @property
    def settings(self) -> Settings:
        """The portal's settings."""
        return self.around.settings

    @property
    def marker(self) -> str:
        """What every project and application of this stack bears in its description."""
        return f"asd:{self.around.installation}:{self.run.stack_id}"

    # The saga's recorder

    @property
    def stopping(self) -> bool:
        """Whether this process is about to hand the run over."""
        return self.run.stopping.is_set()

    def state_of(self, step: str) -> StepState:
        """Where a step stood at the last checkpoint."""
        return self.run.steps[step].state

    def seconds_in(self, step: str) -> float:
        """How long ago a step was started."""
        started = self.run.steps[step].started_at
        return max(0.0, (datetime.now(UTC) - started).total_seconds()) if started else 0.0

    async def record(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint."""
        await self.around.journal.record(self.run, checkpoint)

    # What steps use

    async def tell(self, *events: Event) -> None:
        """Record events in the middle of a step."""
        await self.record(Checkpoint(events=list(events)))

    async def note(self, step: str, output: Mapping[str, Any], *events: Event) -> None:
        """Record values in the middle of a step, so that a later run of it finds them."""
        await self.record(Checkpoint(events=list(events), steps={step: StepChange(StepState.RUNNING, output)}))

    async def became(self, *changes: ResourceChange) -> None:
        """Record what became of resources in the middle of a step."""
        await self.record(Checkpoint(resources=list(changes)))

    def output(self, step: str, name: str) -> Any:
        """A value that a step has noted, or None."""
        return self.run.steps[step].output.get(name) if step in self.run.steps else None

    def resource(self, kind: str) -> Resource:
        """What is known of a resource."""
        return self.run.resources[kind]

    def was_tried(self, step: str) -> bool:
        """Whether an earlier process was interrupted in the middle of this step."""
        return self.run.steps[step].attempts > 1

    async def check_canceled(self) -> None:
        """Raise PortalError `canceled` if somebody asked for it; while undoing nothing can be cancelled."""
        if self.run.cancel_requested.is_set() and not self.run.undoing:
            # Steps that run side by side find out each for itself, but it was asked for once.
            told, self._cancel_told = self._cancel_told, True
            if not told:
                await self.tell(CancelRequested())
            raise PortalError("canceled")

    async def pause(self, seconds: float) -> None:
        """Wait, unless the run is cancelled or handed over meanwhile: then raise `canceled`, or RunLost."""
        signals = [self.run.stopping] if self.run.undoing else [self.run.stopping, self.run.cancel_requested]
        waiting = [asyncio.ensure_future(signal.wait()) for signal in signals]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if self.stopping:
            raise RunLost("handed over")
        await self.check_canceled()

    def is_watched(self) -> bool:
        """Whether somebody looks at this run's page now."""
        return self.around.feed.is_watched(self.run.id)

    def mask(self, text: str) -> str:
        """Take this stack's secrets out of a text from outside."""
        registry = self.around.registry
        values = [self.secrets.password, *self.secrets.variables.values(), registry.password if registry else ""]
        for value in sorted(values, key=len, reverse=True):
            # A short value, such as a flag, is no secret, and cutting it would only make the text unreadable.
            if len(value) >= 6:
                text = text.replace(value, "[masked]")
        return text


@asynccontextmanager
async def dokploy_blamed() -> AsyncIterator[None]:
    """Turn failed calls inside into problems."""
    try:
        yield
    except DokployError as error:
        raise problem_of(error) from None


class Patience:
    """Retries what may pass by itself, with growing pauses, until its time is over."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long in all."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin anew: it worked again, so that earlier failures no longer count."""
        self._end = time.monotonic() + self._seconds
        self._pause = 0.1

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    async def rest(self) -> None:
        """Pause before the next try, a little longer each time."""
        await asyncio.sleep(max(0.0, min(self._pause, self._end - time.monotonic())))
        self._pause = min(self._pause * 1.6, 3.0)

    async def forgive(self, error: DokployError) -> None:
        """Pause after a failed call, or raise its problem where waiting is no use or the time is over."""
        if self.is_over or not isinstance(error, PASSING):
            raise problem_of(error) from None
        await self.rest()
