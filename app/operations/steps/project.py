"""The step that creates the project."""

from app.deployments.states import ResourceState
from app.engine.saga import Outcome, ResourceChange
from app.operations.steps.base import CreateStep


class CreateProject(CreateStep):
    """Creates the project in Dokploy, with its environment `production`."""

    name = "project"
    needs = ("validate",)
    intends = ("project",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        ids = await self.find_or_create("project", self._find, self._create)
        if ids is None:
            return Outcome()
        project_id, environment_id, name = ids
        if self.context.doubts.may_have_doubled("project"):
            await self.cleanup.remove_double_projects(project_id)
        return Outcome(
            output={"environment_id": environment_id, "seen": {"project": name}},
            resources=[ResourceChange("project", ResourceState.PRESENT, project_id)],
        )

    async def _create(self) -> tuple[str, str, str]:
        created = await self.dokploy.create_project(self.plan.project, str(self.context.marker))
        return created.project.project_id, created.environment.environment_id, created.project.name

    async def _find(self) -> list[tuple[str, str, str]]:
        found = await self.cleanup.find_projects()
        ids = []
        for project in found:
            contents = await self.dokploy.read_project(project.project_id)
            environment = next((each for each in contents.environments if each.is_default), contents.environments[0])
            ids.append((project.project_id, environment.environment_id, project.name))
        return ids

    async def undo(self) -> Outcome:
        """Remove the project."""
        return await self.cleanup.remove_projects()
