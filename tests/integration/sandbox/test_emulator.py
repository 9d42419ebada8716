# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The emulator over real sockets: faults, the ingress, restarts and keys."""

import time

import anyio
import httpx
import pytest

from app.sandbox import SandboxSettings, serve_in_thread
from tests.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.anyio

NAME = "amir.localhost"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def url():
    with serve_in_thread(SandboxSettings(DEPLOY_SECONDS=0.1, START_SECONDS=0.1)) as address:
        yield address


@pytest.fixture
async def client(url, anyio_backend):
    headers = {"x-api-key": "sandbox-token"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=WAIT_SECONDS, trust_env=False, verify=False
    ) as client:
        await client.post("/sandbox/reset")
        yield client
        await client.post("/sandbox/reset")


async def do(client, call, **body):
    response = await client.post(f"/api/{call}", json=body)
    assert response.status_code == 200, response.text
    return response.json() if response.content else None


async def fault(client, **given) -> None:
    response = await client.post("/sandbox/faults", json=given)
    assert response.status_code == 201, response.text


async def names(client) -> list[str]:
    return [project["name"] for project in (await client.get("/sandbox/state")).json()["projects"]]


async def application(client, **settings):
    environment_id = (await do(client, "project.create", name="p"))["environment"]["environmentId"]
    row = await do(client, "application.create", name="amir", environmentId=environment_id)
    settings = {"sourceType": "docker", "dockerImage": "nginx", **settings}
    await do(client, "application.update", applicationId=row["applicationId"], **settings)
    await do(client, "domain.create", applicationId=row["applicationId"], host=NAME)
    return row


async def visit(client, status: int, auth=None, host=NAME):
    """Visit a stack until it answers so."""

    async def answered():
        response = await client.get("/", headers={"host": f"{host}:3001"}, auth=auth)
        return response if response.status_code == status else None

    return await until(answered)


async def deployments(client, row):
    return (await client.get("/api/deployment.all", params={"applicationId": row["applicationId"]})).json()


# Faults


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"message": "Unauthorized"}),
        (500, {"code": "INTERNAL_SERVER_ERROR"}),
        (503, {"code": "SERVICE_UNAVAILABLE"}),
        (409, {"code": "CONFLICT"}),
    ],
)
async def test_a_status_is_answered_and_nothing_is_done(client, status, body) -> None:
    await fault(client, call="project.create", kind="status", status=status)
    response = await client.post("/api/project.create", json={"name": "x"})
    assert response.status_code == status
    assert body.items() <= response.json().items()
    assert await names(client) == []
    await do(client, "project.create", name="y")
    assert await names(client) == ["y"]


async def test_a_page_is_answered_and_nothing_is_done(client) -> None:
    await fault(client, call="project.all", kind="html")
    response = await client.get("/api/project.all")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_hang_has_no_effect(client) -> None:
    await fault(client, call="project.create", kind="hang")
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/api/project.create", json={"name": "x"}, timeout=httpx.Timeout(WAIT_SECONDS, read=0.2))
    assert await names(client) == []


async def test_drop_after_has_its_effect(client) -> None:
    await fault(client, call="project.create", kind="drop_after")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/api/project.create", json={"name": "x"})
    assert await names(client) == ["x"]


async def test_error_after_has_its_effect(client) -> None:
    await fault(client, call="project.create", kind="error_after", status=504)
    response = await client.post("/api/project.create", json={"name": "x"})
    assert (response.status_code, await names(client)) == (504, ["x"])


async def test_a_late_call_lands_after_its_connection_is_closed(client) -> None:
    await fault(client, call="project.create", kind="late", seconds=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/api/project.create", json={"name": "x"})
    state = (await client.get("/sandbox/state")).json()
    assert (state["late"], state["projects"]) == (1, [])

    async def landed():
        return await names(client)

    assert await until(landed) == ["x"]
    assert (await client.get("/sandbox/state")).json()["late"] == 0


async def test_a_slow_call_is_answered_later(client) -> None:
    await fault(client, call="project.create", kind="slow", seconds=0.2)
    began = time.monotonic()
    await do(client, "project.create", name="x")
    assert time.monotonic() - began >= 0.2


async def test_a_fault_strikes_only_what_matches(client) -> None:
    await fault(client, call="project.create", kind="status", match="amir")
    await do(client, "project.create", name="sara")
    assert (await client.post("/api/project.create", json={"name": "amir"})).status_code == 500


async def test_without_its_database_every_call_with_a_key_is_a_bare_401(client) -> None:
    await fault(client, kind="database_down")
    response = await client.get("/api/project.all")
    assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})
    assert (await client.get("/api/trpc/settings.health")).status_code == 500
    assert (await client.get("/api/health")).status_code == 200
    assert (await client.delete("/sandbox/faults")).json() == {"cleared": 1}
    assert (await client.get("/api/project.all")).status_code == 200


