"""The stations of a new stack, in reading order; deploy and verify, the long ones, have rooms of their own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from app.deployments.states import ResourceState, Status, StepState
from app.dokploy import Application, ApplicationUpdate, DokployError, DokployServerError, Domain, Mount
from app.engine.context import RunContext, dokploy_blamed
from app.engine.saga import Outcome, ResourceChange
from app.errors import PortalError
from app.observation.probe import NOBODY
from app.operations.steps.cleanup import Removal, gone
from app.stacks.dotenv import write_dotenv

T = TypeVar("T")


class CreateStep:
    """What the steps of a creation share."""

    name = ""
    needs: tuple[str, ...] = ()
    intends: tuple[str, ...] = ()
    status: Status = Status.PREPARE
    undoable = True

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.plan = context.plan
        self.dokploy = context.dokploy
        self.removal = Removal(context)

    async def run(self) -> Outcome:
        """Do the work, with Dokploy's failures as problems, unless the run was cancelled before."""
        await self.context.check_canceled()
        async with dokploy_blamed():
            return await self.work()

    async def work(self) -> Outcome:
        """Do the work."""
        raise NotImplementedError

    async def compensate(self) -> Outcome:
        """Undo the work, with Dokploy's failures as problems."""
        async with dokploy_blamed():
            return await self.undo()

    async def undo(self) -> Outcome:
        """Remove what the work made, or may have made."""
        return Outcome()

    @property
    def application_id(self) -> str:
        """Dokploy's id of the application, once it is there."""
        return self.context.resource("application").dokploy_id or ""

    async def find_or_create(
        self, kind: str, find: Callable[[], Awaitable[Sequence[T]]], create: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Create a resource exactly once, although nothing over there is unique and answers get lost.

        find: the resources that bear our marker, oldest first. Returns None where this run has made it already.
        After an uncertain create its deadline is waited out before looking: it may land late (rule 6 of the journal).
        """
        if self.context.resource(kind).state is ResourceState.PRESENT:
            if self.context.run.operation.begins_stack:
                return None
            # An earlier run made it, and much can have happened since.
            if found := await find():
                return found[0]
        if self.context.is_in_doubt(kind) and (found := await self._find_in_doubt(kind, find)):
            return found[0]
        for last_try in (False, True):
            began = time.monotonic()
            try:
                return await create()
            except DokployError as error:
                if not error.uncertain:
                    raise
                self.context.doubt(kind, began)
                if isinstance(error, DokployServerError):  # it has answered, so it is no longer at it
                    self.context.clear_doubt(kind)
                if found := await self._find_in_doubt(kind, find):
                    return found[0]
                if last_try or isinstance(error, DokployServerError):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _find_in_doubt(self, kind: str, find: Callable[[], Awaitable[Sequence[T]]]) -> Sequence[T]:
        """Look at once, and if there is nothing, again when it can no longer land."""
        found = await find()
        if not found and self.context.is_in_doubt(kind):
            await self.context.wait_out_doubt(kind)
            found = await find()
        return found


class Validate(CreateStep):
    """Looks whether project, volume and address are free; changes nothing, so there is nothing to undo."""

    name = "validate"
    undoable = False

    async def work(self) -> Outcome:
        """Ask Dokploy and the address side by side."""
        checks = await asyncio.gather(
            self._project_is_free(), self._volume_is_ours(), self._address_is_free(), return_exceptions=True
        )
        for failure in checks:
            if isinstance(failure, BaseException):
                raise failure
        kept = checks[1]
        return Outcome(resources=[ResourceChange("volume", ResourceState.KEPT)] if kept else [])

    async def _project_is_free(self) -> None:
        projects = await self.context.persist(self.context.deps.tracker.projects, repeatable=True)
        for project in projects.get(self.plan.project, ()):
            if not self.context.marker.is_on(project.description):
                raise PortalError("project_conflict", field="name", name=self.plan.project)

    async def _volume_is_ours(self) -> bool:
        """Whether a volume of that name is there, kept by an earlier stack of the same owner."""
        if self.plan.volume not in await self.context.persist(self.context.deps.tracker.volumes, repeatable=True):
            return False
        if await self.context.deps.records.is_kept_volume(self.plan.volume, self.context.run.owner_of_stack):
            return True
        raise PortalError("volume_exists", volume=self.plan.volume)

    async def _address_is_free(self) -> None:
        answer = await self.context.deps.prober.probe(self.plan.url + "/")
        if answer.status is not None and answer.status != NOBODY:
            raise PortalError("address_in_use", field="name", host=self.plan.host, log=f"status {answer.status}")


class Project(CreateStep):
    """Makes the project in Dokploy, with its environment `production`."""

    name = "project"
    needs = ("validate",)
    intends = ("project",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        ids = await self.find_or_create("project", self._find, self._create)
        if ids is None:
            return Outcome()
        project_id, environment_id, name = ids
        if "project" in self.context.doubted:
            await self.removal.remove_double_projects(project_id)
        return Outcome(
            output={"environment_id": environment_id, "seen": {"project": name}},
            resources=[ResourceChange("project", ResourceState.PRESENT, project_id)],
        )

    async def _create(self) -> tuple[str, str, str]:
        created = await self.dokploy.create_project(self.plan.project, str(self.context.marker))
        return created.project.project_id, created.environment.environment_id, created.project.name

    async def _find(self) -> list[tuple[str, str, str]]:
        found = await self.removal.find_projects()
        ids = []
        for project in found:
            contents = await self.dokploy.read_project(project.project_id)
            environment = next((each for each in contents.environments if each.is_default), contents.environments[0])
            ids.append((project.project_id, environment.environment_id, project.name))
        return ids

    async def undo(self) -> Outcome:
        """Remove the project."""
        return await self.removal.remove_projects()


class MakeApplication(CreateStep):
    """Makes the application in the project."""

    name = "application"
    needs = ("project",)
    intends = ("application",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        application = await self.find_or_create("application", self.removal.find_applications, self._create)
        if application is None:
            return Outcome()
        if "application" in self.context.doubted:
            await self.removal.remove_double_applications(application.application_id)
        return Outcome(
            output={"app_name": application.app_name, "seen": {"application": application.app_name}},
            resources=[ResourceChange("application", ResourceState.PRESENT, application.application_id)],
        )

    async def _create(self) -> Application:
        return await self.dokploy.create_application(
            self.plan.application,
            self.context.output("project", "environment_id"),
            str(self.context.marker),
            app_name=self.plan.application,
        )

    async def undo(self) -> Outcome:
        """Remove the application, its volume where this run brought it about, and see that container and route go."""
        outcome = await self.removal.remove_applications()
        if self.context.resource("volume").state is not ResourceState.KEPT:
            await self.removal.remove_volume_or_leave_it()
        if self.context.state_of("domain") is not StepState.PENDING:
            await self.removal.see_route_go_or_leave_it()
        return outcome


class Configure(CreateStep):
    """Sets image, credentials, variables and limits in one call, and beside it mounts the volume."""

    name = "configure"
    needs = ("application",)
    intends = ("mount",)

    async def work(self) -> Outcome:
        """Make both calls side by side."""
        mount, _ = await _both(
            self.find_or_create("mount", self._find_mounts, self._create_mount),
            self.dokploy.update_application(self.application_id, self._update()),
        )
        if mount is None:
            return Outcome()
        if "mount" in self.context.doubted:
            # Two mounts at one path, and Docker would refuse to start the container.
            for double in (await self._find_mounts())[1:]:
                await gone(self.dokploy.remove_mount(double.mount_id))
        return Outcome(
            output={"seen": {"volume": mount.volume_name, "volume_path": mount.mount_path}},
            resources=[ResourceChange("mount", ResourceState.PRESENT, mount.mount_id)],
        )

    def _update(self) -> ApplicationUpdate:
        registry = self.context.deps.registry
        secrets = self.context.secrets
        return ApplicationUpdate(
            docker_image=self.plan.image,
            username=registry.username if registry else None,
            password=registry.password if registry else None,
            registry_url=registry.url if registry else None,
            env=write_dotenv([*sorted(secrets.variables.items()), (self.plan.password_variable, secrets.password)]),
            memory_limit=str(self.plan.memory_bytes),
            cpu_limit=str(round(self.plan.cpus * 1_000_000_000)),
        )

    async def _create_mount(self) -> Mount:
        return await self.dokploy.create_volume_mount(self.application_id, self.plan.volume, self.plan.volume_path)

    async def _find_mounts(self) -> list[Mount]:
        mounts = await self.dokploy.list_mounts(self.application_id)
        return [mount for mount in mounts if mount.volume_name == self.plan.volume]

    async def undo(self) -> Outcome:
        """Settings and mount go with the application."""
        return Outcome(resources=[ResourceChange("mount", ResourceState.REMOVED)])


class Route(CreateStep):
    """Sets the route from the address to the container."""

    name = "domain"
    needs = ("application",)
    intends = ("domain",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        domain = await self.find_or_create("domain", self._find, self._create)
        if domain is None:
            return Outcome()
        if "domain" in self.context.doubted:
            for double in (await self._find())[1:]:
                await gone(self.dokploy.delete_domain(double.domain_id))
        return Outcome(
            output={
                "seen": {
                    "host": domain.host,
                    "port": domain.port,
                    "https": domain.https,
                    "certificate_type": domain.certificate_type,
                    "certificate_resolver": domain.custom_cert_resolver,
                }
            },
            resources=[ResourceChange("domain", ResourceState.PRESENT, domain.domain_id)],
        )

    async def _create(self) -> Domain:
        return await self.dokploy.create_domain(
            self.application_id,
            self.plan.host,
            self.plan.port,
            https=self.plan.https,
            certificate_type=self.plan.certificate_type,
            resolver=self.plan.certificate_resolver,
        )

    async def _find(self) -> list[Domain]:
        domains = await self.dokploy.list_domains(self.application_id)
        return sorted((each for each in domains if each.host == self.plan.host), key=lambda each: each.created_at)

    async def undo(self) -> Outcome:
        """Remove the route."""
        return await self.removal.remove_domains()


async def _both(first: Awaitable[T], second: Awaitable[Any]) -> tuple[T, Any]:
    """Wait for both, also when one fails: a step must not end while a call of its own is under way."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("tuple[T, Any]", results)
