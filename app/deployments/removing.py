"""The stations of a removal, which only goes forward: what cannot be removed is left for the next try."""

from app.deployments.context import RunContext, dokploy_blamed
from app.deployments.events import Status
from app.deployments.removal import Removal
from app.deployments.saga import Outcome, ResourceChange, ResourceState


class RemoveStep:
    """What the steps of a removal share."""

    name = ""
    needs: tuple[str, ...] = ()
    intends: tuple[str, ...] = ()
    status: Status = Status.PREPARE
    undoable = False

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.removal = Removal(context)

    async def run(self) -> Outcome:
        """Do the work, with Dokploy's failures as problems."""
        async with dokploy_blamed():
            return await self.work()

    async def work(self) -> Outcome:
        """Remove one kind of thing."""
        raise NotImplementedError

    async def compensate(self) -> Outcome:
        """What is removed stays removed."""
        return Outcome()


class Release(RemoveStep):
    """Waits until Dokploy has let go of the stack."""

    name = "release"

    async def work(self) -> Outcome:
        """Wait."""
        await self.removal.release(self.name)
        return Outcome()


class RemoveDomain(RemoveStep):
    """Removes the route."""

    name = "domain"
    needs = ("release",)

    async def work(self) -> Outcome:
        """Remove it."""
        return await self.removal.remove_domains()


class RemoveApplication(RemoveStep):
    """Removes the application and its container."""

    name = "application"
    needs = ("domain",)
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Remove it."""
        return await self.removal.remove_applications()


class RemoveVolume(RemoveStep):
    """Erases the volume, or keeps it for the same owner."""

    name = "volume"
    needs = ("application",)
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Do what the request chose."""
        if self.context.run.options.get("volume") == "keep":
            return Outcome(resources=[ResourceChange("volume", ResourceState.KEPT)])
        return await self.removal.remove_volume()


class RemoveProject(RemoveStep):
    """Removes the project."""

    name = "project"
    needs = ("application",)
    status = Status.FINALIZE

    async def work(self) -> Outcome:
        """Remove it."""
        return await self.removal.remove_projects()


REMOVAL: tuple[type[RemoveStep], ...] = (Release, RemoveDomain, RemoveApplication, RemoveVolume, RemoveProject)