async def test_volume_in_use(client) -> None:
    row = await application(client)
    volume = {"type": "volume", "volumeName": "v", "mountPath": "/v", "serviceType": "application"}
    await do(client, "mounts.create", serviceId=row["applicationId"], **volume)
    await do(client, "application.deploy", applicationId=row["applicationId"])
    await visit(client, 200)
    await do(client, "application.delete", applicationId=row["applicationId"])
    await fault(client, kind="volume_in_use", times=-1)
    response = await client.post("/api/dockerVolume.removeVolume", json={"volumeName": "v"})
    assert "volume is in use" in response.json()["message"]


async def test_keep_route_and_service(client) -> None:
    row = await application(client)
    await do(client, "application.deploy", applicationId=row["applicationId"])
    await visit(client, 200)
    await fault(client, kind="keep_route", call="application.delete")
    await fault(client, kind="keep_service")
    await do(client, "application.delete", applicationId=row["applicationId"])
    await visit(client, 200)
    state = (await client.get("/sandbox/state")).json()
    assert (len(state["services"]), len(state["routes"]), state["domains"]) == (1, 1, [])


async def test_another_version_has_other_names_for_calls_and_fields(client) -> None:
    await fault(client, kind="other_version")
    await fault(client, kind="renamed_call", call="domain.create")
    await fault(client, kind="renamed_field", call="project.create", field="name")

    document = (await client.get("/api/settings.getOpenApiDocument")).json()
    assert (await client.get("/api/settings.getDokployVersion")).json() == "v0.31.0"
    assert (await client.post("/api/domain.create", json={"host": NAME})).status_code == 404
    assert "/domain.create" not in document["paths"]
    assert "post" in document["paths"]["/domain.createNew"]
    body = document["paths"]["/project.create"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["nameNew"]
    assert (await client.post("/api/project.create", json={"name": "old"})).status_code == 400
    await do(client, "project.create", nameNew="new")
    await do(client, "domain.createNew", host=NAME)
    assert await names(client) == ["new"]

    await client.delete("/sandbox/faults")
    await do(client, "project.create", name="old")
    assert (await client.get("/sandbox/state")).json()["version"] == "v0.30.2"


async def test_a_refused_fault(client) -> None:
    response = await client.post("/sandbox/faults", json={"kind": "nonsense"})
    assert (response.status_code, "kind" in response.json()["errors"]) == (422, True)
    response = await client.post("/sandbox/faults", content=b"{")
    assert response.status_code == 422
    assert (await client.get("/sandbox/faults")).json() == []


# The ingress


async def test_404_then_502_then_401_then_200(client) -> None:
    response = await visit(client, 404)
    assert (response.text, response.headers["content-type"]) == ("404 page not found\n", "text/plain; charset=utf-8")
    row = await application(client, env="OPENCODE_SERVER_PASSWORD='pa#ss'")
    assert (await visit(client, 502)).text == "Bad Gateway"
    await do(client, "application.deploy", applicationId=row["applicationId"])
    challenge = await visit(client, 401)
    assert challenge.headers["www-authenticate"].startswith("Basic realm=")
    await visit(client, 401, auth=("opencode", "wrong"))
    page = await visit(client, 200, auth=("anyone", "pa#ss"))
    assert "emulated stack <strong>amir</strong>" in page.text
    await do(client, "application.delete", applicationId=row["applicationId"])
    await visit(client, 404)


async def test_a_removed_project_leaves_the_stack_running(client) -> None:
    row = await application(client)
    await do(client, "application.deploy", applicationId=row["applicationId"])
    await visit(client, 200)
    (project,) = (await client.get("/sandbox/state")).json()["projects"]
    await do(client, "project.remove", projectId=project["projectId"])
    await visit(client, 200)


@pytest.mark.parametrize(("kind", "status"), [("never_ready", 502), ("crash", 502), ("open", 200)])
async def test_a_stack_answers_as_its_fault_says(client, kind, status) -> None:
    row = await application(client, env="OPENCODE_SERVER_PASSWORD=x")
    await fault(client, kind=kind)
    await do(client, "application.deploy", applicationId=row["applicationId"])

    async def is_done():
        return [each["status"] for each in await deployments(client, row)] == ["done"]

    await until(is_done)
    await anyio.sleep(0.2)  # longer than a container takes to start, so that one that did would answer otherwise
    await visit(client, status)


async def test_a_gateway_answers_for_its_host_alone(client) -> None:
    await application(client)
    await fault(client, kind="gateway", host=NAME, status=504)
    await visit(client, 404, host="other.localhost")
    await visit(client, 504)
    await visit(client, 502)
    await fault(client, kind="gateway", status=504)
    await visit(client, 404, host="other.localhost")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "emulator", "10.0.0.7"])
async def test_the_api_has_its_own_names(client, host) -> None:
    response = await client.get("/api/health", headers={"host": f"{host}:3001"})
    assert response.json() == {"ok": True}
    assert "Emulated Dokploy" in (await client.get("/", headers={"host": host})).text


# Restart, keys, control


