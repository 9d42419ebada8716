# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The queue and the ends that a Dokploy deployment can come to."""

import re

import pytest

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

JOB = {"id", "name", "data", "timestamp", "state", "servicePath"}
LAST_LINE = "Error occurred ❌, check the logs for details."


async def log_of(dokploy, row):
    return await dokploy.read("deployment.readLogs", deploymentId=row["deploymentId"])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"dockerImage": "127.0.0.1:9/missing/image:1"}, "Pulling image failed"),
        ({"dockerImage": ""}, "Docker image not found"),
        ({"sourceType": "github"}, "Github Provider not found"),
        ({"env": "X=${{environment.NOBODY_SET_IT}}"}, "Invalid environment variable: environment.NOBODY_SET_IT"),
        ({"memoryLimit": "128Mi"}, "invalid memory value 128: Must be at least 4MiB"),
        ({"memoryLimit": "1024"}, "invalid memory value 1024: Must be at least 4MiB"),
        ({"replicas": -1}, "cannot unmarshal number -1"),
    ],
)
async def test_a_deployment_that_fails(dokploy, settings, complaint) -> None:
    application = await dokploy.runnable(**settings)
    row = await dokploy.deployed(application["applicationId"])
    assert (row["status"], row["errorMessage"]) == ("error", None)
    log = await log_of(dokploy, row)
    assert complaint in log
    assert log.rstrip().endswith(LAST_LINE)
    whole = await dokploy.read("application.one", applicationId=application["applicationId"])
    assert whole["applicationStatus"] == "error"
    assert await dokploy.read("docker.getServiceContainersByAppName", appName=application["appName"]) == []
    response = await dokploy.get("application.readLogs", applicationId=application["applicationId"])
    assert response.status_code == 500
    assert "No container or service found for" in response.json()["message"]


async def test_done_is_not_running(dokploy) -> None:
    application = await dokploy.runnable(command="/no/such")
    row = await dokploy.deployed(application["applicationId"])
    assert row["status"] == "done"

    async def failed():
        tasks = await dokploy.read("docker.getServiceContainersByAppName", appName=application["appName"])
        return next((task for task in tasks if task["currentState"].startswith("Failed")), None)

    task = await dokploy.until(failed)
    assert task["state"] == "shutdown"
    assert "no such file or directory" in task["error"]
    tasks = await dokploy.read("docker.getServiceContainersByAppName", appName=application["appName"])
    assert not any(task["currentState"].startswith("Running") for task in tasks)


async def test_a_crashing_update_leaves_the_old_version_running(dokploy) -> None:
    application = await dokploy.runnable()
    key = application["applicationId"]
    await dokploy.deployed(key, "first")

    async def tasks_where(wanted):
        tasks = await dokploy.read("docker.getServiceContainersByAppName", appName=application["appName"])
        return tasks if wanted([task["currentState"].split(" ")[0] for task in tasks]) else None

    await dokploy.until(lambda: tasks_where(lambda states: states[:1] == ["Running"]))
    await dokploy.do("application.update", applicationId=key, command="/no/such")
    assert (await dokploy.deployed(key, "second"))["status"] == "done"
    tasks = await dokploy.until(lambda: tasks_where(lambda states: "Failed" in states))
    assert not tasks[0]["currentState"].startswith("Running")
    assert any(task["currentState"].startswith("Running") for task in tasks)


async def test_the_queue_is_the_only_sight_of_a_waiting_job(dokploy) -> None:
    first = await dokploy.runnable()
    second = await dokploy.runnable()
    await dokploy.hold()
    for application, title in ((first, "a1"), (first, "a2"), (first, "a3"), (second, "b1")):
        await dokploy.do("application.deploy", applicationId=application["applicationId"], title=title)
    queue = await dokploy.read("deployment.queueList")
    jobs = [job for job in queue if job["data"]["titleLog"] == "b1"]
    if jobs and jobs[0]["state"] == "waiting":
        assert jobs[0].keys() >= JOB
        assert re.fullmatch(r"job-\d+", jobs[0]["id"])
        assert jobs[0]["data"]["applicationId"] == second["applicationId"]
        assert jobs[0]["data"]["type"] == "deploy"
        assert await dokploy.read("deployment.all", applicationId=second["applicationId"]) == []
    elif not dokploy.is_real:
        pytest.fail("The emulated queue does not wait.")
    response = await dokploy.post("application.cleanQueues", applicationId=first["applicationId"])
    assert (response.status_code, response.content) == (200, b"")
    await dokploy.release()
    assert (await dokploy.ended(second["applicationId"], "b1"))["status"] == "done"
    rows = await dokploy.read("deployment.all", applicationId=first["applicationId"])
    assert len(rows) < 3 or dokploy.is_real


