"""Dokploy's answers as it writes them, and what is read of them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.dokploy import ApplicationUpdate, DokployDeployment, Project, QueueJob, Task, Volume
from app.dokploy.models import FoundApplications, ProjectContents

PROJECT = {"projectId": "p", "name": "ada", "description": None, "createdAt": "2025-01-02T03:04:05.678Z"}


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2025-01-02T03:04:05.678Z", datetime(2025, 1, 2, 3, 4, 5, 678000, UTC)),
        ("2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, 0, UTC)),
        ("2025-01-02T03:04:05.678", datetime(2025, 1, 2, 3, 4, 5, 678000, UTC)),
        ("2025-01-02T03:04:05", datetime(2025, 1, 2, 3, 4, 5, 0, UTC)),
        ("2025-01-02 03:04:05.678901", datetime(2025, 1, 2, 3, 4, 5, 678901, UTC)),
        ("2025-01-02T05:04:05+02:00", datetime(2025, 1, 2, 3, 4, 5, 0, UTC)),
    ],
)
def test_moments_with_and_without_zone_and_fraction(written: str, moment: datetime):
    project = Project.model_validate({**PROJECT, "createdAt": written})
    assert project.created_at == moment
    assert project.created_at.tzinfo is not None


def test_moments_of_both_kinds_can_be_sorted():
    written = ["2025-01-02T03:04:05", "2025-01-01T00:00:00Z"]
    projects = [Project.model_validate({**PROJECT, "createdAt": each}) for each in written]
    assert sorted(projects, key=lambda project: project.created_at) == projects[::-1]


def test_fields_that_are_not_known_are_passed_over():
    project = Project.model_validate({**PROJECT, "env": "SECRET=x", "environments": [], "new": {"in": "0.31"}})
    assert "SECRET" not in repr(project)


@pytest.mark.parametrize("missing", ["projectId", "name", "createdAt"])
def test_fields_that_are_used_must_be_there(missing: str):
    with pytest.raises(ValidationError):
        Project.model_validate({name: value for name, value in PROJECT.items() if name != missing})


def test_a_status_that_is_not_known_yet_is_read():
    row = {"deploymentId": "d", "title": "t", "createdAt": "2025-01-02T03:04:05Z", "finishedAt": None}
    for status in ("idle", "running", "done", "error", "cancelled", "paused"):
        assert DokployDeployment.model_validate({**row, "status": status}).status == status


@pytest.mark.parametrize(
    ("state", "doing", "failed"),
    [
        ("Running 3 seconds ago", "running", False),
        ("Starting less than a second ago", "starting", False),
        ("Failed 2 seconds ago", "failed", True),
        ("Rejected 2 seconds ago", "rejected", True),
        ("Shutdown 5 minutes ago", "shutdown", False),
        ("Complete 5 minutes ago", "complete", False),
        ("", "", False),
    ],
)
def test_what_a_task_is_doing(state: str, doing: str, failed: bool):
    task = Task(container_id="c", state="running", current_state=state, error="Error:")
    assert (task.doing, task.failed) == (doing, failed)


def test_a_project_is_empty_only_when_no_kind_of_service_is_in_it():
    def environment(**more: Any) -> dict[str, Any]:
        return {"environmentId": "e", "name": "production", "isDefault": True, "description": "", "env": "", **more}

    lists: dict[str, list[Any]] = {kind: [] for kind in ("applications", "compose", "mariadb", "postgres", "redis")}
    empty = ProjectContents.model_validate({"projectId": "p", "environments": [environment(**lists)]})
    assert empty.environments[0].services() == []

    for kind in (*lists, "a_kind_of_tomorrow"):
        contents = {**lists, kind: [{"name": "theirs"}]}
        full = ProjectContents.model_validate({"projectId": "p", "environments": [environment(**contents)]})
        assert full.environments[0].services() == [{"name": "theirs"}], kind


def test_a_job_in_the_queue():
    written = {
        "id": "job-7",
        "name": "deployments",
        "data": {"applicationId": "a", "titleLog": "t", "type": "deploy", "server": False},
        "timestamp": 1735787045678,
        "state": "waiting",
    }
    job = QueueJob.model_validate(written)
    assert (job.data.application_id, job.data.title_log, job.timestamp) == ("a", "t", 1735787045678)
    assert QueueJob.model_validate({**written, "data": {"composeId": "c"}}).data.application_id is None


def test_a_search_and_a_volume():
    assert FoundApplications.model_validate({"items": [], "total": 0}).items == []
    assert TypeAdapter(list[Volume]).validate_python([{"Name": "v", "Driver": "local"}])[0].name == "v"


def test_an_update_is_written_as_dokploy_reads_it_and_prints_no_secret():
    update = ApplicationUpdate(
        docker_image="x:1", password="hush-hush", env="A=hush-hush", memory_limit="1024", cpu_limit="500000000"
    )
    assert update.model_dump(by_alias=True) == {
        "sourceType": "docker",
        "dockerImage": "x:1",
        "username": None,
        "password": "hush-hush",
        "registryUrl": None,
        "env": "A=hush-hush",
        "memoryLimit": "1024",
        "cpuLimit": "500000000",
    }
    assert "hush" not in repr(update)