async def test_a_restart_refuses_connections_and_loses_the_queue(client) -> None:
    row = await application(client)
    await fault(client, kind="stuck")
    await do(client, "application.deploy", applicationId=row["applicationId"], title="active")
    await do(client, "application.deploy", applicationId=row["applicationId"], title="queued")
    assert (await client.post("/sandbox/restart", json={"seconds": 0.5})).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/api/project.all")

    async def is_up():
        try:
            return (await client.get("/api/project.all")).is_success
        except httpx.RemoteProtocolError:
            return False

    await until(is_up)
    rows = await deployments(client, row)
    assert [(r["title"], r["status"], r["finishedAt"]) for r in rows] == [("active", "cancelled", None)]
    assert (await client.get("/api/deployment.queueList")).json() == []
    assert (await client.post("/sandbox/restart", json={"seconds": "x"})).status_code == 422


async def test_what_is_stuck_ends_when_it_is_released(client) -> None:
    row = await application(client)
    await fault(client, kind="stuck")
    await do(client, "application.deploy", applicationId=row["applicationId"])
    await anyio.sleep(0.2)  # longer than it would take
    assert [each["status"] for each in await deployments(client, row)] == ["running"]

    assert (await client.post("/sandbox/release")).json() == {"released": 1}

    assert [each["status"] for each in await deployments(client, row)] == ["done"]
    assert (await client.post("/sandbox/release")).json() == {"released": 0}


async def test_only_what_a_fault_with_that_match_keeps_is_released(client) -> None:
    row = await application(client)
    for title in ("one", "two"):
        await fault(client, kind="stuck", match=title)
        await do(client, "application.deploy", applicationId=row["applicationId"], title=title)

    # It works on one at a time.
    for match, released, held in (("two", 0, ["one"]), ("one", 1, ["two"]), ("two", 1, [])):
        assert (await client.post("/sandbox/release", json={"match": match})).json() == {"released": released}
        state = (await client.get("/sandbox/state")).json()
        assert state["held"] == [{"call": "application.deploy", "match": each} for each in held]
    assert (await client.post("/sandbox/release", json={"match": 2})).status_code == 422


async def test_a_key_with_default_limits_dies_after_five_calls(client) -> None:
    metadata = {"organizationId": "o"}
    key = (await do(client, "user.createApiKey", name="limited", metadata=metadata))["key"]
    statuses = [(await client.get("/api/project.all", headers={"x-api-key": key})).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [401] * 2
    key = (await do(client, "user.createApiKey", name="free", metadata=metadata, rateLimitEnabled=False))["key"]
    for _ in range(7):
        assert (await client.get("/api/project.all", headers={"x-api-key": key})).status_code == 200
    response = await client.post("/api/user.createApiKey", json={"name": "x", "metadata": metadata, "expiresIn": 10})
    assert response.status_code == 500


async def test_a_limit_of_the_key_accumulates_until_the_window_lies_behind_the_last_accepted_call(client) -> None:
    # As seen: 6 counts in a window, two a call, and calls that come faster than the window.
    await fault(client, kind="rate_limit", times=6, seconds=1)

    async def statuses(count: int) -> list[int]:
        return [(await client.get("/api/project.all")).status_code for _ in range(count)]

    assert await statuses(5) == [200] * 3 + [401] * 2
    refused = await client.get("/api/project.all")
    assert (refused.status_code, refused.json()) == (401, {"message": "Unauthorized"})
    assert (await client.get("/api/trpc/settings.health")).status_code == 200, "that call needs no key"
    await anyio.sleep(1.05)
    assert await statuses(4) == [200] * 3 + [401]
    assert (await client.get("/sandbox/state")).json()["refused"] == 4
    await client.delete("/sandbox/faults")
    assert await statuses(4) == [200] * 4


async def test_state_counts_calls(client) -> None:
    await do(client, "project.create", name="x")
    await client.get("/api/nobody.knows")
    state = (await client.get("/sandbox/state")).json()
    assert state["calls"] == {"project.create": 1}
    assert state["projects"][0]["name"] == "x"
    assert (await client.get("/sandbox/nothing")).status_code == 404


async def test_calls_in_the_native_form_of_trpc_are_answered_in_it(client) -> None:
    made = await client.post("/api/trpc/project.create", json={"json": {"name": "x"}})
    project_id = made.json()["result"]["data"]["json"]["project"]["projectId"]
    read = await client.get("/api/trpc/project.one", params={"input": f'{{"json":{{"projectId":"{project_id}"}}}}'})
    assert read.json()["result"]["data"]["json"]["name"] == "x"
    missing = await client.get("/api/trpc/project.one", params={"input": '{"json":{"projectId":"no"}}'})
    assert (missing.status_code, missing.json()["error"]["json"]["code"]) == (404, -32004)


async def test_a_nul_is_postgres_s_to_refuse(client) -> None:
    response = await client.post("/api/project.create", json={"name": "a\0b"})
    assert (response.status_code, "Failed query" in response.json()["message"]) == (400, True)


async def test_an_application_moves(client) -> None:
    row = await application(client)
    other = (await do(client, "project.create", name="other"))["environment"]["environmentId"]
    await do(client, "application.update", applicationId=row["applicationId"], environmentId=other)
    whole = (await client.get("/api/application.one", params={"applicationId": row["applicationId"]})).json()
    assert whole["environment"]["project"]["name"] == "other"
