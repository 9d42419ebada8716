"""Events: every one that can happen has words in every language, with its parameters filled in."""

import json
import string
from dataclasses import dataclass
from typing import ClassVar

import pytest

from app.deployments import events, sentences
from app.deployments.events import (
    CancelRequested,
    DeploymentCompleted,
    DeploymentQueued,
    DeploymentResumed,
    DeploymentRetried,
    DeploymentStarted,
    Event,
    LogLine,
    Progressed,
    QueuePosition,
    StepCompensated,
    StepCompensationFailed,
    StepFailed,
    StepStarted,
    StepSucceeded,
    UndoStarted,
    Warned,
)
from app.deployments.sentences import describe
from app.deployments.states import Conclusion, Status, phase_of
from app.errors import PROBLEMS
from app.i18n import LANGUAGES
from app.operations.create import CREATE
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.table import OPERATIONS

LEFT = [{"kind": "volume", "name": "v"}]
PROGRESS = (
    "queue_slow",
    "deploy_triggered_again",
    "container_running",
    "container_starting",
    "container_answering",
    "route_left",
    "volume_left",
    "undo_waiting",
)


def details(code: str) -> dict[str, str]:
    """A value for each placeholder of a problem."""
    names = {name for _, name, _, _ in string.Formatter().parse(PROBLEMS[code].detail) if name}
    return {name: f"<{name}>" for name in names}


def completed(kind: str, conclusion: Conclusion, leftovers: list[dict[str, str]]) -> DeploymentCompleted:
    return DeploymentCompleted("ada", kind, "https://ada.example", conclusion, None, leftovers)


ALL: list[Event] = [
    *(completed(kind, conclusion, []) for kind in (REDEPLOY.kind, PASSWORD.kind) for conclusion in Conclusion),
    *(DeploymentQueued("ada", kind) for kind in OPERATIONS),
    *(DeploymentStarted("ada", kind) for kind in OPERATIONS),
    DeploymentResumed(),
    DeploymentRetried("remove", 2),
    *(StepStarted(CREATE.kind, step) for step in CREATE.step_names),
    *(StepStarted(REMOVE.kind, step) for step in REMOVE.step_names),
    *(StepSucceeded(CREATE.kind, step, 1.5) for step in CREATE.step_names),
    *(StepSucceeded(REMOVE.kind, step, 1.5) for step in REMOVE.step_names),
    *(StepFailed("deploy", code, details(code)) for code in PROBLEMS),
    *(StepCompensationFailed("domain", code, details(code)) for code in PROBLEMS),
    *(StepCompensated(step) for step in CREATE.step_names),
    QueuePosition(2, 5, None),
    QueuePosition(2, 5, 0.0),
    QueuePosition(2, 5, 95.0),
    *(Progressed("deploy", what) for what in PROGRESS),
    LogLine("pulling {image} 100%"),
    Warned("dokploy_away"),
    Warned("tls_not_ready"),
    Warned("plain_http"),
    Warned("files_kept"),
    CancelRequested(),
    UndoStarted(),
    completed(CREATE.kind, Conclusion.SUCCEEDED, []),
    completed(CREATE.kind, Conclusion.FAILED, []),
    completed(CREATE.kind, Conclusion.FAILED, LEFT),
    completed(CREATE.kind, Conclusion.CANCELED, []),
    completed(CREATE.kind, Conclusion.CANCELED, LEFT),
    completed(REMOVE.kind, Conclusion.SUCCEEDED, []),
    completed(REMOVE.kind, Conclusion.FAILED, LEFT),
]


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_event_can_be_said_after_a_stay_in_the_store(language):
    for event in ALL:
        stored = json.loads(json.dumps(event.params))
        said = describe(event.key, stored, language)
        assert said, event
        assert "{" not in said or isinstance(event, LogLine), (event, said)


def test_every_class_of_event_is_among_them():
    classes = {
        each
        for each in vars(events).values()
        if isinstance(each, type) and issubclass(each, Event) and each is not Event
    }
    assert {type(event) for event in ALL} == classes


def test_names_of_server_sent_events_are_none_of_the_browsers():
    names = {event.type for event in ALL}
    assert not names & {"error", "open", "message"}
    assert all(name.replace("_", "").isalpha() for name in names)


def test_every_sentence_is_used():
    unused = set(sentences.MESSAGES) - {event.key for event in ALL}
    assert unused == set()


def test_keys_and_types_fit_the_store():
    assert max(len(event.key) for event in ALL) <= 80
    assert max(len(event.type) for event in ALL) <= 40


def test_a_log_line_is_shown_as_it_is():
    line = "{0.__class__} <b>50%</b>"
    assert describe("log_line", {"line": line}, LANGUAGES["en"]) == line


def test_every_viewer_reads_his_language():
    event = QueuePosition(2, 5, 95.0)
    said = {code: describe(event.key, event.params, language) for code, language in LANGUAGES.items()}

    assert said["en"] == "In Dokploy's line at place 2 of 5, about 2\u00a0min to go."
    assert len(set(said.values())) == len(LANGUAGES)


def test_a_name_is_isolated_in_arabic():
    event = completed(CREATE.kind, Conclusion.SUCCEEDED, [])

    said = describe(event.key, event.params, LANGUAGES["ar"])

    assert "\u2068ada\u2069" in said
    assert "\u2068https://ada.example\u2069" in said


def test_what_was_left_is_said():
    assert completed(CREATE.kind, Conclusion.FAILED, LEFT).key.endswith("failed.leftovers")
    assert completed(CREATE.kind, Conclusion.FAILED, []).key.endswith("failed")


@pytest.mark.parametrize(
    ("status", "undoing", "phase"),
    [
        (Status.QUEUED, False, "plan"),
        (Status.PREPARE, False, "execute"),
        (Status.DEPLOY, False, "execute"),
        (Status.FINALIZE, False, "verify"),
        (Status.COMPLETED, False, "verify"),
        (Status.DEPLOY, True, "undo"),
        (Status.COMPLETED, True, "undo"),
    ],
)
def test_each_status_has_its_phase(status: Status, undoing: bool, phase: str):
    assert phase_of(status, undoing=undoing) == phase


def test_parameters_are_the_fields_and_nothing_else():
    @dataclass(frozen=True)
    class Happened(Event):
        type: ClassVar[str] = "happened"
        what: str

    assert Happened("x").params == {"what": "x"}
    assert Happened("x").key == "happened"
