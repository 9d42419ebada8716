"""The saga: forward side by side, back in reverse, and on from wherever it was interrupted."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

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
from app.engine.saga import Checkpoint, Ending, Outcome, ResourceChange, RunLost, Saga
from app.errors import PortalError
from app.operations.create import CREATE
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.anyio

# The shape of a creation: which step needs which, in reading order.
SHAPE = {
    "validate": (),
    "project": ("validate",),
    "application": ("project",),
    "configure": ("application",),
    "domain": ("application",),
    "deploy": ("configure", "domain"),
    "verify": ("deploy",),
}
UNDOABLE = ("project", "application", "configure", "domain", "deploy")
# What a step stands on, all the way down, among what can be undone.
STANDS_ON = {
    "project": set[str](),
    "application": {"project"},
    "configure": {"project", "application"},
    "domain": {"project", "application"},
    "deploy": {"project", "application", "configure", "domain"},
}


class Ledger:
    """A recorder in memory that takes checkpoints as the journal does, and can lose the run."""

    def __init__(self) -> None:
        self.states: dict[str, StepState] = dict.fromkeys(SHAPE, StepState.PENDING)
        self.resources: dict[str, ResourceState] = {}
        self.events: list[Event] = []
        self.problem: PortalError | None = None
        self.undoing = False
        self.status = Status.QUEUED
        self.stopping = False
        self.records = 0
        self.lose_at: int | None = None
        self.stop_after: int | None = None
        self.on_record: Callable[[Checkpoint], None] = lambda checkpoint: None

    def state_of(self, step: str) -> StepState:
        return self.states[step]

    def seconds_in(self, step: str) -> float:
        return 1.5

    async def record(self, checkpoint: Checkpoint) -> None:
        await asyncio.sleep(0)
        self.records += 1
        if self.records == self.lose_at:
            raise RunLost("another has it")
        self.take(checkpoint)
        if self.records == self.stop_after:
            self.stopping = True
        self.on_record(checkpoint)

    def take(self, checkpoint: Checkpoint) -> None:
        self.events += checkpoint.events
        self.states |= {name: change.state for name, change in checkpoint.steps.items()}
        self.resources |= {change.kind: change.state for change in checkpoint.resources}
        self.status = checkpoint.status or self.status
        self.undoing = self.undoing if checkpoint.undoing is None else checkpoint.undoing
        if self.problem is None and checkpoint.problem:
            self.problem = PortalError(checkpoint.problem["code"], **checkpoint.problem["params"])

    def of(self, kind: type[Event]) -> list[str]:
        return [getattr(event, "step", "") for event in self.events if isinstance(event, kind)]


class FakeStep:
    """A step that writes into a diary what is done with it, and fails as it is told."""

    status = Status.PREPARE

    def __init__(self, name: str, ledger: Ledger, diary: list[str]) -> None:
        self.name = name
        self.needs: tuple[str, ...] = SHAPE[name]
        self.intends: tuple[str, ...] = (name,)
        self.undoable = name in UNDOABLE
        self.ledger = ledger
        self.diary = diary
        self.run_error: BaseException | None = None
        self.compensate_error: BaseException | None = None
        self.gate: asyncio.Event | None = None

    async def run(self) -> Outcome:
        assert self.ledger.states[self.name] is StepState.RUNNING, "begun before it was written down"
        assert self.ledger.resources[self.name] is ResourceState.INTENDED, "made before the intent was written down"
        self.diary.append(f"run {self.name}")
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.run_error is not None:
            raise self.run_error
        self.diary.append(f"ran {self.name}")
        return Outcome({"id": self.name}, [ResourceChange(self.name, ResourceState.PRESENT, "id")])

    async def compensate(self) -> Outcome:
        assert self.ledger.undoing, "undone before it was written down"
        self.diary.append(f"undo {self.name}")
        await asyncio.sleep(0)
        if self.compensate_error is not None:
            raise self.compensate_error
        return Outcome(resources=[ResourceChange(self.name, ResourceState.REMOVED)])


class World:
    """A ledger, its steps, and the two ways in which a runner starts a saga."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.diary: list[str] = []
        self.steps = {name: FakeStep(name, self.ledger, self.diary) for name in SHAPE}

    def saga(self, *, compensates: bool = True) -> Saga:
        return Saga(replace(CREATE, compensates=compensates), list(self.steps.values()), self.ledger)

    async def run(self) -> Ending:
        """Take the run up where the ledger says it is, as the runner does, and conclude it."""
        ending = await self.saga().run(Checkpoint(), self.ledger.problem, undoing=self.ledger.undoing)
        self.ledger.take(ending.rest)
        return ending

    def did(self, word: str) -> list[str]:
        return [entry.split()[1] for entry in self.diary if entry.split()[0] == word]


