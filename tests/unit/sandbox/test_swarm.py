# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""How the emulated swarm's tasks and volumes change as time passes."""

from dataclasses import replace

import pytest

from app.sandbox.swarm import Fate, Spec, Swarm


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def swarm(clock) -> Swarm:
    return Swarm(3.0, clock)


VOLUME = {"type": "volume", "volumeName": "data", "mountPath": "/data"}
SPEC = Spec("web-1", "web", "image", {}, (VOLUME,))


def states(swarm: Swarm) -> list[str]:
    return [row["currentState"].split(" ")[0] for row in swarm.task_rows("web-1")]


def test_a_container_prepares_starts_and_runs(swarm, clock) -> None:
    swarm.apply(SPEC)
    assert (states(swarm), swarm.running("web-1")) == (["Preparing"], False)
    clock.now += 2
    assert states(swarm) == ["Starting"]
    clock.now += 1
    assert (states(swarm), swarm.answering("web-1")) == (["Running"], SPEC)
    clock.now += 65
    assert swarm.task_rows("web-1")[0]["currentState"] == "Running About a minute ago"
    assert swarm.task_rows("web-1")[0]["error"] == "Error:"


def test_an_update_starts_the_new_before_it_stops_the_old(swarm, clock) -> None:
    swarm.apply(SPEC)
    clock.now += 4
    newer = replace(SPEC, image="newer")
    swarm.apply(newer)
    assert (states(swarm), swarm.answering("web-1")) == (["Preparing", "Running"], SPEC)
    clock.now += 4
    assert (states(swarm), swarm.answering("web-1")) == (["Running", "Shutdown"], newer)


def test_a_crash_is_tried_again_and_again(swarm, clock) -> None:
    swarm.apply(replace(SPEC, fate=Fate.CRASH, error="why"))
    clock.now += 3.5
    assert states(swarm) == ["Ready", "Failed"]
    assert [row["state"] for row in swarm.task_rows("web-1")] == ["ready", "shutdown"]
    assert swarm.task_rows("web-1")[1]["error"] == "why"
    clock.now += 1
    assert states(swarm) == ["Preparing", "Failed"]
    clock.now += 10_000
    assert len(states(swarm)) == 5
    assert states(swarm)[1:] == ["Failed"] * 4
    assert not swarm.running("web-1")


def test_a_crashing_update_is_paused(swarm, clock) -> None:
    swarm.apply(SPEC)
    clock.now += 4
    swarm.apply(replace(SPEC, fate=Fate.CRASH, error="why"))
    clock.now += 100
    assert states(swarm) == ["Shutdown", "Failed", "Running"]
    assert swarm.answering("web-1") is SPEC


@pytest.mark.parametrize(
    ("fate", "state"), [(Fate.NEVER_READY, "Starting"), (Fate.PENDING, "Pending"), (Fate.REJECTED, "Preparing")]
)
def test_containers_that_never_run(swarm, clock, fate, state) -> None:
    swarm.apply(replace(SPEC, fate=fate, error="why"))
    clock.now += 1000 if fate is not Fate.REJECTED else 0
    assert (states(swarm), swarm.running("web-1")) == ([state], False)


def test_a_volume_is_released_some_time_after_its_service(swarm, clock) -> None:
    assert swarm.remove_volume("data") == "get data: no such volume"
    swarm.apply(SPEC)
    clock.now += 4
    swarm.remove("web-1", release_seconds=16)
    assert swarm.task_rows("web-1") == []
    assert len(swarm.container_rows("web-1")) == 1
    assert "volume is in use - [" in (swarm.remove_volume("data") or "")
    clock.now += 16
    assert swarm.container_rows("web-1") == []
    assert swarm.remove_volume("data") is None
    assert swarm.volumes == {}


def test_a_service_scaled_to_none_uses_no_volume_until_it_is_scaled_up(swarm, clock) -> None:
    assert swarm.scale("web-1", 1) is False
    swarm.apply(SPEC)
    clock.now += 4
    assert swarm.scale("web-1", 0) is True
    assert (states(swarm), swarm.remove_volume("data")) == ([], None)
    swarm.scale("web-1", 1)
    clock.now += 4
    assert (states(swarm), "data" in swarm.volumes) == (["Running"], True)


def test_a_service_has_a_task_for_each_replica(swarm, clock) -> None:
    swarm.apply(replace(SPEC, replicas=2))
    clock.now += 4
    assert [row["name"] for row in swarm.task_rows("web-1")] == ["web-1.1", "web-1.2"]
    swarm.apply(replace(SPEC, replicas=0))
    assert states(swarm) == []
