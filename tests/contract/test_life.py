# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The whole life of a stack, in the order in which a portal leads it."""

import re

import pytest

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

NULL = type(None)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

PROJECT = {
    "projectId": str,
    "name": str,
    "description": (str, NULL),
    "createdAt": str,
    "organizationId": str,
    "env": str,
}
ENVIRONMENT = {
    "environmentId": str,
    "name": str,
    "description": (str, NULL),
    "createdAt": str,
    "env": str,
    "projectId": str,
    "isDefault": bool,
}
APPLICATION = {
    "applicationId": str,
    "name": str,
    "appName": str,
    "description": (str, NULL),
    "env": (str, NULL),
    "memoryLimit": (str, NULL),
    "cpuLimit": (str, NULL),
    "command": (str, NULL),
    "sourceType": str,
    "dockerImage": (str, NULL),
    "username": (str, NULL),
    "replicas": int,
    "applicationStatus": str,
    "buildType": str,
    "createdAt": str,
    "environmentId": str,
    "serverId": (str, NULL),
}
MOUNT = {
    "mountId": str,
    "type": str,
    "volumeName": (str, NULL),
    "serviceType": str,
    "mountPath": str,
    "applicationId": (str, NULL),
}
DOMAIN = {
    "domainId": str,
    "host": str,
    "https": bool,
    "port": int,
    "path": str,
    "domainType": str,
    "uniqueConfigKey": int,
    "createdAt": str,
    "customCertResolver": (str, NULL),
    "applicationId": (str, NULL),
    "certificateType": str,
}
DEPLOYMENT = {
    "deploymentId": str,
    "title": str,
    "description": (str, NULL),
    "status": str,
    "logPath": str,
    "pid": (str, NULL),
    "applicationId": str,
    "createdAt": str,
    "startedAt": (str, NULL),
    "finishedAt": (str, NULL),
    "errorMessage": (str, NULL),
}
TASK = {"containerId": str, "name": str, "state": str, "currentState": str, "node": str, "error": str}
CONTAINER = {"containerId": str, "name": str, "state": str}
VOLUME = {"Name": str, "Driver": str, "Mountpoint": str, "Labels": str, "Scope": str}


def assert_shape(value, shape) -> None:
    """Every key is there with its type; a newer server may tell more."""
    assert shape.keys() <= value.keys(), f"missing {shape.keys() - value.keys()}"
    for key, kind in shape.items():
        assert isinstance(value[key], kind), f"{key} is {value[key]!r}"