@pytest.fixture
def world() -> World:
    return World()


def begun_when(failing: str) -> list[str]:
    """The steps that have begun when one fails: those it needs, and its sibling."""
    if failing in {"configure", "domain"}:
        return ["validate", "project", "application", "configure", "domain"]
    return list(SHAPE)[: list(SHAPE).index(failing) + 1]


async def test_everything_succeeds_in_order(world: World):
    ending = await world.run()

    assert ending.problem is None
    assert world.did("run") == list(SHAPE)
    assert world.did("undo") == []
    assert set(world.ledger.states.values()) == {StepState.SUCCEEDED}
    assert world.ledger.of(StepStarted) == list(SHAPE)
    assert sorted(world.ledger.of(StepSucceeded)) == sorted(SHAPE)  # siblings end in any order


async def test_siblings_run_side_by_side(world: World):
    both = asyncio.Barrier(2)

    class Meets(FakeStep):
        async def run(self) -> Outcome:
            await both.wait()  # would never end if one waited for the other
            return Outcome()

    for name in ("configure", "domain"):
        world.steps[name] = Meets(name, world.ledger, world.diary)

    async with asyncio.timeout(WAIT_SECONDS):
        assert (await world.run()).problem is None


@pytest.mark.parametrize("stuck", [None, *UNDOABLE])
@pytest.mark.parametrize("failing", SHAPE)
async def test_a_failure_is_undone_in_reverse_and_what_leftovers_stand_on_stays(
    world: World, failing: str, stuck: str | None
):
    world.steps[failing].run_error = PortalError("deploy_failed", image="i")
    if stuck:
        world.steps[stuck].compensate_error = PortalError("still_in_use", volume="v")

    ending = await world.run()

    assert ending.problem is not None
    assert ending.problem.code == "deploy_failed"
    begun = begun_when(failing)
    assert world.did("run") == begun
    spared = STANDS_ON[stuck] if stuck in begun and stuck is not None else set()
    expected = [name for name in reversed(begun) if name in UNDOABLE and name not in spared]
    assert world.did("undo") == expected
    left = spared | ({stuck} if stuck in begun else set())
    assert world.ledger.of(StepCompensated) == [name for name in expected if name != stuck]
    assert world.ledger.of(StepCompensationFailed) == ([stuck] if stuck in begun else [])
    gone = [name for name in begun if name in UNDOABLE and name not in left]
    assert all(world.ledger.resources[name] is ResourceState.REMOVED for name in gone)
    assert all(world.ledger.resources[str(name)] is not ResourceState.REMOVED for name in left)
    assert world.ledger.of(UndoStarted) == [""]
    assert world.ledger.of(StepFailed) == [failing]


async def test_a_sibling_finishes_before_anything_is_undone(world: World):
    world.steps["configure"].run_error = PortalError("dokploy_refused")
    gate = world.steps["domain"].gate = asyncio.Event()
    run = asyncio.create_task(world.run())
    while StepFailed not in map(type, world.ledger.events):
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.did("undo") == [], "undone while a call was still under way"

    gate.set()
    await run

    assert world.diary.index("ran domain") < world.diary.index("undo domain")


async def test_of_two_failures_the_first_is_told(world: World):
    world.steps["configure"].run_error = PortalError("dokploy_refused")
    world.steps["domain"].run_error = PortalError("dokploy_timeout")
    gate = world.steps["domain"].gate = asyncio.Event()
    world.ledger.on_record = lambda checkpoint: gate.set() if checkpoint.problem else None

    ending = await world.run()

    assert ending.problem is not None
    assert world.ledger.problem is not None
    assert ending.problem.code == world.ledger.problem.code == "dokploy_refused"
    assert sorted(world.ledger.of(StepFailed)) == ["configure", "domain"]


