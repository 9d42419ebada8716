# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""What a Dokploy server refuses, and in which words."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.dokploy.compatibility import compare

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

BAD_HOST = (
    "Invalid domain name. Use only letters, numbers, hyphens and dots (e.g. example.com). Underscores are not allowed."
)
NO_STRING = "Invalid input: expected string, received {}"
NONOPTIONAL = "Invalid input: expected nonoptional, received undefined"


@dataclass(frozen=True)
class Refusal:
    """A request that is refused before anything happens."""

    what: str
    call: str
    given: dict[str, Any] = field(default_factory=dict)
    status: int = 400
    code: str = "BAD_REQUEST"
    message: str = "Input validation failed"
    fields: dict[str, list[str]] = field(default_factory=dict)
    """The sentences by field; none for refusals that are not about the input's form."""
    reads: bool = False


def unknown(call: str, thing: str, key: str, *, reads: bool = False, **more) -> Refusal:
    given = {key: "nobody-bears-this-id", **more}
    return Refusal(f"{call} of nothing", call, given, 404, "NOT_FOUND", f"{thing} not found", reads=reads)


REFUSALS = [
    Refusal(
        "an empty name",
        "project.create",
        {"name": ""},
        fields={"name": ["Too small: expected string to have >=1 characters"]},
    ),
    Refusal("no name", "project.create", fields={"name": [NO_STRING.format("undefined")]}),
    Refusal("a number for a name", "project.create", {"name": 5}, fields={"name": [NO_STRING.format("number")]}),
    Refusal(
        "null for an id",
        "application.deploy",
        {"applicationId": None},
        fields={"applicationId": [NO_STRING.format("null")]},
    ),
    Refusal("no id in a query", "project.one", reads=True, fields={"projectId": [NO_STRING.format("undefined")]}),
    Refusal(
        "a blank in an appName",
        "application.create",
        {"name": "n", "environmentId": "e", "appName": "a b"},
        fields={"appName": ["App name can only contain letters, numbers, dots, underscores and hyphens"]},
    ),
    Refusal(
        "an appName of 64 characters",
        "application.create",
        {"name": "n", "environmentId": "e", "appName": "a" * 64},
        fields={"appName": ["Too big: expected string to have <=63 characters"]},
    ),
    Refusal(
        "a provider without its null keys",
        "application.saveDockerProvider",
        {"applicationId": "a", "dockerImage": "i"},
        fields={"username": [NONOPTIONAL], "password": [NONOPTIONAL], "registryUrl": [NONOPTIONAL]},
    ),
    Refusal(
        "an environment without its null keys",
        "application.saveEnvironment",
        {"applicationId": "a", "env": ""},
        fields={"buildArgs": [NONOPTIONAL], "buildSecrets": [NONOPTIONAL], "createEnvFile": [NONOPTIONAL]},
    ),
    Refusal(
        "a reload without an appName", "application.reload", {"applicationId": "a"}, fields={"appName": [NONOPTIONAL]}
    ),
    Refusal(
        "a number for a limit",
        "application.update",
        {"applicationId": "a", "memoryLimit": 5},
        fields={"memoryLimit": [NO_STRING.format("number")]},
    ),
    Refusal(
        "a key too many in a nested object",
        "application.update",
        {"applicationId": "a", "healthCheckSwarm": {"Foo": 1}},
        fields={"healthCheckSwarm": ['Unrecognized key: "Foo"']},
    ),
    *(
        Refusal(f"the host {host[:20]!r}", "domain.create", {"host": host, "port": 80}, fields={"host": [BAD_HOST]})
        for host in ("bad host", "http://x.test", "x.test/p", "*.x.test", "a_b.test", f"{'a' * 300}.test")
    ),
    Refusal("an empty host", "domain.create", {"host": ""}, fields={"host": ["Add a hostname"]}),
    Refusal(
        "a port out of range",
        "domain.create",
        {"host": "x.test", "port": 70000},
        fields={"port": ["Port must be 65535 or below"]},
    ),
    Refusal(
        "a long name for a key",
        "user.createApiKey",
        {"name": "x" * 40, "metadata": {"organizationId": "o"}},
        fields={"name": ["Name must be at most 32 characters"]},
    ),
    Refusal(
        "a key for no organization",
        "user.createApiKey",
        {"name": "x", "metadata": {}},
        fields={"metadata": [NO_STRING.format("undefined")]},
    ),
    Refusal(
        "an update of nothing",
        "application.update",
        {"applicationId": "a"},
        500,
        "INTERNAL_SERVER_ERROR",
        "No values to set",
    ),
    Refusal(
        "an update of an unknown application",
        "application.update",
        {"applicationId": "nobody-bears-this-id", "replicas": 1},
        message="Error updating application",
    ),
    unknown("project.one", "Project", "projectId", reads=True),
    unknown("project.remove", "Project", "projectId"),
    unknown("environment.one", "Environment", "environmentId", reads=True),
    unknown("application.create", "Environment", "environmentId", name="n"),
    unknown("application.one", "Application", "applicationId", reads=True),
    unknown("application.deploy", "Application", "applicationId"),
    unknown("application.delete", "Application", "applicationId"),
    unknown("application.stop", "Application", "applicationId"),
    unknown("domain.delete", "Domain", "domainId"),
    unknown("mounts.remove", "Mount", "mountId"),
    unknown("deployment.readLogs", "Deployment", "deploymentId", reads=True),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.call}: {refusal.what}")