async def test_the_whole_life(dokploy) -> None:
    marker = f"asd:contract:{dokploy.run}"
    project, environment = await dokploy.project(description=marker)
    assert_shape(project, PROJECT)
    assert_shape(environment, ENVIRONMENT)
    assert (environment["name"], environment["isDefault"]) == ("production", True)
    assert project["description"] == marker
    assert TIME.fullmatch(project["createdAt"])

    application = await dokploy.application(environment["environmentId"], description=marker)
    assert_shape(application, APPLICATION)
    assert application["applicationStatus"] == "idle"
    assert application["sourceType"] == "github"
    assert re.fullmatch(rf"{dokploy.run}-[a-z0-9]{{6}}", application["appName"])
    key, app_name = application["applicationId"], application["appName"]

    settings = {
        "sourceType": "docker",
        "dockerImage": dokploy.image,
        "username": None,
        "password": None,
        "registryUrl": None,
        "env": "A=1\nB='x#y'",
        "memoryLimit": "268435456",
        "cpuLimit": "500000000",
    }
    assert await dokploy.do("application.update", applicationId=key, **settings) is True
    whole = await dokploy.read("application.one", applicationId=key)
    assert {name: whole[name] for name in settings} == settings
    assert whole["environment"]["project"]["projectId"] == project["projectId"]
    assert (whole["domains"], whole["mounts"], whole["deployments"]) == ([], [], [])

    volume = f"{dokploy.run}-data"
    dokploy.volumes.append(volume)
    mount = await dokploy.do(
        "mounts.create",
        type="volume",
        volumeName=volume,
        mountPath="/data",
        serviceId=key,
        serviceType="application",
    )
    assert_shape(mount, MOUNT)
    assert mount["applicationId"] == key
    listed = await dokploy.read("mounts.listByServiceId", serviceType="application", serviceId=key)
    assert [row["mountId"] for row in listed] == [mount["mountId"]]

    host = f"{dokploy.run}.example.test"
    domain = await dokploy.do(
        "domain.create", host=host, applicationId=key, domainType="application", port=80, https=False
    )
    assert_shape(domain, DOMAIN)
    assert (domain["host"], domain["port"], domain["certificateType"]) == (host, 80, "none")
    routes = await dokploy.read("application.readTraefikConfig", applicationId=key)
    assert f"Host(`{host}`)" in routes
    assert f"http://{app_name}:80" in routes

    response = await dokploy.post("application.deploy", applicationId=key, title=dokploy.run, description="d")
    assert (response.status_code, response.content) == (200, b"")
    row = await dokploy.ended(key, dokploy.run)
    assert_shape(row, DEPLOYMENT)
    assert (row["status"], row["description"], row["errorMessage"]) == ("done", "d", None)
    assert TIME.fullmatch(row["finishedAt"])
    log = await dokploy.read("deployment.readLogs", deploymentId=row["deploymentId"])
    assert log.startswith("Initializing deployment\n")
    assert f"Pulling {dokploy.image}" in log
    by_type = await dokploy.read("deployment.allByType", id=key, type="application")
    assert by_type[0]["deploymentId"] == row["deploymentId"]
    assert by_type[0]["rollback"] is None

    async def running():
        tasks = await dokploy.read("docker.getServiceContainersByAppName", appName=app_name)
        return tasks if tasks and tasks[0]["currentState"].startswith("Running") else None

    tasks = await dokploy.until(running)
    assert_shape(tasks[0], TASK)
    assert (tasks[0]["state"], tasks[0]["name"]) == ("running", f"{app_name}.1")
    containers = await dokploy.read("docker.getContainersByAppNameMatch", appName=app_name)
    assert_shape(containers[0], CONTAINER | {"status": str})
    assert containers[0]["name"].startswith(f"{app_name}.1.")
    labelled = await dokploy.read("docker.getContainersByAppLabel", appName=app_name, type="swarm")
    assert_shape(labelled[0], CONTAINER)
    everywhere = await dokploy.read("docker.getContainers")
    assert any(row["name"].startswith(f"{app_name}.") for row in everywhere)
    mounted = await dokploy.read("mounts.allNamedByApplicationId", applicationId=key)
    assert [(entry["Name"], entry["Destination"]) for entry in mounted] == [(volume, "/data")]
    assert isinstance(await dokploy.read("application.readLogs", applicationId=key), str)
    assert (await dokploy.read("application.one", applicationId=key))["applicationStatus"] == "done"

    volumes = await dokploy.read("dockerVolume.getVolumes")
    assert_shape(next(entry for entry in volumes if entry["Name"] == volume), VOLUME)
    refused = await dokploy.post("dockerVolume.removeVolume", volumeName=volume)
    assert refused.status_code == 500
    assert "volume is in use - [" in refused.json()["message"]

    deleted_domain = await dokploy.do("domain.delete", domainId=domain["domainId"])
    assert deleted_domain["domainId"] == domain["domainId"]
    assert await dokploy.read("domain.byApplicationId", applicationId=key) == []
    deleted = await dokploy.do("application.delete", applicationId=key)
    # At once: before long Docker lets go of the volume.
    refused = await dokploy.post("dockerVolume.removeVolume", volumeName=volume)
    assert refused.status_code == 500
    assert deleted["appName"] == app_name
    assert (await dokploy.get("application.one", applicationId=key)).status_code == 404
    assert (await dokploy.post("application.delete", applicationId=key)).status_code == 404
    assert await dokploy.read("docker.getServiceContainersByAppName", appName=app_name) == []

    async def removed():
        response = await dokploy.post("dockerVolume.removeVolume", volumeName=volume)
        return response if response.status_code == 200 else None

    assert (await dokploy.until(removed)).content == b""
    refused = await dokploy.post("dockerVolume.removeVolume", volumeName=volume)
    assert (refused.status_code, refused.json()["message"].strip().endswith("no such volume")) == (500, True)
    assert await dokploy.read("docker.getContainersByAppNameMatch", appName=app_name) == []

    assert (await dokploy.do("project.remove", projectId=project["projectId"]))["projectId"] == project["projectId"]
    assert (await dokploy.post("project.remove", projectId=project["projectId"])).status_code == 404


async def test_everything_is_found_by_its_marker(dokploy) -> None:
    marker = f"asd:contract:{dokploy.run}"
    project, environment = await dokploy.project(description=marker)
    application = await dokploy.application(environment["environmentId"], description=marker)

    found = await dokploy.read("project.search", q=marker)
    assert found["total"] == 1
    assert_shape(found["items"][0], PROJECT)
    assert found["items"][0]["projectId"] == project["projectId"]
    found = await dokploy.read("application.search", q=marker)
    assert [row["applicationId"] for row in found["items"]] == [application["applicationId"]]
    # A part is enough, as the stack's id that every form of its marker has.
    found = await dokploy.read("project.search", q=marker[-20:])
    assert [row["projectId"] for row in found["items"]] == [project["projectId"]]
    found = await dokploy.read("application.search", description=marker[-20:])
    assert [row["applicationId"] for row in found["items"]] == [application["applicationId"]]
    found = await dokploy.read("application.search", environmentId=environment["environmentId"], limit=1)
    assert (len(found["items"]), found["total"]) == (1, 1)
    assert (await dokploy.read("application.search", appName=f"{dokploy.run[:-1]}%"))["total"] == 1
    listed = next(p for p in await dokploy.read("project.all") if p["projectId"] == project["projectId"])
    assert listed["environments"][0]["applications"] == [
        {
            "applicationId": application["applicationId"],
            "name": application["name"],
            "applicationStatus": "idle",
        }
    ]
    one = await dokploy.read("project.one", projectId=project["projectId"])
    assert one["environments"][0]["applications"][0]["appName"] == application["appName"]


