"""The cleanup of what a stack has in Dokploy, in the order that works; each part may be asked for again.

First let Dokploy finish with the application, or it would make the service after the delete. Then the route, then the
application, then see its containers go, then the volume, and the project last: removing a project with something in it
would leave that running where no list shows it. That the route is really gone, only its address can tell.
"""

from collections.abc import Awaitable, Iterable
from typing import Final

import structlog

from app.deployments.events import Progressed
from app.deployments.states import ResourceState, StepState
from app.dokploy import Application, DokployClient, DokployNotFound, Project
from app.engine.clock import Patience
from app.engine.context import RunContext, dokploy_blamed
from app.engine.saga import Outcome, ResourceChange
from app.errors import PortalError
from app.observation.probe import NOBODY
from app.observation.tracker import Pace, find_row

log = structlog.get_logger()

# One connection can break by chance.
_UNANSWERED: Final = 2


class Cleanup:
    """The parts of a cleanup. Only what bears this stack's marker is touched."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._dokploy = context.dokploy

    # Finding

    async def find_projects(self) -> list[Project]:
        """Projects that bear this stack's marker, oldest first."""
        marker = self._context.marker
        found = await self._dokploy.search_projects(marker.search_text)
        ours = [project for project in found if marker.is_on(project.description)]
        return sorted(ours, key=lambda project: project.created_at)

    async def find_applications(self) -> list[Application]:
        """Applications that bear this stack's marker, oldest first."""
        marker = self._context.marker
        found = await self._dokploy.search_applications(marker.search_text)
        ours = [application for application in found if marker.is_on(application.description)]
        return sorted(ours, key=lambda application: application.created_at)

    async def remove_double_projects(self, keep: str) -> None:
        """Remove what a create that landed late has made beside the project that counts."""
        for project in await self.find_projects():
            if project.project_id != keep:
                await remove_empty_project(self._dokploy, project.project_id, self._context.plan.project)

    async def remove_double_applications(self, keep: str) -> None:
        """Remove what a create that landed late has made beside the application that counts."""
        for application in await self.find_applications():
            if application.application_id != keep:
                await gone(self._dokploy.delete_application(application.application_id))

    # Removing

    async def release(self, step: str) -> None:
        """Wait until Dokploy has no job of the application: take the waiting ones out, let the running one end."""
        await self._context.doubts.wait_out("application")
        application_ids = [application.application_id for application in await self.find_applications()]
        if not application_ids:
            return
        patience = Patience(self._context.clock, self._context.settings.deploy_timeout_seconds)
        pace, told = Pace(), False
        while True:
            queue = await self._context.outages.persist(self._context.deps.tracker.queue, repeatable=True)
            jobs = [job for application_id in application_ids for job in queue.of_application(application_id)]
            for application_id in {job.data.application_id for job in jobs if job.state == "waiting"}:
                if application_id:
                    await self._dokploy.clean_queue(application_id)
            if jobs:
                if queue.titled(self._context.run.id):  # another's job says nothing of ours
                    self._context.doubts.clear("deploy")
            elif self._context.doubts.is_open("deploy"):
                # The queue is read once more in any case: the job may have come since.
                if await self._has_row(application_ids):
                    self._context.doubts.clear("deploy")
                else:
                    await self._context.doubts.wait_out("deploy")
                continue
            else:
                return
            if patience.is_over:
                raise PortalError("still_deploying", seconds=self._context.settings.deploy_timeout_seconds)
            if not told and any(job.state != "waiting" for job in jobs):
                told = True
                await self._context.tell(Progressed(step=step, what="undo_waiting"))
            await self._context.clock.pause(pace.interval(watched=self._context.is_watched()))

    async def _has_row(self, application_ids: Iterable[str]) -> bool:
        """Whether Dokploy has worked, or works, on the deployment that this run asked for."""
        for application_id in application_ids:
            rows = await self._dokploy.list_deployments(application_id)
            if find_row(rows, self._context.run.id):
                return True
        return False

    async def remove_domains(self) -> Outcome:
        """Remove every route to the application."""
        for application in await self.find_applications():
            for domain in await self._dokploy.list_domains(application.application_id):
                await gone(self._dokploy.delete_domain(domain.domain_id))
        return Outcome(resources=[ResourceChange("domain", ResourceState.REMOVED)])

    async def remove_applications(self) -> Outcome:
        """Remove the application and see that no container of it is left."""
        await self._context.doubts.wait_out("application")
        applications = await self.find_applications()
        for application in applications:
            await gone(self._dokploy.delete_application(application.application_id))
        if self._was_deployed():
            # Dokploy's row may be gone while its container is not, so what was found now is not all there may be.
            known = await self._context.deps.records.app_names(self._context.run.stack_id)
            for app_name in known | {application.app_name for application in applications}:
                await self._see_containers_go(app_name)
        return Outcome(
            resources=[
                ResourceChange("application", ResourceState.REMOVED),
                ResourceChange("mount", ResourceState.REMOVED),
            ]
        )

    async def _see_containers_go(self, app_name: str) -> None:
        patience = Patience(self._context.clock, self._context.settings.undo_timeout_seconds)
        while await self._dokploy.list_containers(app_name):
            if patience.is_over:
                raise PortalError("still_running")
            await patience.rest()
        # An empty list also means that Docker cannot be reached; this other call fails then.
        await self._dokploy.list_volumes()

    async def remove_volume(self) -> Outcome:
        """Remove the volume, as soon as Docker lets go of it, and see that it is gone.

        Raises PortalError: `still_in_use`; `volume_stays` where Dokploy says that it has removed what it still lists.
        """
        volume = self._context.plan.volume
        patience = Patience(self._context.clock, self._context.settings.undo_timeout_seconds)
        while True:
            problem = PortalError("still_in_use", volume=volume)
            if await self._dokploy.remove_volume(volume):
                if volume not in await self._context.outages.persist(
                    self._context.deps.tracker.volumes, repeatable=True
                ):
                    break
                problem = PortalError("volume_stays", volume=volume)
            if patience.is_over:
                raise problem
            await patience.rest()
        return Outcome(
            output={"seen": {"volume_listed": False}},
            resources=[ResourceChange("volume", ResourceState.REMOVED)],
        )

    async def remove_volume_or_leave_it(self) -> None:
        """Remove the volume if there may be one; a volume that stays keeps nothing else from being removed."""
        if self._context.resource("volume").state not in {ResourceState.INTENDED, ResourceState.PRESENT}:
            return
        try:
            async with dokploy_blamed():
                outcome = await self.remove_volume()
        except PortalError as error:
            log.warning("volume_left", code=error.code, detail=error.log)
            self._context.left_because["volume"] = error.code
            await self._context.tell(Progressed(step="application", what="volume_left"))
        else:
            await self._context.became(*outcome.resources)

    async def see_route_go(self) -> None:
        """Ask the address as a stranger until nobody answers any more. Raises PortalError `route_stays`.

        Dokploy says 200 whatever becomes of the proxy's file. No answer at all tells nothing of it either way, and
        keeps nothing from being removed.
        """
        plan = self._context.plan
        patience = Patience(self._context.clock, self._context.settings.undo_timeout_seconds)
        unanswered = 0
        while True:
            answer = await self._context.deps.prober.probe(plan.url + "/")
            if answer.status == NOBODY:
                return
            unanswered = unanswered + 1 if answer.status is None else 0
            if unanswered >= _UNANSWERED:
                log.info("route_unknown", host=plan.host, code=answer.code)
                return
            if answer.status is not None and patience.is_over:
                raise PortalError("route_stays", host=plan.host, status=answer.status)
            await patience.rest()

    async def see_route_go_or_leave_it(self) -> None:
        """See that the route is gone; one that stays keeps nothing else from being removed."""
        state = ResourceState.REMOVED
        try:
            await self.see_route_go()
        except PortalError as error:
            log.warning("route_left", code=error.code, host=self._context.plan.host)
            self._context.left_because["domain"] = error.code
            state = ResourceState.PRESENT
            await self._context.tell(Progressed(step="application", what="route_left"))
        if self._context.resource("domain").state is not state:
            await self._context.became(ResourceChange("domain", state))

    async def remove_projects(self) -> Outcome:
        """Remove the project, unless somebody has put something of their own into it."""
        await self._context.doubts.wait_out("project")
        for project in await self.find_projects():
            await remove_empty_project(self._dokploy, project.project_id, self._context.plan.project)
        return Outcome(resources=[ResourceChange("project", ResourceState.REMOVED)])

    def _was_deployed(self) -> bool:
        deploy = self._context.run.steps.get("deploy")
        return deploy is None or deploy.state is not StepState.PENDING


async def gone(call: Awaitable[None]) -> None:
    """Remove something; not being there is as good."""
    try:
        await call
    except DokployNotFound:
        return


async def remove_empty_project(dokploy: DokployClient, project_id: str, name: str) -> None:
    """Remove a project, unless something is in it: that would run on where no list shows it.

    Raises PortalError `project_not_empty`.
    """
    try:
        contents = await dokploy.read_project(project_id)
    except DokployNotFound:
        return
    if any(environment.services() for environment in contents.environments):
        raise PortalError("project_not_empty", name=name)
    await gone(dokploy.remove_project(project_id))