async def test_a_refusal_has_its_status_message_and_code(dokploy, refusal) -> None:
    ask = dokploy.get if refusal.reads else dokploy.post
    response = await ask(refusal.call, **refusal.given)
    assert response.status_code == refusal.status
    body = response.json()
    assert (body["message"], body["code"]) == (refusal.message, refusal.code)
    assert body["data"]["httpStatus"] == refusal.status
    assert body["data"]["path"] == refusal.call
    if refusal.fields:
        assert body["data"]["zodError"] == {"formErrors": [], "fieldErrors": refusal.fields}
        told = [issue["message"] for issue in body["issues"]]
        assert told == [said for sentences in refusal.fields.values() for said in sentences]
    else:
        assert body["data"]["zodError"] is None
        assert "issues" not in body


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("environment.create", {"projectId": "nobody", "name": "n"}),
        ("domain.create", {"applicationId": "nobody", "host": "x.test"}),
        ("mounts.create", {"serviceId": "nobody", "type": "volume", "mountPath": "/", "serviceType": "application"}),
    ],
)
async def test_an_unknown_parent_leaks_sql(dokploy, call, given) -> None:
    response = await dokploy.post(call, **given)
    assert response.status_code == 400
    assert "Failed query: insert into" in response.json()["message"]
    assert response.json()["data"]["zodError"] is None


@pytest.mark.parametrize(
    ("call", "given"), [("deployment.all", "applicationId"), ("domain.byApplicationId", "applicationId")]
)
async def test_an_unknown_application_has_none(dokploy, call, given) -> None:
    assert await dokploy.read(call, **{given: "nobody-bears-this-id"}) == []


async def test_an_unknown_service_has_no_tasks(dokploy) -> None:
    assert await dokploy.read("docker.getServiceContainersByAppName", appName="nobody") == []


async def test_nothing_mounted_is_an_empty_answer(dokploy) -> None:
    application = await dokploy.application()
    response = await dokploy.get("mounts.allNamedByApplicationId", applicationId=application["applicationId"])
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"].startswith("application/json")


async def test_production_is_taken(dokploy) -> None:
    project, _ = await dokploy.project()
    response = await dokploy.post("environment.create", projectId=project["projectId"], name="production")
    assert response.status_code == 400
    assert response.json()["message"] == "You cannot create a environment with the name 'production'"


@pytest.mark.parametrize("headers", [{"x-api-key": "wrong"}, {"x-api-key": ""}, {"authorization": "Bearer wrong"}])
@pytest.mark.parametrize("call", ["project.all", "nobody.knows"])
async def test_a_stranger_gets_a_bare_401(dokploy, headers, call) -> None:
    dokploy.client.headers.pop("x-api-key")
    response = await dokploy.client.get(f"/api/{call}", headers=headers)
    assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GET", "application.deploy"),
        ("POST", "project.all"),
        ("PUT", "project.create"),
        ("DELETE", "project.remove"),
        ("OPTIONS", "project.all"),
        ("GET", "nobody.knows"),
        ("POST", "application.nothing"),
    ],
)
async def test_what_is_not_there(dokploy, method, call) -> None:
    response = await dokploy.client.request(method, f"/api/{call}")
    assert response.status_code == 404
    assert response.json() == {
        "message": "Not found",
        "code": "NOT_FOUND",
        "data": {"code": "NOT_FOUND", "httpStatus": 404, "zodError": None},
    }


async def test_head_of_a_query(dokploy) -> None:
    response = await dokploy.client.head("/api/project.all")
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_another_content_type(dokploy, content_type) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = await dokploy.client.post("/api/application.deploy", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_what_is_no_json(dokploy) -> None:
    headers = {"content-type": "application/json"}
    response = await dokploy.client.post("/api/application.deploy", content=b"{not json", headers=headers)
    assert (response.status_code, response.text) == (400, "Invalid JSON")
    response = await dokploy.client.post("/api/application.deploy", content=b"[1]", headers=headers)
    assert response.json()["data"]["zodError"]["fieldErrors"]["applicationId"] == [NO_STRING.format("undefined")]


async def test_a_body_over_a_megabyte(dokploy) -> None:
    response = await dokploy.post("project.create", name="x", description="x" * 1_100_000)
    assert (response.status_code, response.text) == (413, "Body exceeded 1mb limit")


async def test_health_and_version(dokploy) -> None:
    assert await dokploy.read("settings.health") == {"status": "ok"}
    assert (await dokploy.read("settings.getDokployVersion")).startswith("v0.")
    document = await dokploy.read("settings.getOpenApiDocument")
    assert "post" in next(path for name, path in document["paths"].items() if name.endswith("/application.deploy"))
    dokploy.client.headers.pop("x-api-key")
    assert (await dokploy.client.get("/api/health")).json() == {"ok": True}
    answer = await dokploy.client.get("/api/trpc/settings.health")
    assert answer.json() == {"result": {"data": {"json": {"status": "ok"}}}}
    refused = await dokploy.client.get("/api/trpc/project.all")
    assert (refused.status_code, refused.json()["error"]["json"]["code"]) == (401, -32001)


async def test_the_servers_own_document_has_every_call_of_the_client(dokploy) -> None:
    document = await dokploy.read("settings.getOpenApiDocument")
    assert compare(document) == []
    assert not any("dockerVolume" in path for path in document["paths"]), "they work, and are in no document"


async def test_who_the_key_belongs_to(dokploy) -> None:
    organizations = await dokploy.read("organization.all")
    me = await dokploy.read("user.get")
    assert me["organizationId"] in [organization["id"] for organization in organizations]
    assert isinstance(me["user"]["email"], str)
