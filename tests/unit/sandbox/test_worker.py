# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The emulated queue: who goes when, and what is lost."""

import anyio
import anyio.lowlevel
import pytest

from app.sandbox.faults import Fault
from app.sandbox.rows import application_row
from app.sandbox.settings import SandboxSettings
from app.sandbox.state import State
from app.sandbox.swarm import Swarm
from app.sandbox.worker import Worker
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Bench:
    def __init__(self, **settings) -> None:
        self.state = State()
        self.swarm = Swarm(0.0)
        self.worker = Worker(self.state, self.swarm, SandboxSettings(**{"DEPLOY_SECONDS": 0.05, **settings}))
        _, self.environment = self.state.create_project("p", None, "SHARED=1")

    def application(self, **columns):
        row = application_row("web", "web", self.environment["environmentId"], None)
        row.update({"sourceType": "docker", "dockerImage": "nginx", **columns})
        self.state.add_application(row)
        return row

    def deploy(self, application, title="t", kind="deploy", **faults):
        made = {name: Fault(name, name, (), **fields) for name, fields in faults.items()}
        self.worker.enqueue(application["applicationId"], kind, title, "d", made)

    def statuses(self, application) -> list[tuple[str, str]]:
        rows = self.state.deployments_of(application["applicationId"])
        return [(row["title"], row["status"]) for row in rows]

    async def begun(self) -> None:
        """Let the worker take up what it can, which it does in the loop's next turn."""
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    async def idle(self) -> None:
        """Finish what is stuck until it is released, and wait for the end of everything else."""
        self.worker.release()
        await until(lambda: not self.worker.rows())


async def test_jobs_are_worked_on_one_after_the_other() -> None:
    bench = Bench()
    first, second = bench.application(), bench.application()
    bench.deploy(first, "a", stuck={})
    bench.deploy(second, "b")
    assert [job["state"] for job in bench.worker.rows()] == ["waiting", "waiting"]
    await bench.begun()
    assert [(job["data"]["titleLog"], job["state"]) for job in bench.worker.rows()] == [
        *(("b", "waiting"), ("a", "active")),
    ]
    assert (first["applicationStatus"], second["applicationStatus"]) == ("running", "idle")
    assert (bench.statuses(first), bench.statuses(second)) == ([("a", "running")], [])
    await bench.idle()
    assert (bench.statuses(first), bench.statuses(second)) == ([("a", "done")], [("b", "done")])
    assert set(bench.swarm.services) == {first["appName"], second["appName"]}


async def test_without_a_limit_all_jobs_are_worked_on_at_once() -> None:
    bench = Bench(CONCURRENCY=0)
    applications = [bench.application() for _ in range(20)]
    for application in applications:
        bench.deploy(application, stuck={})
    await bench.begun()
    assert {job["state"] for job in bench.worker.rows()} == {"active"}
    await bench.idle()
    assert len(bench.swarm.services) == 20


async def test_a_restart_cancels_the_active_job_and_loses_the_others() -> None:
    bench = Bench(DEPLOY_SECONDS=0.2)
    first, second = bench.application(), bench.application()
    bench.deploy(first, "active")
    bench.deploy(second, "queued")
    await bench.begun()
    bench.worker.restart()
    (row,) = bench.state.deployments_of(first["applicationId"])
    assert (row["status"], row["finishedAt"], first["applicationStatus"]) == ("cancelled", None, "idle")
    await anyio.sleep(0.3)  # longer than it would have taken
    assert (bench.worker.rows(), bench.statuses(second), bench.swarm.services) == ([], [], {})
    bench.deploy(second, "again")
    await bench.idle()
    assert bench.statuses(second) == [("again", "done")]


async def test_an_application_deleted_meanwhile_leaves_an_orphan() -> None:
    bench = Bench()
    application = bench.application()
    bench.deploy(application, stuck={})
    await bench.begun()
    bench.state.remove_application(application)
    assert bench.worker.rows()[0]["servicePath"] == {"href": None, "label": "—"}
    await bench.idle()
    assert list(bench.swarm.services) == [application["appName"]]
    assert bench.state.deployments == {}


