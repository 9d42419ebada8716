"""The projector: whoever has watched from the start sees what a page shows that is loaded later, whatever happened."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.deployments.events import (
    CancelRequested,
    DeploymentResumed,
    DeploymentRetried,
    Event,
    LogLine,
    Progressed,
    QueuePosition,
    RecordedEvent,
    Warned,
)
from app.deployments.model import DeploymentRecord, StepView
from app.deployments.states import StepState
from app.engine.queue import Place
from app.errors import PortalError
from app.i18n import LANGUAGES
from app.operations.create import CREATE
from app.operations.operation import Operation
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.web.assets import STATIC_DIR
from app.web.effects import Effect, QueuePlace, SentenceEffect, Station, View, as_json
from app.web.projector import effects_of, effects_of_waiting, project
from tests.runs import Story, tell

ENGLISH: Final = LANGUAGES["en"]
SCRIPT: Final = (STATIC_DIR / "progress.js").read_text()
KINDS: Final = {kind.__dataclass_fields__["effect"].default: kind for kind in get_args(Effect)}


@dataclass(frozen=True)
class Painted(Event):
    """An event that only a newer portal has."""

    type: ClassVar[str] = "painted"
    step: str


NOISE: Final[Sequence[Event]] = (
    QueuePosition(3, 5, None),
    QueuePosition(9, 9, 40.0),
    Progressed("deploy", "queue_slow"),
    Progressed("deploy", "container_running"),
    LogLine("pulling <b>layer</b>"),
    Warned("dokploy_away"),
    Warned("tls_not_ready"),
    DeploymentResumed(),
    CancelRequested(),
    Painted("a_step_of_tomorrow"),
)
PROBLEMS: Final = st.sampled_from(["dokploy_refused", "canceled", "internal_error"]).map(PortalError)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A run of any verb that succeeds, fails or is canceled at any step, undone or not, with noise in between."""
    operation: Operation = draw(st.sampled_from([CREATE, REDEPLOY, REMOVE]))
    steps = st.sampled_from(operation.step_names)
    return tell(
        operation,
        errors=draw(st.dictionaries(steps, PROBLEMS, max_size=2)),
        stays=draw(st.dictionaries(steps, st.builds(PortalError, st.just("dokploy_refused")), max_size=2)),
        noise=draw(st.lists(st.lists(st.sampled_from(NOISE), max_size=3), max_size=12)),
    )


def retried(failed: Story, again: Story) -> Story:
    """Two runs of one deployment, one after the other."""
    before = len(failed.events)
    event = DeploymentRetried(again.operation.kind, attempt=2)
    first = replace(again.events[0], type=event.type, key=event.key, params=event.params)
    again.events = [*failed.events, *(replace(each, n=each.n + before) for each in [first, *again.events[1:]])]
    again.records = {n + before: replace(record, last_event=n + before) for n, record in again.records.items()}
    again.record = again.records[max(again.records)]
    return again


@st.composite
def retries(draw: st.DrawFn) -> Story:
    """A removal that failed, and a run of it after that."""
    steps = st.sampled_from(REMOVE.step_names)
    problems = st.just(PortalError("still_in_use"))
    failed = tell(REMOVE, errors=draw(st.dictionaries(steps, problems, min_size=1, max_size=2)))
    return retried(failed, tell(REMOVE, errors=draw(st.dictionaries(steps, problems, max_size=2))))


def watched(view: View, effects: Sequence[Effect]) -> View:
    """Apply effects as they arrive at a reader, who has only their JSON."""
    for told in json.loads(json.dumps(as_json(effects))):
        KINDS[told.pop("effect")](**told).apply(view)
    return view


@given(stories() | retries(), st.integers(min_value=0), st.sampled_from(["en", "ar"]))
def test_a_page_that_watched_is_the_page_that_is_loaded_later(story: Story, since: int, code: str):
    numbers = sorted(story.records)
    loaded_at = numbers[since % len(numbers)]
    language = LANGUAGES[code]
    view = project(story.records[loaded_at], story.events[:loaded_at], language)

    for event in story.events[loaded_at:]:
        watched(view, effects_of(event, story.record.created_at, language))

    assert view == project(story.record, story.events, language)
    assert not view.cancelable
    assert view.queue is None


def expected(record: DeploymentRecord, failed: set[str]) -> list[str]:
    """How the steps of a record look, by what the engine wrote of each. failed: those that failed by themselves."""
    looks: Mapping[StepState, str] = {
        StepState.RUNNING: "now",
        StepState.SUCCEEDED: "done",
        StepState.PENDING: "off" if record.undoing or record.conclusion else "wait",
        StepState.FAILED: "off",
        StepState.COMPENSATED: "undone",
        StepState.COMPENSATION_FAILED: "failed",
    }
    gone = {StepState.FAILED, StepState.COMPENSATED}
    return ["failed" if step.name in failed and step.state in gone else looks[step.state] for step in record.steps]


@given(stories())
def test_every_step_looks_as_the_engine_recorded_it(story: Story):
    for last, record in story.records.items():
        events = story.events[:last]
        failed = {
            event.params["step"]
            for event in events
            if event.type == "step_failed" and event.params["code"] != "canceled"
        }
        shown = project(record, events, ENGLISH).stations
        assert [station.state for station in shown] == expected(record, failed)
        began = {station.name: station.began for station in shown if station.began}
        running = [step for step in record.steps if step.state is StepState.RUNNING]
        assert began == {step.name: step.started_at.isoformat() for step in running if step.started_at}


