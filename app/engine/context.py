"""What the steps of one run share: plan, secrets, the way to Dokploy with its patience, the way into the journal."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from app.config.settings import Settings
from app.deployments.events import CancelRequested, Event, Warned
from app.deployments.states import ResourceState, StepState
from app.dokploy import DokployClient, DokployError, DokployKeyRefused, DokployServerError
from app.dokploy.masking import SHORTEST
from app.engine.broker import Broker
from app.engine.estimates import Estimates
from app.engine.journal import Journal
from app.engine.leases import Leases
from app.engine.run import Resource, Run
from app.engine.saga import Checkpoint, ResourceChange, RunLost, StepChange
from app.errors import PortalError
from app.observation.error_mapping import is_away, problem_of
from app.observation.probe import Prober
from app.observation.tracker import Tracker
from app.stacks.marker import Marker
from app.stacks.plan import Plan
from app.stacks.queries import Records
from app.stacks.templates import Registry, StackSecrets

T = TypeVar("T")

# A call that Dokploy itself refuses with a 5xx is made again for so long; while removing, longer.
_REFUSED_SECONDS: Final = 0.5
# An outage is told once it is more than a blink.
_BLINK_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 3.0


@dataclass(frozen=True)
class RunnerDeps:
    """What all runs of a process share."""

    settings: Settings
    dokploy: DokployClient
    tracker: Tracker
    prober: Prober
    leases: Leases
    journal: Journal
    records: Records
    broker: Broker
    estimates: Estimates
    registry: Registry | None
    installation: str


class RunContext:
    """One run on its way. Satisfies the saga's `Recorder`, and the client's `Persistence`."""

    def __init__(
        self, run: Run, deps: RunnerDeps, plan: Plan, secrets: StackSecrets, before: StackSecrets | None = None
    ) -> None:
        """`secrets`: what the container is told; `before`: what it was told until now, where that is something else."""
        self.run = run
        self.deps = deps
        self.plan = plan
        self.secrets = secrets
        self.dokploy: DokployClient = deps.dokploy.persisting(self.persist)
        registry = [deps.registry.password] if deps.registry else []
        passwords = [each.password for each in (secrets, before) if each is not None]
        known = (*passwords, *secrets.variables.values(), *registry)
        self._own_secrets = [value for value in known if len(value) >= SHORTEST]
        # Of an earlier process, too, Dokploy may repeat what it was sent.
        self.dokploy.connection.mask.add(self._own_secrets)
        self.left_because: dict[str, str] = {}
        self.doubted: set[str] = set()
        self._doubts: dict[str, float] = {}
        self._away_seconds = 0.0
        self._waiting = 0
        self._waiting_since = 0.0
        self._cancel_told = False
        self._away_told = False
        if run.operation.changes_container and run.epoch > 1:
            # An earlier process may have died in the middle of any of these, its request already on the way.
            for resource in run.resources.values():
                if resource.state is ResourceState.INTENDED or run.operation.needs_running_stack:
                    self.doubt(resource.kind)
            if self.output("deploy", "triggered_at") and not self.output("deploy", "row"):
                self.doubt("deploy")

    @property
    def settings(self) -> Settings:
        """The portal's settings."""
        return self.deps.settings

    @property
    def marker(self) -> Marker:
        """What every project and application of this stack bears in its description."""
        return Marker(self.deps.installation, self.run.server_id, self.run.stack_id)

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
        await self.deps.journal.record(self.run, checkpoint)

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

    # Doubt: a create whose answer was lost may land late, at the end of its deadline (nothing over there is fenced)

    def doubt(self, kind: str, since: float | None = None) -> None:
        """Note that a create may still land. `since`: when it was sent, by the monotonic clock; now, if unknown."""
        self.doubted.add(kind)
        self._doubts[kind] = (time.monotonic() if since is None else since) + self.dokploy.timeout

    def is_in_doubt(self, kind: str) -> bool:
        """Whether a create may still land, or has landed without anybody having looked."""
        return kind in self._doubts

    def may_land(self, kind: str) -> bool:
        """Whether its time to land is not over yet."""
        return time.monotonic() < self._doubts.get(kind, 0.0)

    async def wait_out_doubt(self, kind: str) -> None:
        """Wait until a create can no longer land, so that whoever looks now sees the truth."""
        if kind in self._doubts:
            await self.pause(max(0.0, self._doubts[kind] - time.monotonic()))
            self.clear_doubt(kind)

    def clear_doubt(self, kind: str) -> None:
        """Note that it is known what became of a create."""
        self._doubts.pop(kind, None)

    # Patience

    async def persist(self, make: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Make a call; while Dokploy is away, wait for it and make the call again.

        A call that may have had its effect, and must not have it twice, is not made again: its error is raised.
        Raises DokployError also when the patience is over; `canceled` or RunLost while waiting.
        """
        began: float | None = None
        pause = 0.1
        try:
            while True:
                try:
                    answer = await make()
                except DokployError as error:
                    now = time.monotonic()
                    if began is None:
                        began = now
                        self._begin_waiting()
                    if (error.uncertain and not repeatable) or now + pause - began > self._patience_with(error):
                        raise
                    if now - began > _BLINK_SECONDS:
                        await self._tell_away(error)
                    await self.pause(pause)
                    pause = min(pause * 1.6, _LONGEST_PAUSE)
                else:
                    if began is not None:
                        self._away_told = False
                    return answer
        finally:
            if began is not None:
                self._end_waiting()

    def _begin_waiting(self) -> None:
        self._waiting_since = self._waiting_since if self._waiting else time.monotonic()
        self._waiting += 1

    def _end_waiting(self) -> None:
        """Calls that wait side by side wait through one and the same outage, which counts once."""
        self._waiting -= 1
        if not self._waiting:
            self._away_seconds += time.monotonic() - self._waiting_since

    def _patience_with(self, error: DokployError) -> float:
        removing = self.run.undoing or self.run.operation.ends_stack
        if isinstance(error, DokployKeyRefused) and not removing and not self.dokploy.connection.key_accepted:
            return 0.0  # not a limit that is used up, but a key that never worked
        if is_away(error):
            return self.settings.dokploy_patience_seconds
        if isinstance(error, DokployServerError):
            return self.settings.undo_timeout_seconds if removing else _REFUSED_SECONDS
        return 0.0

    async def _tell_away(self, error: DokployError) -> None:
        if is_away(error) and not self._away_told:
            self._away_told = True
            await self.tell(Warned(code="dokploy_away"))

    def clock(self) -> float:
        """Seconds that run while Dokploy can be had, for deadlines that an outage does not use up."""
        return time.monotonic() - self._away_seconds

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
        return self.deps.broker.is_watched(self.run.id)

    def mask(self, text: str, most: int) -> str:
        """The beginning of a text from outside, without this stack's secrets; `most` characters."""
        return self.dokploy.connection.mask(text, most=most, also=self._own_secrets)


@asynccontextmanager
async def dokploy_blamed() -> AsyncIterator[None]:
    """Turn failed calls inside into problems."""
    try:
        yield
    except DokployError as error:
        raise problem_of(error) from None


class Patience:
    """Looks again and again for something that takes time, with growing pauses, until its time is over."""

    def __init__(self, context: RunContext, seconds: float) -> None:
        """`seconds`: how long in all, outages of Dokploy not counted."""
        self._context = context
        self._end = context.clock() + seconds
        self._pause = 0.1

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._context.clock() >= self._end

    async def rest(self) -> None:
        """Pause before the next look, a little longer each time."""
        await self._context.pause(max(0.0, min(self._pause, self._end - self._context.clock())))
        self._pause = min(self._pause * 1.6, _LONGEST_PAUSE)
