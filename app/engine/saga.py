"""The saga: runs steps as far as they go, side by side where they can, and on a failure compensates in reverse.

Knows steps, events and a recorder; nothing of Dokploy or SQL. What was done is recorded before anything builds on it,
so that a run that was interrupted anywhere can be taken up by somebody else.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from app.deployments.events import (
    Event,
    StepCompensated,
    StepCompensationFailed,
    StepFailed,
    StepStarted,
    StepSucceeded,
    UndoStarted,
)
from app.deployments.states import ResourceState, Status, StepState
from app.errors import PortalError
from app.operations.operation import Operation

log = structlog.get_logger()


class RunLost(Exception):
    """This process no longer holds the run: stop at once and touch nothing."""


@dataclass(frozen=True)
class ResourceChange:
    """What became of one resource. dokploy_id: its id over there, once known."""

    kind: str
    state: ResourceState
    dokploy_id: str | None = None


@dataclass(frozen=True)
class StepChange:
    """What became of one step. output: values that later steps, or a later run of this one, need; None: unchanged."""

    state: StepState
    output: Mapping[str, Any] | None = None


@dataclass
class Checkpoint:
    """What is recorded at once: either all of it, with its events, or nothing."""

    events: list[Event] = field(default_factory=list)
    steps: dict[str, StepChange] = field(default_factory=dict)
    resources: list[ResourceChange] = field(default_factory=list)
    status: Status | None = None
    secrets: bytes | None = field(default=None, repr=False)
    undoing: bool | None = None
    problem: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.events or self.steps or self.resources)


@dataclass(frozen=True)
class Outcome:
    """What a step did: its output for later steps, and what became of its resources.

    secrets: what the stack's are from here on, sealed; None: as they were.
    """

    output: Mapping[str, Any] = field(default_factory=dict)
    resources: Sequence[ResourceChange] = ()
    secrets: bytes | None = field(default=None, repr=False)


class Step(Protocol):
    """One unit of a run. Both methods may be called again after an interruption and must then finish the same work.

    needs: names of the steps that must have succeeded before, where the run has them; intends: kinds of resource that
    `run` will create; status: how far the deployment is while this step runs; undoable: whether it makes anything
    that can be undone.
    """

    name: str
    needs: tuple[str, ...]
    intends: tuple[str, ...]
    status: Status
    undoable: bool

    async def run(self) -> Outcome:
        """Do the work. Raises PortalError when it cannot be done."""
        ...

    async def compensate(self) -> Outcome:
        """Remove whatever `run` made, or may have made. Raises PortalError when some of it is left."""
        ...


class Recorder(Protocol):
    """What the saga needs of a journal: to know where each step stands, how long it ran, and to write a checkpoint."""

    @property
    def stopping(self) -> bool:
        """Whether this process is about to hand the run over: nothing new is to be begun."""
        ...

    def state_of(self, step: str) -> StepState:
        """Where a step stood at the last checkpoint."""
        ...

    def seconds_in(self, step: str) -> float:
        """How long ago a step was started."""
        ...

    async def record(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. Raises RunLost where this process no longer holds the run."""
        ...


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    rest: the last checkpoint, which whoever concludes the run records together with its end; left_because: why
    something could not be removed, where anything is left.
    """

    problem: PortalError | None
    rest: Checkpoint
    left_because: PortalError | None = None


class Saga:
    """One run of a list of steps, in reading order; later steps may only need earlier ones."""

    def __init__(self, operation: Operation, steps: Sequence[Step], recorder: Recorder) -> None:
        """Run `steps` of the operation in their order."""
        self._kind = operation.kind
        self._steps = steps
        self._recorder = recorder
        self._compensates = operation.compensates

    async def run(self, first: Checkpoint, problem: PortalError | None = None, *, undoing: bool = False) -> Ending:
        """Run forward, and back if a step fails.

        first: what is recorded together with the first step; problem: what failed in a run that was interrupted after
        it; undoing: whether that run had turned back already.
        """
        if not undoing:
            if problem is None:
                problem, first = await self._forward(first)
            if problem is None or not self._compensates:
                return Ending(problem, first, problem)
            first.events.append(UndoStarted())
            first.undoing = True
        rest, left_because = await self._back(first)
        return Ending(problem, rest, left_because)

    async def _forward(self, checkpoint: Checkpoint) -> tuple[PortalError | None, Checkpoint]:
        states = {step.name: self._recorder.state_of(step.name) for step in self._steps}
        running: dict[asyncio.Task[Outcome], Step] = {}
        problem: PortalError | None = None
        try:
            while True:
                ready = [] if problem else [step for step in self._steps if self._is_ready(step, states, running)]
                if ready and self._recorder.stopping:
                    await self._hand_over(running, checkpoint)
                for step in ready:
                    self._start(step, states, checkpoint)
                if not ready and not running:
                    return problem, checkpoint
                if checkpoint:
                    await self._recorder.record(checkpoint)
                    checkpoint = Checkpoint()
                for step in ready:
                    running[asyncio.create_task(step.run(), name=f"step {step.name}")] = step
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    step = running.pop(task)
                    failure = self._finish(step, task, states, checkpoint)
                    problem = problem or failure
        finally:
            # Only an interruption, or a run that is no longer ours, leaves tasks behind.
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _hand_over(self, running: Mapping[asyncio.Task[Outcome], Step], checkpoint: Checkpoint) -> None:
        """Record what is finished and leave the rest to whoever takes the run up; what was not begun is clean."""
        if running:
            await asyncio.wait(running)
            states: dict[str, StepState] = {}
            for task, step in running.items():
                self._finish(step, task, states, checkpoint)
        # Events alone would tell of a beginning that whoever takes the run up tells of again.
        if checkpoint.steps:
            await self._recorder.record(checkpoint)
        raise RunLost("handed over")

    def _is_ready(self, step: Step, states: Mapping[str, StepState], running: Mapping[Any, Step]) -> bool:
        # RUNNING in the record but not here: an earlier process was interrupted in the middle of it.
        return (
            states[step.name] in {StepState.PENDING, StepState.RUNNING}
            and all(states[name] is StepState.SUCCEEDED for name in step.needs if name in states)
            and all(step.name != other.name for other in running.values())
        )

    def _start(self, step: Step, states: dict[str, StepState], checkpoint: Checkpoint) -> None:
        if states[step.name] is StepState.PENDING:
            checkpoint.events.append(StepStarted(kind=self._kind, step=step.name))
        states[step.name] = StepState.RUNNING
        checkpoint.steps[step.name] = StepChange(StepState.RUNNING)
        checkpoint.resources.extend(ResourceChange(kind, ResourceState.INTENDED) for kind in step.intends)
        checkpoint.status = step.status

    def _finish(
        self, step: Step, task: asyncio.Task[Outcome], states: dict[str, StepState], checkpoint: Checkpoint
    ) -> PortalError | None:
        try:
            outcome = task.result()
        except Exception as error:  # noqa: BLE001 - a mistake in one step must still undo the others
            problem = _as_problem(error, step)
        else:
            states[step.name] = StepState.SUCCEEDED
            checkpoint.steps[step.name] = StepChange(StepState.SUCCEEDED, outcome.output)
            checkpoint.resources.extend(outcome.resources)
            checkpoint.secrets = outcome.secrets or checkpoint.secrets
            seconds = round(self._recorder.seconds_in(step.name), 3)
            checkpoint.events.append(StepSucceeded(kind=self._kind, step=step.name, seconds=seconds))
            return None
        log.warning("step_failed", step=step.name, code=problem.code, detail=problem.log)
        states[step.name] = StepState.FAILED
        checkpoint.steps[step.name] = StepChange(StepState.FAILED)
        checkpoint.events.append(StepFailed(step=step.name, code=problem.code, details=dict(problem.params)))
        if checkpoint.problem is None:
            checkpoint.problem = {"code": problem.code, "params": dict(problem.params), "step": step.name}
        return problem

    async def _back(self, checkpoint: Checkpoint) -> tuple[Checkpoint, PortalError | None]:
        """Compensate in reverse what was started. Where that fails, what it stands on stays as well."""
        needed_by_leftovers: set[str] = set()
        left_because: PortalError | None = None
        for step in reversed(self._steps):
            state = self._recorder.state_of(step.name)
            if step.name in checkpoint.steps:
                state = checkpoint.steps[step.name].state
            if not step.undoable or state in {StepState.PENDING, StepState.COMPENSATED}:
                continue
            if step.name in needed_by_leftovers:
                needed_by_leftovers.update(step.needs)
                continue
            if checkpoint:
                await self._recorder.record(checkpoint)
                checkpoint = Checkpoint()
            if self._recorder.stopping:
                raise RunLost("handed over")
            try:
                outcome = await step.compensate()
            except Exception as error:  # noqa: BLE001 - what is left is listed, whatever the reason
                problem = _as_problem(error, step)
                left_because = left_because or problem
                log.warning("step_compensation_failed", step=step.name, code=problem.code, detail=problem.log)
                needed_by_leftovers.update(step.needs)
                checkpoint.steps[step.name] = StepChange(StepState.COMPENSATION_FAILED)
                checkpoint.events.append(
                    StepCompensationFailed(step=step.name, code=problem.code, details=dict(problem.params))
                )
            else:
                checkpoint.steps[step.name] = StepChange(StepState.COMPENSATED, outcome.output or None)
                checkpoint.resources.extend(outcome.resources)
                checkpoint.events.append(StepCompensated(step=step.name))
        return checkpoint, left_because


def _as_problem(error: Exception, step: Step) -> PortalError:
    """Turn a step's failure into a problem; the loss of the run itself is not a step's failure and is raised on."""
    if isinstance(error, PortalError):
        return error
    if isinstance(error, RunLost):
        raise error
    log.error("step_broke", step=step.name, exc_info=error)
    return PortalError("internal_error", log=type(error).__name__, reference=step.name)
