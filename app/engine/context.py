"""The context of a run, which its steps share: plan, secrets, clock, doubts, the ways to Dokploy and the journal."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.config.settings import Settings
from app.deployments.events import Event
from app.deployments.states import ResourceState, StepState
from app.dokploy import DokployClient, DokployError
from app.dokploy.masking import SHORTEST
from app.engine.broker import Broker
from app.engine.clock import Clock
from app.engine.doubts import Doubts
from app.engine.estimates import Estimates
from app.engine.journal import Journal
from app.engine.leases import Leases
from app.engine.outages import Outages
from app.engine.run import Resource, Run
from app.engine.saga import Checkpoint, ResourceChange, StepChange
from app.observation.error_mapping import problem_of
from app.observation.probe import Prober
from app.observation.tracker import Tracker
from app.stacks.marker import Marker
from app.stacks.plan import Plan
from app.stacks.queries import Records
from app.stacks.templates import Registry, StackSecrets


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
    """One run on its way. Satisfies the saga's `Recorder`."""

    def __init__(
        self, run: Run, deps: RunnerDeps, plan: Plan, secrets: StackSecrets, before: StackSecrets | None = None
    ) -> None:
        """`secrets`: what the container is told; `before`: what it was told until now, where that is something else."""
        self.run = run
        self.deps = deps
        self.plan = plan
        self.secrets = secrets
        self.clock = Clock(run, self.tell)
        self.outages = Outages(run, deps.settings, deps.dokploy.connection, self.clock, self.tell)
        self.dokploy: DokployClient = deps.dokploy.persisting(self.outages.persist)
        self.doubts = Doubts(self.dokploy.timeout, self.clock.pause)
        registry = [deps.registry.password] if deps.registry else []
        passwords = [each.password for each in (secrets, before) if each is not None]
        known = (*passwords, *secrets.variables.values(), *registry)
        self._own_secrets = [value for value in known if len(value) >= SHORTEST]
        # Of an earlier process, too, Dokploy may repeat what it was sent.
        self.dokploy.connection.mask.add(self._own_secrets)
        self.left_because: dict[str, str] = {}
        if run.operation.changes_container and run.epoch > 1:
            # An earlier process may have died in the middle of any of these, its request already on the way.
            for resource in run.resources.values():
                if resource.state is ResourceState.INTENDED or run.operation.needs_running_stack:
                    self.doubts.add(resource.kind)
            if self.output("deploy", "triggered_at") and not self.output("deploy", "row"):
                self.doubts.add("deploy")

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
        """Return a value that a step has noted, or None."""
        return self.run.steps[step].output.get(name) if step in self.run.steps else None

    def resource(self, kind: str) -> Resource:
        """Return what is known of a resource."""
        return self.run.resources[kind]

    def was_tried(self, step: str) -> bool:
        """Whether an earlier process was interrupted in the middle of this step."""
        return self.run.steps[step].attempts > 1

    def is_watched(self) -> bool:
        """Whether somebody looks at this run's page now."""
        return self.deps.broker.is_watched(self.run.id)

    def mask(self, text: str, most: int) -> str:
        """Return at most `most` characters of a text from outside, without this stack's secrets."""
        return self.dokploy.connection.mask(text, most=most, also=self._own_secrets)


@asynccontextmanager
async def dokploy_blamed() -> AsyncIterator[None]:
    """Turn failed calls inside into problems."""
    try:
        yield
    except DokployError as error:
        raise problem_of(error) from None
