# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""One set of cases, two servers: the emulator always, a real Dokploy with `--real-dokploy`.

Fixtures: `dokploy` (the server under test, with a way to call it and to wait for it; it removes what a test made),
`address` (where it is and with which key), `is_real` (whether it is a real server).

A real server is named by DOKPLOY_URL and DOKPLOY_API_TOKEN. pytest knows an option of this file only when the folder
is named on the command line; `CONTRACT_REAL=1` says the same anywhere. CONTRACT_IMAGE is the image to deploy.
"""

import os
import secrets
import time

import anyio
import httpx
import pytest

from app.sandbox import SandboxSettings, serve_in_thread


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

        return await self.until(over, 120 if self.is_real else 30)

    async def deployed(self, application_id: str, title: str = "contract"):
        """Deploy, and wait for the end."""
        await self.do("application.deploy", applicationId=application_id, title=title)
        return await self.ended(application_id, title)

    async def until(self, check, seconds: float = 30):
        """Ask again until the answer is true, and give it."""
        deadline = time.monotonic() + seconds
        while True:
            found = await check()
            if found:
                return found
            assert time.monotonic() < deadline, f"Waited {seconds} s in vain."
            await anyio.sleep(0.5 if self.is_real else 0.01)

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

                await self.until(idle, 60)
                await self.post("application.delete", applicationId=row["applicationId"])
            await self.post("project.remove", projectId=project_id)
        for volume in self.volumes:

            async def gone(name=volume):
                response = await self.post("dockerVolume.removeVolume", volumeName=name)
                return response.status_code == 200 or "no such volume" in response.text

            await self.until(gone, 60)


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
    settings = SandboxSettings(DEPLOY_SECONDS=0.1, START_SECONDS=0.05, VOLUME_RELEASE_SECONDS=0.3)
    with serve_in_thread(settings) as url:
        yield url, settings.API_TOKEN.get_secret_value()


@pytest.fixture
async def dokploy(address, is_real, anyio_backend):
    url, key = address
    async with httpx.AsyncClient(base_url=url, headers={"x-api-key": key}, timeout=60, trust_env=False) as client:
        server = Dokploy(client, is_real=is_real)
        yield server
        await server.clean_up()
