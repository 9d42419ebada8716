"""The step that creates the application."""

from app.deployments.states import ResourceState, StepState
from app.dokploy import Application
from app.engine.saga import Outcome, ResourceChange
from app.operations.steps.base import CreateStep


class CreateApplication(CreateStep):
    """Creates the application in the project."""

    name = "application"
    needs = ("project",)
    intends = ("application",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        application = await self.find_or_create("application", self.cleanup.find_applications, self._create)
        if application is None:
            return Outcome()
        if self.context.doubts.may_have_doubled("application"):
            await self.cleanup.remove_double_applications(application.application_id)
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
        outcome = await self.cleanup.remove_applications()
        if self.context.resource("volume").state is not ResourceState.KEPT:
            await self.cleanup.remove_volume_or_leave_it()
        if self.context.state_of("domain") is not StepState.PENDING:
            await self.cleanup.see_route_go_or_leave_it()
        return outcome
