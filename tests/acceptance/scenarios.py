"""What the crash matrix does: a creation, its undo and its cancellation, a removal, a new password, and late creates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# The call that each station changes Dokploy with.
CALLS: Final = {
    "project": "project.create",
    "application": "application.create",
    "configure": "mounts.create",
    "domain": "domain.create",
    "deploy": "application.deploy",
}
# A late create lands within the deadline of its call, which is long enough for a restart.
LATE_DEADLINE: Final = 3.0
BEFORE_RESTART, AFTER_RESTART = 0.1, 2.6
# A Dokploy so slow that what lands late lands somewhere between two calls of the undo.
SLOW: Final = {"kind": "slow", "call": "*", "seconds": 0.15, "times": -1}


@dataclass(frozen=True)
class Scenario:
    """What is done to the portal, and how it may end.

    variant: tells it from others of its name; faults: armed before; cancels_at: the station during whose call to
    Dokploy the run is cancelled; removes, changes_password: a stack is there already, and that is done to it; points: where
    to die, instead of everywhere.
    """

    name: str
    allowed: frozenset[str]
    variant: str = ""
    faults: tuple[Mapping[str, Any], ...] = ()
    cancels_at: str | None = None
    removes: bool = False
    changes_password: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    points: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        return f"{self.name}: {self.variant}" if self.variant else self.name


def _scenarios() -> Iterator[Scenario]:
    yield Scenario("create", frozenset({"succeeded"}))
    yield Scenario("undo", frozenset({"failed"}), faults=({"kind": "fail", "times": -1},))
    yield Scenario(
        "cancel",
        # Cancelled too late is not cancelled; what must hold of the stack holds in either case.
        frozenset({"canceled", "succeeded"}),
        faults=({"kind": "stuck", "seconds": 0.4},),
        cancels_at="deploy",
    )
    yield Scenario("remove", frozenset({"succeeded"}), removes=True)
    yield Scenario("password", frozenset({"succeeded"}), changes_password=True)
    for station in CALLS:
        for lands in (BEFORE_RESTART, AFTER_RESTART):
            yield _late("late create", station, lands)
            yield _late("late create, cancelled", station, lands)
    # Later than the time after which a job that is nowhere counts as lost (3 s), and still within its call's deadline.
    yield _late("late create", "deploy", 5.0, deadline=8.0)
    # What lands late in these makes something that the undo would have had to wait for.
    for station in ("project", "application", "deploy"):
        for tenths in range(3, 28, 4):
            yield _late("late create, undone slowly", station, tenths / 10)


def _late(name: str, station: str, lands: float, deadline: float = LATE_DEADLINE) -> Scenario:
    """A create whose connection breaks, and that lands so many seconds later; meanwhile the portal dies."""
    call, cancelled = CALLS[station], name != "late create"
    faults: list[Mapping[str, Any]] = [{"kind": "late", "call": call, "seconds": lands}]
    if name.endswith("slowly"):
        # The longer Dokploy works on a deployment, the longer it can be missed.
        faults += [SLOW, {"kind": "stuck", "seconds": 1.0}]
    return Scenario(
        name,
        frozenset({"canceled" if cancelled else "succeeded"}),
        variant=f"{call} after {lands:g} s",
        faults=tuple(faults),
        cancels_at=station if cancelled else None,
        settings={"DOKPLOY_TIMEOUT_SECONDS": str(deadline)},
        points=("after Operations.cancel#1",) if cancelled else (f"after {call}#1",),
    )


SCENARIOS: Final = {scenario.title: scenario for scenario in _scenarios()}
NAMES: Final = tuple(dict.fromkeys(scenario.name for scenario in SCENARIOS.values()))


def chosen_scenarios(names: Sequence[str]) -> list[Scenario]:
    """Scenarios by name or by title; all of them for none."""
    return [each for each in SCENARIOS.values() if not names or each.name in names or each.title in names]