async def test_nothing_is_unique(dokploy) -> None:
    project, environment = await dokploy.project()
    again, _ = await dokploy.project()
    assert project["name"] == again["name"]
    first = await dokploy.application(environment["environmentId"])
    second = await dokploy.application(environment["environmentId"])
    assert first["appName"] != second["appName"]
    host = f"{dokploy.run}.example.test"
    for key in (first["applicationId"], first["applicationId"], second["applicationId"]):
        await dokploy.do("domain.create", host=host, applicationId=key)
        mount = {"type": "volume", "volumeName": f"{dokploy.run}-never", "mountPath": "/data"}
        await dokploy.do("mounts.create", serviceId=key, serviceType="application", **mount)
    domains = await dokploy.read("domain.byApplicationId", applicationId=first["applicationId"])
    assert [(row["host"], row["port"]) for row in domains] == [(host, 3000), (host, 3000)]
    assert domains[0]["application"]["appName"] == first["appName"]
    mounts = await dokploy.read("mounts.listByServiceId", serviceType="application", serviceId=first["applicationId"])
    assert len(mounts) == 2
    removed = await dokploy.do("mounts.remove", mountId=mounts[0]["mountId"])
    assert removed["mountId"] == mounts[0]["mountId"]
    listed = await dokploy.read("project.all")
    newest_first = [p["projectId"] for p in listed if p["projectId"] in dokploy.project_ids]
    assert newest_first == [again["projectId"], project["projectId"]]


async def test_a_mount_without_a_service_type_belongs_to_nothing(dokploy) -> None:
    key = (await dokploy.application())["applicationId"]
    mount = await dokploy.do("mounts.create", type="volume", volumeName="v", mountPath="/v", serviceId=key)
    assert mount["applicationId"] is None
    assert await dokploy.read("mounts.listByServiceId", serviceType="application", serviceId=key) == []
    await dokploy.do("mounts.remove", mountId=mount["mountId"])


async def test_a_domain_changes(dokploy) -> None:
    application = await dokploy.application()
    key, host = application["applicationId"], f"{dokploy.run}.example.test"
    domain = await dokploy.do(
        "domain.create", host=host, applicationId=key, https=True, certificateType="letsencrypt", port=8080
    )
    routes = await dokploy.read("application.readTraefikConfig", applicationId=key)
    assert "certResolver: letsencrypt" in routes
    assert "redirect-to-https" in routes
    changed = await dokploy.do("domain.update", domainId=domain["domainId"], host=host, port=8081)
    assert (changed["port"], changed["https"]) == (8081, True)
    assert ":8081" in await dokploy.read("application.readTraefikConfig", applicationId=key)
    assert (await dokploy.read("domain.one", domainId=domain["domainId"]))["port"] == 8081
    checked = await dokploy.do("domain.validateDomain", domain=host)
    assert checked["isValid"] is False
    assert isinstance(checked["error"], str)


async def test_an_environment_is_made_found_and_removed(dokploy) -> None:
    project, default = await dokploy.project()
    made = await dokploy.do("environment.create", projectId=project["projectId"], name="staging", description="s")
    assert_shape(made, ENVIRONMENT)
    assert made["isDefault"] is False
    rows = await dokploy.read("environment.byProjectId", projectId=project["projectId"])
    assert {row["name"] for row in rows} == {"production", "staging"}
    assert (await dokploy.read("environment.one", environmentId=made["environmentId"]))["name"] == "staging"
    application = await dokploy.application(made["environmentId"])
    refused = await dokploy.post("environment.remove", environmentId=made["environmentId"])
    assert (refused.status_code, "active services" in refused.json()["message"]) == (400, True)
    await dokploy.do("application.delete", applicationId=application["applicationId"])
    await dokploy.do("environment.remove", environmentId=made["environmentId"])
    refused = await dokploy.post("environment.remove", environmentId=default["environmentId"])
    assert (refused.status_code, refused.json()["message"]) == (400, "You cannot delete the default environment")
    changed = await dokploy.do("project.update", projectId=project["projectId"], name=f"{dokploy.run}-renamed")
    assert changed["name"] == f"{dokploy.run}-renamed"