async def test_a_running_deployment_cannot_be_cancelled(dokploy) -> None:
    application = await dokploy.runnable()
    key = application["applicationId"]
    refused = await dokploy.post("application.cancelDeployment", applicationId=key)
    assert refused.status_code == 400
    assert refused.json()["message"] == "Deployment cancellation only available in cloud version"
    row = await dokploy.deployed(key)
    refused = await dokploy.post("deployment.killProcess", deploymentId=row["deploymentId"])
    assert (refused.status_code, refused.json()["message"]) == (400, "Deployment is not running")
    if not dokploy.is_real:  # It kills whatever the whole host builds.
        response = await dokploy.post("application.killBuild", applicationId=key)
        assert (response.status_code, response.content) == (200, b"")


async def test_titles_nobody_gave(dokploy) -> None:
    application = await dokploy.runnable()
    key = application["applicationId"]
    await dokploy.do("application.deploy", applicationId=key)
    row = await dokploy.ended(key, "Manual deployment")
    assert (row["status"], row["description"]) == ("done", "")
    await dokploy.do("application.redeploy", applicationId=key)
    row = await dokploy.ended(key, "Rebuild deployment")
    assert row["status"] == "done"
    assert "Pulling" not in await log_of(dokploy, row)


async def test_only_the_newest_records_are_kept(dokploy) -> None:
    application = await dokploy.runnable(dockerImage="")
    for n in range(14):
        row = await dokploy.deployed(application["applicationId"], f"m{n}")
    rows = await dokploy.read("deployment.all", applicationId=application["applicationId"])
    assert rows[0]["deploymentId"] == row["deploymentId"]
    assert 10 <= len(rows) <= 11


async def test_stop_start_and_reload(dokploy) -> None:
    application = await dokploy.runnable()
    key, app_name = application["applicationId"], application["appName"]
    refused = await dokploy.post("application.start", applicationId=key)
    assert (refused.status_code, "docker service scale" in refused.json()["message"]) == (500, True)
    await dokploy.deployed(key)
    assert (await dokploy.do("application.stop", applicationId=key))["applicationId"] == key
    assert (await dokploy.read("application.one", applicationId=key))["applicationStatus"] == "idle"
    assert (await dokploy.do("application.start", applicationId=key))["applicationId"] == key
    assert (await dokploy.read("application.one", applicationId=key))["applicationStatus"] == "done"
    tasks = await dokploy.read("docker.getServiceContainersByAppName", appName=app_name)
    assert tasks[0]["currentState"].startswith("Running")
    assert await dokploy.do("application.reload", applicationId=key, appName=app_name) is True
    assert len(await dokploy.read("deployment.all", applicationId=key)) == 1


async def test_a_provider_and_an_environment_are_saved(dokploy) -> None:
    key = (await dokploy.application())["applicationId"]
    provider = {"dockerImage": dokploy.image, "username": None, "password": None, "registryUrl": None}
    assert await dokploy.do("application.saveDockerProvider", applicationId=key, **provider) is True
    environment = {"env": "A=1", "buildArgs": None, "buildSecrets": None, "createEnvFile": False}
    assert await dokploy.do("application.saveEnvironment", applicationId=key, **environment) is True
    whole = await dokploy.read("application.one", applicationId=key)
    assert (whole["sourceType"], whole["dockerImage"], whole["env"]) == ("docker", dokploy.image, "A=1")
