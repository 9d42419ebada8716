"""The client: one method a call, and one place through which every call goes."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import stamina
from pydantic import TypeAdapter, ValidationError

from app.dokploy.errors import (
    DokployBadRequest,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.dokploy.models import (
    Application,
    ApplicationUpdate,
    Container,
    CreatedProject,
    DokployDeployment,
    Domain,
    FoundApplications,
    FoundProjects,
    Mount,
    Project,
    ProjectContents,
    QueueJob,
    Task,
    Volume,
)

T = TypeVar("T")

# More than any answer that is read, and little enough to hold many of.
MAX_ANSWER_BYTES: Final = 16 * 2**20
# Fields of our own requests that must never come back in a message.
_SECRET_FIELDS: Final = ("password", "env", "username")
_MESSAGE_LENGTH: Final = 500
# Nothing was sent yet, so nothing can have happened.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_TRANSIENT: Final = (DokployUnreachable, DokployTimeout, DokployServerError, DokployDatabaseDown)

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class DokployClient:
    """Speaks to one Dokploy server.

    Every call passes `_call`, which adds the key, keeps the deadline, bounds how many calls are under way, maps
    failures to the tree of `app.dokploy.errors` and masks secrets. Reads that fail for a passing reason are tried
    three times; a call that changes something is made once, because nothing over there is idempotent: look it up.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
        wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """`base_url` without `/api`; `timeout` in seconds for one call, waiting for its turn not counted.

        For tests, `transport` takes the network's place, and `wrap` is put around whatever transport there is.
        """
        self.timeout = timeout
        self._token = token
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "x-api-key": token,
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "ai-stack-deployer",
        }
        # One connection a slot, and as many slots as calls may be under way; the one used last is used next. A pool of
        # httpx looks at each of its connections for every call: with 32 of them a third of the processor time.
        self._slots: asyncio.LifoQueue[httpx.AsyncBaseTransport] = asyncio.LifoQueue()
        verify = httpx.create_ssl_context()  # once: reading the certificates takes 20 ms
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
        for _ in range(max_concurrency):
            slot = transport or httpx.AsyncHTTPTransport(verify=verify, limits=one, trust_env=False)
            self._slots.put_nowait(wrap(slot) if wrap else slot)
        self.reachable: bool | None = None
        self.last_answer: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        while not self._slots.empty():
            await self._slots.get_nowait().aclose()

    # Projects

    async def create_project(self, name: str, description: str) -> CreatedProject:
        """project.create: a project with its default environment."""
        return await self._write("project.create", CreatedProject, name=name, description=description)

    async def list_projects(self) -> list[Project]:
        """project.all: every project, newest first."""
        return await self._read("project.all", list[Project])

    async def search_projects(self, text: str) -> list[Project]:
        """project.search: projects whose name or description contains the text, newest first."""
        return (await self._read("project.search", FoundProjects, q=text)).items

    async def read_project(self, project_id: str) -> ProjectContents:
        """project.one: a project with everything in it."""
        return await self._read("project.one", ProjectContents, projectId=project_id)

    async def remove_project(self, project_id: str) -> None:
        """project.remove: database rows only. An application inside it would go on running unseen: delete it first."""
        await self._write("project.remove", None, projectId=project_id)

    # Applications

    async def create_application(
        self, name: str, environment_id: str, description: str, app_name: str | None = None
    ) -> Application:
        """application.create; Dokploy adds six random characters to `app_name`."""
        more = {"appName": app_name} if app_name else {}
        return await self._write(
            "application.create",
            Application,
            name=name,
            environmentId=environment_id,
            description=description,
            **more,
        )

    async def search_applications(self, description: str) -> list[Application]:
        """application.search: applications whose description contains the text, newest first, at most 100."""
        found = await self._read("application.search", FoundApplications, description=description, limit="100")
        return found.items

    async def update_application(self, application_id: str, update: ApplicationUpdate) -> None:
        """application.update: image, credentials, variables and limits in one call."""
        fields = update.model_dump(by_alias=True)
        await self._write("application.update", None, applicationId=application_id, **fields)

    async def delete_application(self, application_id: str) -> None:
        """application.delete: the row, the service and the routes; never the volume. Errors of Docker are not told."""
        await self._write("application.delete", None, applicationId=application_id)

    async def deploy_application(self, application_id: str, title: str, description: str) -> None:
        """application.deploy: puts a job into Dokploy's queue. Answers nothing; the title finds it again."""
        await self._write(
            "application.deploy", None, applicationId=application_id, title=title, description=description
        )

    async def clean_queue(self, application_id: str) -> None:
        """application.cleanQueues: takes the application's waiting jobs out of the queue."""
        await self._write("application.cleanQueues", None, applicationId=application_id)

    # What belongs to an application

    async def create_volume_mount(self, application_id: str, volume: str, path: str) -> Mount:
        """mounts.create: a named volume at a path; takes effect at the next deployment."""
        return await self._write(
            "mounts.create",
            Mount,
            type="volume",
            volumeName=volume,
            mountPath=path,
            serviceId=application_id,
            serviceType="application",
        )

    async def list_mounts(self, application_id: str) -> list[Mount]:
        """mounts.listByServiceId."""
        return await self._read(
            "mounts.listByServiceId", list[Mount], serviceId=application_id, serviceType="application"
        )

    async def remove_mount(self, mount_id: str) -> None:
        """mounts.remove; the volume stays."""
        await self._write("mounts.remove", None, mountId=mount_id)

    async def create_domain(
        self, application_id: str, host: str, port: int, *, https: bool, certificate_type: str, resolver: str | None
    ) -> Domain:
        """domain.create: a route from the host to the port; live at once."""
        more = {"customCertResolver": resolver} if resolver else {}
        return await self._write(
            "domain.create",
            Domain,
            host=host,
            applicationId=application_id,
            domainType="application",
            port=port,
            https=https,
            certificateType=certificate_type,
            path="/",
            **more,
        )

    async def list_domains(self, application_id: str) -> list[Domain]:
        """domain.byApplicationId; an unknown application has none."""
        return await self._read("domain.byApplicationId", list[Domain], applicationId=application_id)

    async def delete_domain(self, domain_id: str) -> None:
        """domain.delete: the route is gone at once."""
        await self._write("domain.delete", None, domainId=domain_id)

    # Deployments and containers

    async def list_deployments(self, application_id: str) -> list[DokployDeployment]:
        """deployment.all: the last ten or so, newest first; an unknown application has none."""
        return await self._read("deployment.all", list[DokployDeployment], applicationId=application_id)

    async def list_queue(self) -> list[QueueJob]:
        """deployment.queueList: every job of the server that waits or runs."""
        return await self._read("deployment.queueList", list[QueueJob])

    async def read_deployment_log(self, deployment_id: str, lines: int = 1000) -> list[str]:
        """deployment.readLogs: the last lines."""
        text = await self._read("deployment.readLogs", str, deploymentId=deployment_id, tail=str(lines))
        return text.splitlines()

    async def list_tasks(self, app_name: str) -> list[Task]:
        """docker.getServiceContainersByAppName: newest first; empty also when Docker cannot be reached."""
        return await self._read("docker.getServiceContainersByAppName", list[Task], appName=app_name)

    async def list_containers(self, app_name: str) -> list[Container]:
        """docker.getContainersByAppNameMatch; empty also when Docker cannot be reached."""
        return await self._read("docker.getContainersByAppNameMatch", list[Container], appName=app_name)

    async def list_volumes(self) -> list[Volume]:
        """dockerVolume.getVolumes."""
        return await self._read("dockerVolume.getVolumes", list[Volume])

    async def remove_volume(self, name: str) -> bool:
        """dockerVolume.removeVolume. False while the volume is in use; a volume that is not there counts as removed."""
        try:
            await self._write("dockerVolume.removeVolume", None, volumeName=name)
        except DokployServerError as error:
            if "no such volume" in error.message:
                return True
            if "volume is in use" in error.message:
                return False
            raise
        return True

    # The server

    async def version(self) -> str:
        """settings.getDokployVersion, such as v0.30.2."""
        return (await self._read("settings.getDokployVersion", str))[:50]

    async def _read(self, call: str, answer: type[T], **params: str) -> T:
        try:
            return self._parse(call, await self._call("GET", call, params=params), answer)
        except _TRANSIENT:
            pass
        # Two more tries, after about 0.1 and 0.4 s.
        async for attempt in stamina.retry_context(on=_TRANSIENT, attempts=2, wait_initial=0.1, wait_jitter=0.3):
            with attempt:
                return self._parse(call, await self._call("GET", call, params=params), answer)
        raise AssertionError("a retry context ends by returning or raising")

    async def _write(self, call: str, answer: type[T] | None, **body: Any) -> T:
        content = await self._call("POST", call, body=body)
        if answer is None:
            # Nothing of it is read, but it must be Dokploy's: a page of a proxy in front is no proof of anything.
            if content:
                self._parse(call, content, object)
            return None  # type: ignore[return-value]
        return self._parse(call, content, answer)

    async def _call(
        self,
        method: str,
        call: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Make one call and return the body of its answer. Raises DokployError; the choke point."""
        changes = method == "POST"
        request = httpx.Request(
            method, f"{self._base_url}/api/{call}", params=params or None, json=body, headers=self._headers
        )
        slot = await self._slots.get()
        try:
            async with asyncio.timeout(self.timeout):
                response = await slot.handle_async_request(request)
                content = await _read_body(response)
        except TimeoutError:
            self.reachable = False
            raise DokployTimeout(call, f"no answer within {self.timeout:g} s", uncertain=changes) from None
        except httpx.HTTPError as error:
            self.reachable = False
            sent = not isinstance(error, _NOT_SENT)
            message = f"{type(error).__name__}: {self._mask(str(error), body)}"
            raise DokployUnreachable(call, message, uncertain=changes and sent) from None
        finally:
            self._slots.put_nowait(slot)
        if content is None:
            raise DokployUnreadable(call, "the answer is too long", status=response.status_code, uncertain=changes)
        if response.status_code == httpx.codes.OK:
            self.reachable, self.last_answer = True, time.time()
            return content
        raise await self._error(call, response, content, body, changes=changes)

    async def _error(
        self, call: str, response: httpx.Response, content: bytes, body: Mapping[str, Any] | None, *, changes: bool
    ) -> DokployError:
        status = response.status_code
        try:
            answer = json.loads(content)
            message, code = str(answer["message"]), answer.get("code")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            message, code = content.decode(errors="replace"), None
            if not message.startswith(("Invalid JSON", "Body exceeded")):  # Dokploy's only two answers in plain text
                message = self._mask(message, body)
                return DokployUnreadable(call, message, status=status, uncertain=changes)
        message = self._mask(message, body)
        if status == httpx.codes.UNAUTHORIZED and code is None:
            return await self._tell_apart(call, message)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return DokployForbidden(call, message, status=status)
        if status == httpx.codes.NOT_FOUND:
            return DokployNotFound(call, message, status=status)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return DokployServerError(call, message, status=status, uncertain=changes)
        return DokployBadRequest(call, message, status=status)

    async def _tell_apart(self, call: str, message: str) -> DokployError:
        """Find out what a bare 401 means: the one call that needs no key and asks Dokploy's database answers 500."""
        request = httpx.Request("GET", f"{self._base_url}/api/trpc/settings.health")
        slot = await self._slots.get()
        try:
            async with asyncio.timeout(self.timeout):
                health = await slot.handle_async_request(request)
                await _read_body(health)
        except (TimeoutError, httpx.HTTPError):
            self.reachable = False
            return DokployUnreachable(call, "401, and then no answer", status=401)
        finally:
            self._slots.put_nowait(slot)
        if health.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return DokployDatabaseDown(call, "401 while its database is down", status=401)
        return DokployKeyRefused(call, message, status=401)

    def _parse(self, call: str, content: bytes, answer: type[T]) -> T:
        if (adapter := _ADAPTERS.get(answer)) is None:
            adapter = _ADAPTERS[answer] = TypeAdapter(answer)
        try:
            parsed: T = adapter.validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DokployUnreadable(call, f"{where}: {first['msg']}", status=200) from None
        return parsed

    def _mask(self, text: str, body: Mapping[str, Any] | None) -> str:
        """Take secrets out of Dokploy's words: the key, and whatever we sent in fields that hold secrets."""
        text = re.split(r"\s*params: ", text, maxsplit=1)[0].replace(self._token, "[masked]")
        for field in _SECRET_FIELDS:
            for value in _parts((body or {}).get(field)):
                text = text.replace(value, "[masked]")
        return text[:_MESSAGE_LENGTH]


def _parts(value: Any) -> list[str]:
    """Texts by which a secret could be recognised: the whole of it, and the value of each line `NAME=value`."""
    if not isinstance(value, str) or not value:
        return []
    values = [line.partition("=")[2].strip("\"'`") for line in value.splitlines()]
    return sorted((text for text in [value, *values] if len(text) > 3), key=len, reverse=True)


async def _read_body(response: httpx.Response) -> bytes | None:
    """Read an answer of bounded length; None where it is longer."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return None
            chunks.append(chunk)
    finally:
        await response.aclose()
    return b"".join(chunks)
