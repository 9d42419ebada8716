"""The step that gives the application its settings and its volume."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from app.deployments.states import ResourceState
from app.dokploy import ApplicationUpdate, Mount
from app.engine.saga import Outcome, ResourceChange
from app.operations.steps.base import CreateStep
from app.operations.steps.cleanup import gone
from app.stacks.dotenv import write_dotenv

T = TypeVar("T")


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
        if self.context.doubts.may_have_doubled("mount"):
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
        """Do nothing: settings and mount go with the application."""
        return Outcome(resources=[ResourceChange("mount", ResourceState.REMOVED)])


async def _both(first: Awaitable[T], second: Awaitable[Any]) -> tuple[T, Any]:
    """Wait for both, also when one fails: a step must not end while a call of its own is under way."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("tuple[T, Any]", results)
