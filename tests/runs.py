"""Runs of the real saga on steps that do nothing: their events and records, as a journal would keep them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from app.audit import Actor, Means, Role
from app.deployments.events import DeploymentCompleted, DeploymentQueued, DeploymentStarted, Event, RecordedEvent
from app.deployments.model import DeploymentRecord, LeftoverView, StepView
from app.deployments.states import Conclusion, Status, StepState
from app.engine.saga import Checkpoint, Outcome, Saga
from app.errors import PortalError
from app.operations.create import CREATE
from app.operations.operation import Operation
from app.operations.steps import CODE

BEGAN: Final = datetime(2026, 11, 21, 9, 14, tzinfo=UTC)
URL: Final = "https://ada.ai.example.com"
_SECONDS: Final = 1.5


@dataclass
class FakeStep:
    """A step by its name. error: what `run` raises; stays: what `compensate` raises."""

    name: str
    needs: tuple[str, ...]
    status: Status
    undoable: bool
    error: PortalError | None = None
    stays: PortalError | None = None
    intends: tuple[str, ...] = ()

    async def run(self) -> Outcome:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return Outcome()

    async def compensate(self) -> Outcome:
        if self.stays:
            raise self.stays
        return Outcome()


@dataclass
class Story:
    """A run as it was written down. noise: what else is recorded, before each checkpoint as long as there is any.

    records: the record as it was after some event, by that event's number.
    """

    operation: Operation
    noise: Iterator[Sequence[Event]]
    record: DeploymentRecord
    events: list[RecordedEvent] = field(default_factory=list)
    records: dict[int, DeploymentRecord] = field(default_factory=dict)

    def state_of(self, step: str) -> StepState:
        return next(each.state for each in self.record.steps if each.name == step)

    def seconds_in(self, _step: str) -> float:
        return _SECONDS

    async def record_checkpoint(self, checkpoint: Checkpoint, conclusion: Conclusion | None = None) -> None:
        await asyncio.sleep(0)
        if noise := next(self.noise, ()):
            self._write(Checkpoint(events=list(noise)))
        self._write(checkpoint, conclusion)

    def _write(self, checkpoint: Checkpoint, conclusion: Conclusion | None = None) -> None:
        before, at = self.record, BEGAN + timedelta(seconds=len(self.events) * 7)
        undoing = before.undoing if checkpoint.undoing is None else checkpoint.undoing
        last = before.last_event + len(checkpoint.events)
        self.record = replace(
            before,
            status=Status.COMPLETED if conclusion else checkpoint.status or before.status,
            undoing=undoing,
            problem=before.problem or checkpoint.problem,
            conclusion=conclusion,
            concluded_at=at if conclusion else None,
            last_event=last,
            steps=[self._changed(step, checkpoint, at) for step in before.steps],
        )
        for n, event in enumerate(checkpoint.events, before.last_event + 1):
            ends = conclusion if n == last else None
            self.events.append(
                RecordedEvent("01JD", n, at, event.type, event.key, event.params, self.record.status, undoing, ends)
            )
        self.records[last] = self.record

    def _changed(self, step: StepView, checkpoint: Checkpoint, at: datetime) -> StepView:
        if step.name not in checkpoint.steps:
            return step
        state = checkpoint.steps[step.name].state
        if state is StepState.RUNNING:
            return replace(step, state=state, started_at=at)
        return replace(step, state=state, concluded_at=(step.started_at or at) + timedelta(seconds=_SECONDS))


class _Recorder:
    """The story, as the saga wants it."""

    stopping = False

    def __init__(self, story: Story) -> None:
        self.state_of, self.seconds_in, self.record = story.state_of, story.seconds_in, story.record_checkpoint


def tell(
    operation: Operation = CREATE,
    *,
    errors: Mapping[str, PortalError] | None = None,
    stays: Mapping[str, PortalError] | None = None,
    noise: Sequence[Sequence[Event]] = (),
) -> Story:
    """Run an operation to its end. errors: of steps that fail; stays: of those that cannot be undone."""
    steps = [
        FakeStep(
            step.name,
            step.needs,
            step.status,
            step.undoable,
            (errors or {}).get(step.name),
            (stays or {}).get(step.name),
        )
        for step in CODE[operation.kind]
    ]
    story = Story(operation, iter(noise), _record(operation))
    asyncio.run(_run(story, steps))
    return story


async def _run(story: Story, steps: Sequence[FakeStep]) -> None:
    kind = story.operation.kind
    await story.record_checkpoint(Checkpoint(events=[DeploymentQueued("ada", kind)]))
    first = Checkpoint(events=[DeploymentStarted("ada", kind)])
    ending = await Saga(story.operation, steps, _Recorder(story)).run(first)
    code = ending.problem.code if ending.problem else None
    conclusion = {None: Conclusion.SUCCEEDED, "canceled": Conclusion.CANCELED}.get(code, Conclusion.FAILED)
    left = [{"kind": "volume", "name": "v"}] if ending.left_because and story.operation.may_leave_leftovers else []
    story.record = replace(story.record, leftovers=[LeftoverView(**each, removed_at=None) for each in left])
    ending.rest.events.append(DeploymentCompleted("ada", kind, URL, conclusion, code, left))
    await story.record_checkpoint(ending.rest, conclusion)


def _record(operation: Operation) -> DeploymentRecord:
    return DeploymentRecord(
        id="01JD",
        stack_id="01JE",
        name="ada",
        owner_of_stack="browser:x",
        stack_exists=True,
        manage_key_hash="",
        kind=operation.kind,
        trigger="user",
        actor=Actor("browser:x", Role.USER, Means.BROWSER),
        options={},
        plan={"url": URL, "host": URL.removeprefix("https://")},
        created_at=BEGAN,
        started_at=BEGAN,
        concluded_at=None,
        cancel_requested=False,
        status=Status.QUEUED,
        undoing=False,
        conclusion=None,
        problem=None,
        leftovers=[],
        last_event=0,
        steps=[StepView(name, StepState.PENDING, 0, None, None, {}) for name in operation.step_names],
        resources={},
    )