async def test_a_mistake_of_ours_is_undone_too_and_says_nothing_of_itself(world: World):
    world.steps["deploy"].run_error = ZeroDivisionError("a secret")

    ending = await world.run()

    assert ending.problem is not None
    assert (ending.problem.code, dict(ending.problem.params)) == ("internal_error", {"reference": "deploy"})
    assert "a secret" not in str(ending.problem)
    assert world.did("undo") == ["deploy", "domain", "configure", "application", "project"]


async def test_a_mistake_while_undoing_leaves_that_step_and_goes_on_with_the_others(world: World):
    world.steps["deploy"].run_error = PortalError("deploy_failed", image="i")
    world.steps["domain"].compensate_error = ZeroDivisionError()

    await world.run()

    assert world.did("undo") == ["deploy", "domain", "configure"]
    assert world.ledger.states["domain"] is StepState.COMPENSATION_FAILED


async def test_a_removal_only_goes_forward(world: World):
    world.steps["application"].run_error = PortalError("still_running")

    ending = await world.saga(compensates=False).run(Checkpoint())

    assert ending.problem is not None
    assert ending.problem.code == "still_running"
    assert world.did("undo") == []
    assert not ending.rest.undoing
    assert [type(event) for event in ending.rest.events] == [StepFailed]


async def records_of(prepare: Callable[[World], None]) -> int:
    world = World()
    prepare(world)
    await world.run()
    return world.ledger.records


def fails(*names: str) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        for name in names:
            world.steps[name].run_error = PortalError("deploy_failed", image="i")
        if names == ("configure",):
            # The sibling ends only after the failure was recorded, so that there is a moment between the two.
            gate = world.steps["domain"].gate = asyncio.Event()
            world.ledger.on_record = lambda checkpoint: gate.set() if checkpoint.problem else None

    return prepare


def forget_gates(world: World) -> None:
    for step in world.steps.values():
        step.gate = None


async def test_a_run_lost_at_any_checkpoint_is_finished_by_another():
    for place in range(1, await records_of(fails()) + 1):
        world = World()
        world.ledger.lose_at = place
        with pytest.raises(RunLost):
            await world.run()
        done = [name for name, state in world.ledger.states.items() if state is StepState.SUCCEEDED]
        world.diary.clear()

        ending = await world.run()

        assert ending.problem is None, place
        assert world.did("run") == [name for name in SHAPE if name not in done], place
        assert set(world.ledger.states.values()) == {StepState.SUCCEEDED}
        assert world.ledger.of(StepStarted) == list(SHAPE), place
        assert sorted(world.ledger.of(StepSucceeded)) == sorted(SHAPE), place


@pytest.mark.parametrize("failing", SHAPE)
async def test_a_failed_run_lost_at_any_checkpoint_is_undone_by_another(failing: str):
    for place in range(1, await records_of(fails(failing)) + 1):
        world = World()
        fails(failing)(world)
        world.ledger.lose_at = place
        with pytest.raises(RunLost):
            await world.run()
        forget_gates(world)

        ending = await world.run()

        assert ending.problem is not None, f"lost at {place}: {world.ledger.states}"
        assert ending.problem.code == "deploy_failed"
        assert world.ledger.undoing
        assert world.ledger.of(UndoStarted) == [""], place
        gone = [name for name in begun_when(failing) if name in UNDOABLE]
        assert all(world.ledger.resources[name] is ResourceState.REMOVED for name in gone), place
        assert not [name for name in UNDOABLE if world.ledger.resources.get(name) is ResourceState.PRESENT]


async def test_what_could_not_be_undone_is_tried_again_when_the_undoing_is_taken_up(world: World):
    world.steps["deploy"].run_error = PortalError("deploy_failed", image="i")
    world.steps["domain"].compensate_error = PortalError("dokploy_unreachable")
    await world.run()
    assert world.ledger.resources["application"] is ResourceState.PRESENT
    world.steps["domain"].compensate_error = None
    world.diary.clear()

    await world.run()

    assert world.did("undo") == ["domain", "application", "project"]


