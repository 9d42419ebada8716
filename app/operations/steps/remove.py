"""The steps of a removal, which only goes forward: what cannot be removed is left for the next attempt."""

from app.deployments.states import ResourceState, Status
from app.engine.context import RunContext, dokploy_blamed
from app.engine.saga import Outcome, ResourceChange
from app.errors import PortalError
from app.operations.steps.cleanup import Cleanup


class RemoveStep:
    """What the steps of a removal share."""

    name = ""
    needs: tuple[str, ...] = ()
    intends: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    status: Status = Status.PREPARE
    undoable = False

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.cleanup = Cleanup(context)

    async def run(self) -> Outcome:
        """Do the work, with Dokploy's failures as problems, and remember why what it removes is left."""
        try:
            async with dokploy_blamed():
                return await self.work()
        except PortalError as error:
            self.context.left_because |= dict.fromkeys(self.removes, error.code)
            raise

    async def work(self) -> Outcome:
        """Remove one kind of thing."""
        raise NotImplementedError

    async def compensate(self) -> Outcome:
        """Do nothing: what is removed stays removed."""
        return Outcome()


class Release(RemoveStep):
    """Waits until Dokploy has let go of the stack."""

    name = "release"

    async def work(self) -> Outcome:
        """Wait."""
        await self.cleanup.release(self.name)
        return Outcome()


class RemoveApplication(RemoveStep):
    """Removes the application and its container, and first the route to it."""

    name = "application"
    needs = ("release",)
    removes = ("application", "mount")
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Remove them."""
        await self.cleanup.remove_domains()
        return await self.cleanup.remove_applications()


class RemoveDomain(RemoveStep):
    """Sees that the address is gone; one that never had a route is left alone."""

    name = "domain"
    needs = ("application",)
    removes = ("domain",)
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Look."""
        if self.context.resource("domain").state in {ResourceState.INTENDED, ResourceState.PRESENT}:
            await self.cleanup.see_route_go()
        return Outcome(resources=[ResourceChange("domain", ResourceState.REMOVED)])


class RemoveVolume(RemoveStep):
    """Erases the volume, or keeps it for the same owner."""

    name = "volume"
    needs = ("application",)
    removes = ("volume",)
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Do what the request chose, with a volume that this stack has brought about or taken up; with no other."""
        state = self.context.resource("volume").state
        if state in {ResourceState.PLANNED, ResourceState.REMOVED}:
            return Outcome()
        if self.context.run.options.get("volume") == "keep":
            return Outcome(resources=[ResourceChange("volume", ResourceState.KEPT)])
        if state is ResourceState.KEPT:
            # From here on it is to go, so that it counts as left over where it does not.
            await self.context.became(ResourceChange("volume", ResourceState.PRESENT))
        return await self.cleanup.remove_volume()


class RemoveProject(RemoveStep):
    """Removes the project."""

    name = "project"
    needs = ("application",)
    removes = ("project",)
    status = Status.FINALIZE

    async def work(self) -> Outcome:
        """Remove it."""
        return await self.cleanup.remove_projects()