async def test_a_waiting_job_of_a_deleted_application_vanishes() -> None:
    bench = Bench()
    first, second = bench.application(), bench.application()
    bench.deploy(first, stuck={})
    bench.deploy(second)
    await bench.begun()
    bench.state.remove_application(second)
    await bench.idle()
    assert list(bench.swarm.services) == [first["appName"]]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"dockerImage": "registry/missing:1"}, "manifest unknown"),
        ({"dockerImage": "UPPER/Bad Name:"}, "repository name (Bad Name) must be lowercase"),
        ({"dockerImage": "bad name"}, "invalid reference format"),
        ({"dockerImage": "unreachable.test/x"}, "connection refused"),
        ({"env": "A=${{project.NONE}}"}, "Invalid project environment variable: project.NONE"),
        ({"replicas": -1}, "cannot unmarshal number -1"),
    ],
)
async def test_a_deployment_that_fails_says_why_in_its_log(columns, complaint) -> None:
    bench = Bench()
    application = bench.application(**columns)
    bench.deploy(application)
    await bench.idle()
    (row,) = bench.state.deployments_of(application["applicationId"])
    assert (row["status"], row["errorMessage"], application["applicationStatus"]) == ("error", None, "error")
    assert complaint in bench.state.logs[row["logPath"]]
    assert bench.swarm.services == {}


async def test_settings_changed_during_a_deployment_do_not_reach_it() -> None:
    bench = Bench()
    application = bench.application(env="A=${{project.SHARED}}")
    bench.deploy(application, stuck={})
    await bench.begun()
    application["env"] = "A=2"
    await bench.idle()
    assert bench.swarm.services[application["appName"]].spec.env == {"A": "1"}


async def test_a_second_mount_at_one_path_is_docker_s_to_refuse() -> None:
    from app.sandbox.rows import mount_row

    bench = Bench()
    application = bench.application()
    for name in ("one", "two"):
        given = {"type": "volume", "volumeName": name, "mountPath": "/d", "serviceType": "application"}
        bench.state.add_mount(mount_row({**given, "serviceId": application["applicationId"]}))
    bench.deploy(application)
    await bench.idle()
    assert bench.statuses(application) == [("t", "error")]


async def test_a_deployment_is_listed_as_asked_for_when_nothing_else_knows_of_it() -> None:
    bench = Bench()
    application = bench.application()
    bench.deploy(application, "lost", lose_queue={})
    bench.deploy(application, "mine", drop_title={}, stuck={})
    bench.deploy(application, "failing", fail={})
    await bench.begun()
    bench.state.remove_application(application)
    await anyio.sleep(0.01)  # so that it ends later than it began, by a clock of milliseconds
    await bench.idle()

    lost, mine, failing = bench.worker.asked()
    assert (lost["title"], lost["status"], lost["deploymentId"]) == ("lost", None, None)
    assert (mine["title"], mine["status"]) == ("mine", "done")
    assert mine["createdAt"] < mine["finishedAt"]
    assert (failing["title"], failing["status"]) == ("failing", None), "never begun: its application was removed"


async def test_each_fault_changes_how_a_deployment_ends() -> None:
    bench = Bench()
    application = bench.application()
    bench.deploy(application, "lost", lose_queue={})
    assert bench.worker.rows() == []
    bench.deploy(application, "mine", drop_title={})
    await bench.idle()
    assert bench.statuses(application) == [("Manual deployment", "done")]
    bench.deploy(application, "mine", drop_both={})
    await bench.idle()
    kept, dropped = bench.state.deployments_of(application["applicationId"])
    assert (kept["title"], kept["description"]) == ("Manual deployment", "d")
    assert (dropped["title"], dropped["description"]) == ("Manual deployment", "")
    bench.deploy(application, "failing", fail={})
    await bench.idle()
    assert bench.statuses(application)[-1] == ("failing", "error")
    bench.deploy(application, "odd", unknown_status={})
    await bench.idle()
    assert bench.statuses(application)[-1] == ("odd", "paused")
    bench.deploy(application, "slow", stuck={"seconds": 0.1})
    await bench.idle()
    assert bench.statuses(application)[-1] == ("slow", "done")
    bench.deploy(application, "stuck", stuck={})
    await anyio.sleep(0.15)  # longer than it would take
    assert bench.statuses(application)[-1] == ("stuck", "running")
    assert bench.worker.release() == 1
    assert bench.statuses(application)[-1] == ("stuck", "done")


async def test_a_variable_makes_the_container_crash() -> None:
    bench = Bench()
    application = bench.application(env="SANDBOX_CRASH=1")
    bench.deploy(application)
    await bench.idle()
    assert bench.statuses(application) == [("t", "done")]
    assert bench.swarm.task_rows(application["appName"])[-1]["error"] == '"task: non-zero exit (3)"'
    assert not bench.swarm.running(application["appName"])
