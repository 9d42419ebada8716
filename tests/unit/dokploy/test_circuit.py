"""The circuit: when it opens, what counts, and how it closes again."""

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
    def __init__(self, *, failures: int = 3, seconds: float = 3600) -> None:
        self.changes: list[str] = []
        self.now = 0.0
        self.circuit = Circuit(
            failures=failures,
            seconds=seconds,
            changed=lambda state, _: self.changes.append(state),
            clock=lambda: self.now,
        )

    def calls(self, *endings: DokployError | None) -> None:
        for ending in endings:
            self.circuit.before("x")
            self.circuit.after(ending)


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_failures_in_a_row_open_the_circuit(error: DokployError):
    told = Told()

    told.calls(error, error)
    assert (told.circuit.state, told.circuit.seconds_left) == ("closed", 0)
    told.calls(error)

    assert told.circuit.state == "open"
    assert 0 < told.circuit.seconds_left <= 3600
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
    told = Told(seconds=5)
    told.calls(*AWAY[:3])
    told.now = 4.9
    with pytest.raises(DokployCircuitOpen):
        told.circuit.before("x")
    told.now = 5

    told.calls(AWAY[0])
    assert told.changes == ["open", "half_open", "open"]
    assert told.circuit.seconds_left == 5
    told.now = 10
    told.calls(None)

    assert told.changes == ["open", "half_open", "open", "half_open", "closed"]
    told.calls(*AWAY[:2])
    assert told.circuit.state == "closed", "the count begins at nothing"


@pytest.mark.parametrize("ending", [None, *AWAY], ids=lambda error: type(error).__name__)
def test_a_call_from_before_it_opened_changes_nothing(ending: DokployError | None):
    told = Told(seconds=5)
    told.circuit.before("slow")
    told.calls(*AWAY[:3])
    told.now = 3

    told.circuit.after(ending)

    assert (told.circuit.state, told.circuit.seconds_left, told.changes) == ("open", 2, ["open"])
