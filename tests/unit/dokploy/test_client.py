"""What the client sends, call by call, and how it reads what comes back; a transport stands in for the wire."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.dokploy import ApplicationUpdate, DokployClient, DokployError, DokployUnreadable
from app.sandbox.registry import PROCEDURES

pytestmark = pytest.mark.anyio

CREATED = "2025-01-02T03:04:05Z"
PROJECT = {"projectId": "p", "name": "ada", "description": "m", "createdAt": CREATED}
APPLICATION = {
    "applicationId": "a",
    "name": "ada",
    "appName": "ada-x1",
    "description": "m",
    "environmentId": "e",
    "createdAt": CREATED,
}
ENVIRONMENT = {"environmentId": "e", "name": "production", "isDefault": True}
DOMAIN = {"domainId": "d", "host": "ada.example", "createdAt": CREATED}
MOUNT = {"mountId": "m", "volumeName": "v", "mountPath": "/workspace"}
UPDATE = ApplicationUpdate(docker_image="x", env="A=1", memory_limit="1", cpu_limit="1")

Call = Callable[[DokployClient], Any]

# Each method: how it is called, what goes out, and what Dokploy answers.
READS: dict[str, tuple[Call, str, dict[str, str], Any]] = {
    "list_projects": (lambda c: c.list_projects(), "project.all", {}, [PROJECT]),
    "search_projects": (
        lambda c: c.search_projects("asd:x y"),
        "project.search",
        {"q": "asd:x y"},
        {"items": [PROJECT], "total": 1},
    ),
    "read_project": (
        lambda c: c.read_project("p"),
        "project.one",
        {"projectId": "p"},
        {"projectId": "p", "environments": [ENVIRONMENT]},
    ),
    "search_applications": (
        lambda c: c.search_applications("asd:x"),
        "application.search",
        {"description": "asd:x", "limit": "100", "offset": "0"},
        {"items": [APPLICATION], "total": 1},
    ),
    "list_mounts": (
        lambda c: c.list_mounts("a"),
        "mounts.listByServiceId",
        {"serviceId": "a", "serviceType": "application"},
        [MOUNT],
    ),
    "list_domains": (lambda c: c.list_domains("a"), "domain.byApplicationId", {"applicationId": "a"}, [DOMAIN]),
    "list_deployments": (lambda c: c.list_deployments("a"), "deployment.all", {"applicationId": "a"}, []),
    "list_queue": (lambda c: c.list_queue(), "deployment.queueList", {}, []),
    "read_deployment_log": (
        lambda c: c.read_deployment_log("d", 20),
        "deployment.readLogs",
        {"deploymentId": "d", "tail": "20"},
        "one\ntwo\n",
    ),
    "list_tasks": (lambda c: c.list_tasks("ada-x1"), "docker.getServiceContainersByAppName", {"appName": "ada-x1"}, []),
    "list_containers": (
        lambda c: c.list_containers("ada-x1"),
        "docker.getContainersByAppNameMatch",
        {"appName": "ada-x1"},
        [],
    ),
    "list_volumes": (lambda c: c.list_volumes(), "dockerVolume.getVolumes", {}, [{"Name": "v"}]),
    "version": (lambda c: c.version(), "settings.getDokployVersion", {}, "v0.30.2"),
    "openapi_document": (lambda c: c.openapi_document(), "settings.getOpenApiDocument", {}, {"openapi": "3.1.0"}),
}
WRITES: dict[str, tuple[Call, str, dict[str, Any], Any]] = {
    "create_project": (
        lambda c: c.create_project("ada", "m"),
        "project.create",
        {"name": "ada", "description": "m"},
        {"project": PROJECT, "environment": ENVIRONMENT},
    ),
    "remove_project": (lambda c: c.remove_project("p"), "project.remove", {"projectId": "p"}, PROJECT),
    "create_application": (
        lambda c: c.create_application("ada", "e", "m", "ada"),
        "application.create",
        {"name": "ada", "environmentId": "e", "description": "m", "appName": "ada"},
        APPLICATION,
    ),
    "update_application": (
        lambda c: c.update_application("a", UPDATE),
        "application.update",
        {"applicationId": "a", **UPDATE.model_dump(by_alias=True)},
        True,
    ),
    "delete_application": (lambda c: c.delete_application("a"), "application.delete", {"applicationId": "a"}, {}),
    "deploy_application": (
        lambda c: c.deploy_application("a", "title", "words"),
        "application.deploy",
        {"applicationId": "a", "title": "title", "description": "words"},
        None,
    ),
    "clean_queue": (lambda c: c.clean_queue("a"), "application.cleanQueues", {"applicationId": "a"}, None),
    "create_volume_mount": (
        lambda c: c.create_volume_mount("a", "v", "/workspace"),
        "mounts.create",
        {
            "type": "volume",
            "volumeName": "v",
            "mountPath": "/workspace",
            "serviceId": "a",
            "serviceType": "application",
        },
        MOUNT,
    ),
    "remove_mount": (lambda c: c.remove_mount("m"), "mounts.remove", {"mountId": "m"}, MOUNT),
    "create_domain": (
        lambda c: c.create_domain("a", "ada.example", 8080, https=True, certificate_type="custom", resolver="dns"),
        "domain.create",
        {
            "host": "ada.example",
            "applicationId": "a",
            "domainType": "application",
            "port": 8080,
            "https": True,
            "certificateType": "custom",
            "path": "/",
            "customCertResolver": "dns",
        },
        DOMAIN,
    ),
    "delete_domain": (lambda c: c.delete_domain("d"), "domain.delete", {"domainId": "d"}, DOMAIN),
    "remove_volume": (lambda c: c.remove_volume("v"), "dockerVolume.removeVolume", {"volumeName": "v"}, None),
}


class Wire:
    """A transport that keeps what was sent and answers one thing."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        self.requests: list[httpx.Request] = []
        self.content = b"" if answer is None else json.dumps(answer).encode()
        self.status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, stream=httpx.ByteStream(self.content))

    def client(self) -> DokployClient:
        return DokployClient("http://dokploy:3000/", "the-key", transport=httpx.MockTransport(self))