@given(stories())
def test_what_is_no_longer_kept_is_recalled_from_the_record(story: Story):
    failures = [event for event in story.events if event.type == "step_failed"]

    whole, recalled = project(story.record, story.events, ENGLISH), project(story.record, [], ENGLISH)

    if len(failures) < 2:  # the record remembers why of the first only
        assert recalled.stations == whole.stations
    assert (recalled.undoing, recalled.cancelable) == (whole.undoing, False)
    assert recalled.sentence == whole.sentence
    assert (recalled.log, recalled.warnings) == ([], [])
    half = len(story.events) // 2
    assert project(story.record, story.events[half:], ENGLISH).log == whole.log[half:]


def of(event: Event, *, n: int = 5) -> list[dict[str, Any]]:
    """The effects of an event that comes in the middle of a run, as JSON."""
    at = BEFORE.record.created_at
    recorded = RecordedEvent("01JD", n, at, event.type, event.key, event.params, BEFORE.record.status, False, None)
    return as_json(effects_of(recorded, at, ENGLISH))


BEFORE: Final = tell()


def test_an_event_of_a_new_class_is_told_without_a_word_about_it_anywhere_else():
    kinds = [each["effect"] for each in of(Painted("deploy"))]

    assert kinds == ["log", "dequeue", "sentence"]
    assert of(Painted("deploy"))[0]["step"] == "Deploy"


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        (LogLine("x"), ["log", "dequeue"]),
        (Warned("tls_not_ready"), ["log", "dequeue", "warning"]),
        # What goes on now, rather than something to know.
        (Warned("dokploy_away"), ["log", "dequeue", "sentence"]),
        (QueuePosition(2, 5, None), ["log", "queue", "sentence"]),
        # It still waits where it did.
        (Progressed("deploy", "queue_slow"), ["log", "sentence"]),
        (CancelRequested(), ["log", "dequeue", "uncancelable", "sentence"]),
    ],
    ids=lambda each: each.type if isinstance(each, Event) else "",
)
def test_what_an_event_changes(event: Event, kinds: list[str]):
    assert [each["effect"] for each in of(event)] == kinds


def test_a_line_of_dokploys_log_is_told_as_it_is_and_belongs_to_the_deploy_step():
    row = of(LogLine("<b>{x}"), n=7)[0]

    assert row == {"effect": "log", "n": 7, "time": "0:00", "step": "Deploy", "text": "<b>{x}", "raw": True}


def test_who_is_far_back_in_the_queue_sees_a_number_in_place_of_those_between():
    assert QueuePlace("deploy", 9).shown == [1]
    told = next(each for each in of(QueuePosition(9, 9, None)) if each["effect"] == "queue")
    assert told == {"effect": "queue", "before": "deploy", "position": 9, "between": 7, "shown": [1]}
    near = next(each for each in of(QueuePosition(3, 9, None)) if each["effect"] == "queue")
    assert (near["between"], near["shown"]) == (0, [2, 1])


def test_the_place_in_the_portals_own_queue_is_no_event_and_is_shown_all_the_same():
    first = min(BEFORE.records)
    record = replace(BEFORE.records[first], started_at=None)
    place = Place(2, 4, None)

    view = project(record, BEFORE.events[:first], ENGLISH, place=place)

    assert view.queue == QueuePlace("validate", 2)
    assert view.sentence == "The portal is busy. 1 deployment goes first."
    assert view.cancelable
    canceled = project(replace(record, cancel_requested=True), BEFORE.events[:first], ENGLISH)
    assert (canceled.sentence, canceled.queue, canceled.cancelable) == ("Cancelling was asked for.", None, False)
    spoken = [each for each in effects_of_waiting(record, place, ENGLISH) if isinstance(each, SentenceEffect)]
    assert [each.spoken for each in spoken] == [True]


def test_a_retry_is_shown_as_a_run_of_its_own_below_the_log_of_those_before():
    story = retried(tell(REMOVE, errors={"volume": PortalError("still_in_use")}), tell(REMOVE))
    begins = min(story.records)

    view = project(story.records[begins], story.events[:begins], ENGLISH)

    assert {station.state for station in view.stations} == {"wait"}
    assert [station.note for station in view.stations] == [
        station.note for station in project(tell(REMOVE).records[1], tell(REMOVE).events[:1], ENGLISH).stations
    ]
    assert view.sentence == "Attempt 2 is queued."
    assert [row.n for row in view.log] == [event.n for event in story.events[:begins]]


def test_a_step_that_this_portal_does_not_know_is_shown_by_its_name():
    steps = [StepView("paint", StepState.RUNNING, 1, None, None, {})]
    record = replace(BEFORE.records[min(BEFORE.records)], kind="decorate", steps=steps)

    (shown,) = project(record, (), ENGLISH).stations
    assert shown == Station("paint", "paint", "now", "in progress", "", record.created_at.isoformat())


def test_the_script_applies_every_effect_and_knows_no_event():
    table = SCRIPT.partition("this.effects = {")[2].partition("};")[0]

    assert set(re.findall(r"^\s+(\w+):", table, re.MULTILINE)) == set(KINDS)
    named = {event.type for event in Event.__subclasses__() if event.__module__ == Event.__module__} - set(KINDS)
    assert [name for name in named if re.search(rf"\b{name}\b", SCRIPT)] == []
