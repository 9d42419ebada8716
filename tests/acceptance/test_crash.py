"""A sample of the crash matrix, with the program forked or started as people start it; `make test-crash` tries all."""

from collections.abc import Callable

import pytest

from tests.acceptance.bench import Store
from tests.acceptance.matrix import DATABASES, Matrix, run_matrix
from tests.acceptance.process import ForkingLauncher, Launcher
from tests.acceptance.scenarios import SCENARIOS, chosen_scenarios

LATE = "late create: project.create after 2.6 s"
LATE_IN_THE_UNDO = (
    "late create, cancelled: project.create after 2.6 s",
    "late create, undone slowly: application.create after 0.7 s",
    "late create, undone slowly: application.deploy after 1.1 s",
)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Callable[[str], Store]:
    return lambda database: Store(request.getfixturevalue("postgres") if database == "postgresql" else None)


def well(matrix: Matrix) -> bool:
    """Whether every trial went well, and the program did die in each."""
    return not matrix.violations and all(verdict.died for verdict in matrix.verdicts)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("sample", "launcher"),
    [
        pytest.param(1, ForkingLauncher, id="forked"),
        pytest.param(3, Launcher, id="started", marks=pytest.mark.crashes),
    ],
)
def test_a_crash_leaves_a_stack_that_runs_or_nothing(
    database: str, sample: int, launcher: Callable[[], Launcher], store: Callable[[str], Store]
):
    scenarios = chosen_scenarios(["create", "undo", "cancel", "remove", "password", LATE])

    matrix = run_matrix({database: store(database)}, scenarios, sample=sample, workers=2, launcher=launcher)

    # The late create is at one point only.
    assert len(matrix.verdicts) == 5 * sample + 1
    assert well(matrix), matrix.report()


@pytest.mark.crashes
def test_an_undo_waits_for_a_create_that_lands_late(store: Callable[[str], Store]):
    matrix = run_matrix({"sqlite": store("sqlite")}, [SCENARIOS[title] for title in LATE_IN_THE_UNDO], workers=3)

    assert well(matrix), matrix.report()


def test_every_call_and_every_transaction_of_a_run_is_a_point(store: Callable[[str], Store]):
    matrix = run_matrix({"sqlite": store("sqlite")}, chosen_scenarios(["create"]), sample=0, workers=1)

    assert matrix.points["create", "sqlite"] > 50
    assert matrix.verdicts == []


def test_a_point_that_is_not_reached_is_told(store: Callable[[str], Store]):
    matrix = run_matrix(
        {"sqlite": store("sqlite")},
        chosen_scenarios(["create"]),
        point="kill:before nothing#1",
        workers=1,
        launcher=Launcher,
    )

    assert [verdict.died for verdict in matrix.verdicts] == [False]
    assert not matrix.violations
    row = next(line.split() for line in matrix.report().splitlines() if line.startswith("create"))
    assert row[:6] == ["create", "sqlite", "1", "1", "0", "0"]