def test_every_method_is_here():
    methods = {
        name
        for name, method in inspect.getmembers(DokployClient, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "close"
    }
    assert methods == READS.keys() | WRITES.keys()


@pytest.mark.parametrize("method", READS)
async def test_each_read_sends_one_get_with_its_parameters(method: str):
    call, name, params, answer = READS[method]
    wire = Wire(answer)
    async with wire.client() as client:
        result = await call(client)

    (request,) = wire.requests
    assert (request.method, request.url.path) == ("GET", f"/api/{name}")
    assert dict(request.url.params) == params
    assert request.headers["x-api-key"] == "the-key"
    assert request.content == b""
    assert bool(result) == bool(answer)
    assert PROCEDURES[name].is_query


@pytest.mark.parametrize("method", WRITES)
async def test_each_write_sends_one_post_with_its_body(method: str):
    call, name, body, answer = WRITES[method]
    wire = Wire(answer)
    async with wire.client() as client:
        await call(client)

    (request,) = wire.requests
    assert (request.method, request.url.path, request.url.query) == ("POST", f"/api/{name}", b"")
    assert json.loads(request.content) == body
    assert request.headers["content-type"] == "application/json"
    assert not PROCEDURES[name].is_query


@pytest.mark.parametrize("method", ["create_project", "create_application", "create_volume_mount", "create_domain"])
async def test_a_create_without_an_id_in_its_answer_is_uncertain(method: str):
    call, name, _, _ = WRITES[method]
    wire = Wire(None)
    async with wire.client() as client:
        with pytest.raises(DokployUnreadable) as failed:
            await call(client)
    assert failed.value.uncertain
    assert failed.value.call == name
    assert len(wire.requests) == 1


async def test_what_is_not_given_is_not_sent():
    wire = Wire(APPLICATION)
    async with wire.client() as client:
        await client.create_application("ada", "e", "m")
    assert "appName" not in json.loads(wire.requests[0].content)
    wire = Wire(DOMAIN)
    async with wire.client() as client:
        await client.create_domain("a", "h", 80, https=False, certificate_type="none", resolver=None)
    assert "customCertResolver" not in json.loads(wire.requests[0].content)


@pytest.mark.parametrize(
    ("message", "removed"),
    [
        ("Error response from daemon: remove v: volume is in use - [abc]", False),
        ("Error response from daemon: get v: no such volume", True),
    ],
)
async def test_a_volume_that_is_in_use_or_gone(message: str, removed: bool):
    wire = Wire({"message": f"Command execution failed: {message}", "code": "INTERNAL_SERVER_ERROR"}, 500)
    async with wire.client() as client:
        assert await client.remove_volume("v") is removed


async def test_a_version_is_short_and_a_log_is_lines():
    async with Wire("v" * 1000).client() as client:
        assert len(await client.version()) == 50
    async with Wire("one\ntwo\n").client() as client:
        assert await client.read_deployment_log("d") == ["one", "two"]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Failed query: insert into x\nparams: secret,values", "Failed query: insert into x"),
        ("key the-key is bad, the-key!", "key [masked] is bad, [masked]!"),
        ("x" * 2000, "x" * 500),
    ],
)
async def test_what_is_told_of_dokploys_words(message: str, shown: str):
    async with Wire({"message": message, "code": "BAD_REQUEST"}, 400).client() as client:
        with pytest.raises(DokployError) as failed:
            await client.delete_domain("d")
    assert failed.value.message == shown


async def test_what_was_sent_in_secret_fields_is_masked_also_without_its_quotes():
    update = UPDATE.model_copy(
        update={"env": "A='one secret'\nB=\"two secret\"\nC=x", "password": "three secret", "username": "robot"}
    )
    words = "one secret, two secret, three secret, robot, x"
    async with Wire({"message": words, "code": "BAD_REQUEST"}, 400).client() as client:
        with pytest.raises(DokployError) as failed:
            await client.update_application("a", update)
    assert failed.value.message == "[masked], [masked], [masked], [masked], x"
