"""The Dokploy client: one method a call, each a read, a repeatable change, or a create, which is never repeated."""

import copy
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import httpx
import stamina
from pydantic import TypeAdapter, ValidationError

from app.dokploy.circuit import Circuit
from app.dokploy.connection import Connection
from app.dokploy.errors import (
    DokployDatabaseDown,
    DokployMisfit,
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

_PASSING: Final = (DokployUnreachable, DokployTimeout, DokployServerError, DokployDatabaseDown)

# More of a line of a log nobody reads.
_LONGEST_LINE: Final = 10_000
# As many applications as one answer holds, and as many answers as are read of a server that always has more.
_PAGE: Final = 100
_MOST_PAGES: Final = 100

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class Persistence(Protocol):
    """How a call is made: once, or again until it works. `repeatable`: making it twice does no harm."""

    async def __call__(self, make: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Make the call. Raises DokployError."""
        ...


async def _quickly(make: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
    """Make a call; where that does no harm and the failure may pass, twice more after about 0.1 and 0.4 s."""
    if not repeatable:
        return await make()
    try:
        return await make()
    except _PASSING:
        pass
    async for attempt in stamina.retry_context(on=_PASSING, attempts=2, wait_initial=0.1, wait_jitter=0.3):
        with attempt:
            return await make()
    raise AssertionError("a retry context ends by returning or raising")


class DokployClient:
    """Speaks to one Dokploy server.

    Nothing over there is idempotent, so calls are of three kinds. A read is made again when it fails for a passing
    reason. So is a change that comes to the same when it is made twice: an update, or a removal. A create is made once:
    where its outcome is uncertain (`DokployError.uncertain`) it must be looked up.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        circuit: Circuit | None = None,
        may_write: Callable[[], None] = lambda: None,
        transport: httpx.AsyncBaseTransport | None = None,
        wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """`base_url` without `/api`; `timeout` in seconds for one call, waiting for its turn not counted.

        `may_write` is asked right before each call that changes something is sent, and raises to prevent it. For tests,
        `transport` takes the network's place, and `wrap` is put around whatever transport there is.
        """
        self.connection = Connection(
            base_url,
            token,
            timeout=timeout,
            max_concurrency=max_concurrency,
            circuit=circuit or Circuit(failures=5, seconds=5.0),
            may_write=may_write,
            transport=transport,
            wrap=wrap,
        )
        self._persist: Persistence = _quickly

    def persisting(self, persistence: Persistence) -> Self:
        """Return a client on the same connection that waits for Dokploy in another way."""
        other = copy.copy(self)
        other._persist = persistence  # noqa: SLF001 - of the same class
        return other

    @property
    def timeout(self) -> float:
        """Deadline of one call, in seconds."""
        return self.connection.timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.connection.close()

    # Projects

    async def create_project(self, name: str, description: str) -> CreatedProject:
        """project.create: a project with its default environment."""
        return await self._create("project.create", CreatedProject, name=name, description=description)

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
        await self._change("project.remove", projectId=project_id)

    # Applications

    async def create_application(
        self, name: str, environment_id: str, description: str, app_name: str | None = None
    ) -> Application:
        """application.create; Dokploy adds six random characters to `app_name`."""
        more = {"appName": app_name} if app_name else {}
        return await self._create(
            "application.create",
            Application,
            name=name,
            environmentId=environment_id,
            description=description,
            **more,
        )

    async def search_applications(self, description: str) -> list[Application]:
        """application.search: applications whose description contains the text, newest first; in pages of 100."""
        items: dict[str, Application] = {}
        for _ in range(_MOST_PAGES):
            page = {"description": description, "limit": str(_PAGE), "offset": str(len(items))}
            found = await self._read("application.search", FoundApplications, **page)
            items |= {item.application_id: item for item in found.items}
            if len(found.items) < _PAGE or len(items) >= found.total:
                return list(items.values())
        raise DokployMisfit("application.search", "it does not come to an end", status=200)

    async def update_application(self, application_id: str, update: ApplicationUpdate) -> None:
        """application.update: image, credentials, variables and limits in one call."""
        fields = update.model_dump(by_alias=True)
        await self._change("application.update", applicationId=application_id, **fields)

    async def delete_application(self, application_id: str) -> None:
        """application.delete: the row, the service and the routes; never the volume. Errors of Docker are not told."""
        await self._change("application.delete", applicationId=application_id)

    async def deploy_application(self, application_id: str, title: str, description: str) -> None:
        """application.deploy: puts a job into Dokploy's queue. Answers nothing; the title finds it again."""
        await self._create(
            "application.deploy", None, applicationId=application_id, title=title, description=description
        )

    async def clean_queue(self, application_id: str) -> None:
        """application.cleanQueues: takes the application's waiting jobs out of the queue."""
        await self._change("application.cleanQueues", applicationId=application_id)

    # What belongs to an application

    async def create_volume_mount(self, application_id: str, volume: str, path: str) -> Mount:
        """mounts.create: a named volume at a path; takes effect at the next deployment."""
        return await self._create(
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
        await self._change("mounts.remove", mountId=mount_id)

    async def create_domain(
        self, application_id: str, host: str, port: int, *, https: bool, certificate_type: str, resolver: str | None
    ) -> Domain:
        """domain.create: a route from the host to the port; live at once."""
        more = {"customCertResolver": resolver} if resolver else {}
        return await self._create(
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
        await self._change("domain.delete", domainId=domain_id)

    # Deployments and containers

    async def list_deployments(self, application_id: str) -> list[DokployDeployment]:
        """deployment.all: the last ten or so, newest first; an unknown application has none."""
        return await self._read("deployment.all", list[DokployDeployment], applicationId=application_id)

    async def list_queue(self) -> list[QueueJob]:
        """deployment.queueList: every job of the server that waits or runs."""
        return await self._read("deployment.queueList", list[QueueJob])

    async def read_deployment_log(self, deployment_id: str, lines: int = 1000) -> list[str]:
        """deployment.readLogs: the last lines, however many there are; of a very long one its beginning."""
        text = await self._read("deployment.readLogs", str, deploymentId=deployment_id, tail=str(lines))
        return _last_lines(text, lines)

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

        async def make() -> bool:
            try:
                await self._send("dockerVolume.removeVolume", {"volumeName": name})
            except DokployServerError as error:
                # It answers 500 for both, and asking again at once would not change that.
                if "volume is in use" in error.message:
                    return False
                if "no such volume" not in error.message:
                    raise
            return True

        return await self._persist(make, repeatable=True)

    # The server

    async def version(self) -> str:
        """settings.getDokployVersion, such as v0.30.2."""
        version = await self._read("settings.getDokployVersion", str)
        return "".join(each for each in version[:50] if each.isprintable())

    async def openapi_document(self) -> object:
        """settings.getOpenApiDocument: the server's own description of its calls, of whatever shape."""
        return await self._read("settings.getOpenApiDocument", object)

    async def _read(self, call: str, answer: type[T], **params: str) -> T:
        async def make() -> T:
            return _parse(call, await self.connection.call("GET", call, params=params), answer)

        return await self._persist(make, repeatable=True)

    async def _change(self, call: str, **body: Any) -> None:
        async def make() -> None:
            await self._send(call, body)

        await self._persist(make, repeatable=True)

    async def _create(self, call: str, answer: type[T] | None, **body: Any) -> T:
        async def make() -> T:
            content = await self._send(call, body)
            return _parse(call, content, answer) if answer else None  # type: ignore[return-value]  # T is None then

        return await self._persist(make, repeatable=False)

    async def _send(self, call: str, body: dict[str, Any]) -> bytes:
        content = await self.connection.call("POST", call, body=body)
        if content:
            # Even where nothing of it is read: a page of a proxy in front is no proof of anything.
            _parse(call, content, object)
        return content


def _last_lines(text: str, most: int) -> list[str]:
    """Return the last lines of a text. The others are not split: there may be a million of them."""
    lines: list[str] = []
    end = len(text) - text.endswith("\n")
    while end >= 0 and len(lines) < most and text:
        begin = text.rfind("\n", 0, end) + 1
        # What stands before a carriage return was written over, as by a progress bar.
        line = text[begin : min(end, begin + _LONGEST_LINE)].rstrip("\r")
        lines.append(line.rpartition("\r")[2])
        end = begin - 1
    return lines[::-1]


def _parse(call: str, content: bytes, answer: type[T]) -> T:
    if (adapter := _ADAPTERS.get(answer)) is None:
        adapter = _ADAPTERS[answer] = TypeAdapter(answer)
    try:
        parsed: T = adapter.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise DokployUnreadable(call, first["msg"], status=200) from None
        where = ".".join(str(part) for part in first["loc"])
        raise DokployMisfit(call, f"{where}: {first['msg']}", status=200) from None
    return parsed
