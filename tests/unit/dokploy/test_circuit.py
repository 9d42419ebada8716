"""The circuit: when it opens, what counts, and how it closes again."""

import time

import pytest

from app.dokploy import (
    DokployBadRequest,
    DokployCircuitOpen,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployMisfit,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.dokploy.circuit import Circuit

AWAY: list[DokployError] = [
    DokployUnreachable("x", "refused"),
    DokployTimeout("x", "silence"),
    DokployKeyRefused("x", "limit", status=401),
    DokployDatabaseDown("x", "down", status=401),
    DokployUnreadable("x", "<html>", status=502),
]
# An answer, whatever it says: Dokploy is there.
THERE: list[DokployError | None] = [
    None,
    DokployNotFound("x", "", status=404),
    DokployBadRequest("x", "", status=400),
    DokployForbidden("x", "", status=403),
    DokployServerError("x", "docker", status=500),
    DokployMisfit("x", "", status=200),
]


class Told:
    def __init__(self, *, failures: int = 3, seconds: float = 0.05) -> None:
        self.changes: list[str] = []
        self.circuit = Circuit(failures=failures, seconds=seconds, changed=lambda state, _: self.changes.append(state))

    def calls(self, *endings: DokployError | None) -> None:
        for ending in endings:
            self.circuit.before("x")
            self.circuit.after(ending)


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_failures_in_a_row_open_it(error: DokployError):
    told = Told()

    told.calls(error, error)
    assert (told.circuit.state, told.circuit.seconds_left) == ("closed", 0)
    told.calls(error)

    assert (told.circuit.state, told.circuit.seconds_left) == ("open", 1)
    with pytest.raises(DokployCircuitOpen) as refused:
        told.circuit.before("project.create")
    assert (refused.value.call, refused.value.uncertain) == ("project.create", False)
    assert told.changes == ["open"]


@pytest.mark.parametrize("answer", THERE, ids=lambda error: type(error).__name__)
def test_an_answer_between_begins_the_count_anew(answer: DokployError | None):
    told = Told()

    told.calls(*AWAY[:2], answer, *AWAY[:2], answer, *AWAY[:2])

    assert told.circuit.state == "closed"


def test_one_success_closes_it_and_one_failure_opens_it_again():
    told = Told()
    told.calls(*AWAY[:3])
    time.sleep(0.06)

    told.calls(AWAY[0])
    assert told.changes == ["open", "half_open", "open"]
    time.sleep(0.06)
    told.calls(None)

    assert told.changes == ["open", "half_open", "open", "half_open", "closed"]
    told.calls(*AWAY[:2])
    assert told.circuit.state == "closed", "the count begins at nothing"


def test_being_refused_many_times_keeps_nothing():
    """The library raises one exception object each time; its traceback must not grow with every refusal."""
    told = Told(seconds=60)
    told.calls(*AWAY[:3])

    for _ in range(100):
        with pytest.raises(DokployCircuitOpen) as refused:
            told.circuit.before("x")

    depth, trace = 0, refused.value.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10
