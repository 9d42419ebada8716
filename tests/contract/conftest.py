# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""One set of cases, two servers: the emulator always, a real Dokploy with `--real-dokploy`.

Fixtures: `dokploy` (the server under test, with a way to call it and to wait for it; it removes what a test made),
`address` (where it is and with which key), `is_real` (whether it is a real server).

A real server is named by DOKPLOY_URL and DOKPLOY_API_TOKEN. pytest knows an option of this file only when the folder
is named on the command line; `CONTRACT_REAL=1` says the same anywhere. CONTRACT_IMAGE is the image to deploy.
"""

import os
import secrets

import httpx
import pytest

from app.sandbox import SandboxSettings, serve_in_thread
from tests.waiting import WAIT_SECONDS, until


def pytest_addoption(parser):
    parser.addoption("--real-dokploy", action="store_true", help="run the contract against the server at DOKPLOY_URL")


class Dokploy:
    """The server under test."""

    def __init__(self, client: httpx.AsyncClient, *, is_real: bool) -> None:
        self.client = client
        self.is_real = is_real
        self.image = os.environ.get("CONTRACT_IMAGE", "nginx:alpine")
        self.run = f"contract-{secrets.token_hex(4)}"
        self.project_ids: list[str] = []
        self.volumes: list[str] = []

    async def get(self, call: str, **params) -> httpx.Response:
        return await self.client.get(f"/api/{call}", params=params)

    async def post(self, call: str, **body) -> httpx.Response:
        response = await self.client.post(f"/api/{call}", json=body)
        if call == "project.create" and response.status_code == 200:
            self.project_ids.append(response.json()["project"]["projectId"])
        return response

    async def read(self, call: str, **params):
        """Ask, expect 200, and give the JSON."""
        response = await self.get(call, **params)
        assert response.status_code == 200, response.text
        return response.json()

    async def do(self, call: str, **body):
        """Do, expect 200, and give the JSON, or None for the empty bodies."""
        response = await self.post(call, **body)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/json")
        return response.json() if response.content else None

    async def project(self, **given):
        """Make a project of this run; gives it and its environment."""
        made = await self.do("project.create", **{"name": f"{self.run}-project", **given})
        return made["project"], made["environment"]

    async def application(self, environment_id: str | None = None, **given):
        """Make an application of this run, in a project of its own when no environment is named."""
        if environment_id is None:
            environment_id = (await self.project())[1]["environmentId"]
        row = {"name": f"{self.run}-app", "appName": self.run, "environmentId": environment_id, **given}
        return await self.do("application.create", **row)

    async def runnable(self, **settings):
        """Make an application that can be deployed."""
        application = await self.application()
        settings = {"sourceType": "docker", "dockerImage": self.image, **settings}
        assert await self.do("application.update", applicationId=application["applicationId"], **settings) is True
        return application

    async def ended(self, application_id: str, title: str):
        """Wait for the deployment of that title to be over, and give its row."""

        async def over():
            rows = await self.read("deployment.all", applicationId=application_id)
            return next((row for row in rows if row["title"] == title and row["status"] != "running"), None)

        return await self.until(over)

    async def deployed(self, application_id: str, title: str = "contract"):
        """Deploy, and wait for the end."""
        await self.do("application.deploy", applicationId=application_id, title=title)
        return await self.ended(application_id, title)

    async def until(self, check):
        """Ask again until the answer is true, and give it."""
        return await until(check, pause=0.5 if self.is_real else 0.01)

    async def hold(self) -> None:
        """Have the emulator keep the next deployment at work until `release`. Nothing holds a real server."""
        if not self.is_real:
            (await self.client.post("/sandbox/faults", json={"kind": "stuck"})).raise_for_status()

    async def release(self) -> None:
        """Let the emulator finish what it holds, as soon as it holds it."""
        if not self.is_real:

            async def holds():
                return (await self.client.get("/sandbox/state")).json()["held"]

            await until(holds)
            (await self.client.post("/sandbox/release")).raise_for_status()

    async def clean_up(self) -> None:
        for project_id in self.project_ids:
            response = await self.get("project.one", projectId=project_id)
            if response.status_code != 200:
                continue
            rows = [row for env in response.json()["environments"] for row in env["applications"]]
            for row in rows:
                await self.post("application.cleanQueues", applicationId=row["applicationId"])

                async def idle(key=row["applicationId"]):
                    queue = await self.read("deployment.queueList")
                    return not any(job["data"].get("applicationId") == key for job in queue)

                await self.until(idle)
                await self.post("application.delete", applicationId=row["applicationId"])
            await self.post("project.remove", projectId=project_id)
        for volume in self.volumes:

            async def gone(name=volume):
                response = await self.post("dockerVolume.removeVolume", volumeName=name)
                return response.status_code == 200 or "no such volume" in response.text

            await self.until(gone)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def is_real(request) -> bool:
    wanted = request.config.getoption("--real-dokploy", default=False)
    return bool(wanted) or os.environ.get("CONTRACT_REAL") == "1"


@pytest.fixture(scope="session")
def address(is_real):
    if is_real:
        yield os.environ["DOKPLOY_URL"].rstrip("/"), os.environ["DOKPLOY_API_TOKEN"]
        return
    settings = SandboxSettings(DEPLOY_SECONDS=0.1, START_SECONDS=0.05, VOLUME_RELEASE_SECONDS=1)
    with serve_in_thread(settings) as url:
        yield url, settings.API_TOKEN.get_secret_value()


@pytest.fixture
async def dokploy(address, is_real, anyio_backend):
    url, key = address
    async with httpx.AsyncClient(
        base_url=url, headers={"x-api-key": key}, timeout=WAIT_SECONDS, trust_env=False
    ) as client:
        server = Dokploy(client, is_real=is_real)
        yield server
        await server.clean_up()