@pytest.mark.parametrize("failing", [(), ("deploy",), ("configure",)])
async def test_stopping_at_any_moment_hands_over_a_clean_run(failing: Sequence[str]):
    for place in range(1, await records_of(fails(*failing)) + 1):
        world = World()
        fails(*failing)(world)
        world.ledger.stop_after = place
        try:
            await world.run()
        except RunLost:
            pass
        else:
            continue  # everything had begun already
        running = {name for name, state in world.ledger.states.items() if state is StepState.RUNNING}
        assert running == set(), f"stopped after {place}: recorded as running, and nobody runs it"
        assert [name for name, state in world.ledger.states.items() if state is StepState.PENDING] == [
            name for name in SHAPE if name not in world.did("run")
        ]
        forget_gates(world)
        world.ledger.stopping = False

        ending = await world.run()

        assert (ending.problem is not None) == bool(failing)
        assert len(world.did("run")) == len(set(world.did("run"))), "a clean hand-over runs nothing twice"
        assert len(world.did("undo")) == len(set(world.did("undo")))


async def test_a_run_that_is_handed_over_before_it_began_records_nothing():
    """Else whoever takes it up would tell of its beginning a second time."""
    world = World()
    world.ledger.stopping = True

    with pytest.raises(RunLost):
        await world.run()

    assert (world.ledger.records, world.ledger.events) == (0, [])


async def test_a_hand_over_records_what_is_under_way_when_something_new_could_begin():
    """A short step becomes ready while a long one runs: the long one ends and is recorded, the short one is left."""
    ledger, diary = Ledger(), list[str]()
    ledger.states = dict.fromkeys(("first", "long", "next"), StepState.PENDING)
    steps = {}
    for name, needs in {"first": (), "long": (), "next": ("first",)}.items():
        step = object.__new__(FakeStep)
        step.name, step.needs, step.intends, step.undoable = name, needs, (name,), True
        step.ledger, step.diary, step.gate = ledger, diary, None
        step.run_error = step.compensate_error = None
        steps[name] = step
    gate = steps["long"].gate = asyncio.Event()
    ledger.stop_after = 1

    async def later() -> None:
        while not ledger.stopping:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()

    release = asyncio.create_task(later())
    with pytest.raises(RunLost):
        await Saga(CREATE, list(steps.values()), ledger).run(Checkpoint())
    await release

    assert diary == ["run first", "run long", "ran first", "ran long"]
    assert ledger.states == {"first": StepState.SUCCEEDED, "long": StepState.SUCCEEDED, "next": StepState.PENDING}


async def test_cancelling_the_task_cancels_the_steps_and_waits_for_them(world: World):
    ended: list[str] = []

    class Slow(FakeStep):
        async def run(self) -> Outcome:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                ended.append(self.name)
            raise AssertionError("unreachable")

    for name in ("configure", "domain"):
        world.steps[name] = Slow(name, world.ledger, world.diary)
    run = asyncio.create_task(world.run())
    while world.ledger.states["domain"] is not StepState.RUNNING:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    before = world.ledger.records

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert sorted(ended) == ["configure", "domain"]
    assert world.ledger.records == before
    assert world.did("undo") == []
    assert world.ledger.states["configure"] is StepState.RUNNING, "so that whoever takes it up runs it again"


async def test_a_step_that_lost_the_run_stops_everything_and_undoes_nothing(world: World):
    world.steps["configure"].run_error = RunLost("told while waiting")
    world.steps["domain"].gate = asyncio.Event()

    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(RunLost):
            await world.run()

    assert world.did("undo") == []
    assert world.ledger.states["configure"] is StepState.RUNNING


async def test_a_run_lost_while_undoing_undoes_no_further(world: World):
    world.steps["deploy"].run_error = PortalError("deploy_failed", image="i")
    world.steps["domain"].compensate_error = RunLost("another has it")

    with pytest.raises(RunLost):
        await world.run()

    assert world.did("undo") == ["deploy", "domain"]
    assert world.ledger.of(StepCompensationFailed) == []
