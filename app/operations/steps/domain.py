"""The step that routes the address to the container."""

from app.deployments.states import ResourceState
from app.dokploy import Domain
from app.engine.saga import Outcome, ResourceChange
from app.operations.steps.base import CreateStep
from app.operations.steps.cleanup import gone


class CreateDomain(CreateStep):
    """Sets the route from the address to the container."""

    name = "domain"
    needs = ("application",)
    intends = ("domain",)

    async def work(self) -> Outcome:
        """Create, or find what an earlier try created."""
        domain = await self.find_or_create("domain", self._find, self._create)
        if domain is None:
            return Outcome()
        if self.context.doubts.may_have_doubled("domain"):
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
        return await self.cleanup.remove_domains()
