"""The step that checks whether project, volume and address are free."""

import asyncio

from app.deployments.states import ResourceState
from app.engine.saga import Outcome, ResourceChange
from app.errors import PortalError
from app.observation.probe import NOBODY
from app.operations.steps.base import CreateStep


class Validate(CreateStep):
    """Checks whether project, volume and address are free; changes nothing, so there is nothing to undo."""

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
        projects = await self.context.outages.persist(self.context.deps.tracker.projects, repeatable=True)
        for project in projects.get(self.plan.project, ()):
            if not self.context.marker.is_on(project.description):
                raise PortalError("project_conflict", field="name", name=self.plan.project)

    async def _volume_is_ours(self) -> bool:
        """Whether a volume of that name is there, kept by an earlier stack of the same owner."""
        if self.plan.volume not in await self.context.outages.persist(
            self.context.deps.tracker.volumes, repeatable=True
        ):
            return False
        if await self.context.deps.records.is_kept_volume(self.plan.volume, self.context.run.owner_of_stack):
            return True
        raise PortalError("volume_exists", volume=self.plan.volume)

    async def _address_is_free(self) -> None:
        answer = await self.context.deps.prober.probe(self.plan.url + "/")
        if answer.status is not None and answer.status != NOBODY:
            raise PortalError("address_in_use", field="name", host=self.plan.host, log=f"status {answer.status}")
