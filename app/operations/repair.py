"""Repair of drift: restores what the record says by a redeployment, or removes what no stack holds."""

from collections.abc import Sequence

from app.audit import COMMAND_LINE
from app.dokploy import DokployClient, DokployError
from app.errors import PortalError
from app.observation.drift import Difference
from app.operations.redeploy import REDEPLOY
from app.operations.service import Operations
from app.operations.steps.cleanup import gone, remove_empty_project
from app.stacks.queries import Records
from app.stacks.requester import Requester


class Repair:
    """Changes Dokploy, or queues a deployment, for one difference at a time."""

    def __init__(self, dokploy: DokployClient, records: Records, operations: Operations) -> None:
        self._dokploy = dokploy
        self._records = records
        self._operations = operations

    async def one(self, difference: Difference) -> str | None:
        """Put one difference right; return the id of the deployment that does it, None where it is done.

        Raises DokployError, and PortalError: `stack_busy`, `name_cleaning_up`, `stack_not_found`, `project_not_empty`.
        """
        if difference.repair == "redeploy" and difference.stack:
            stack = await self._records.find_stack(difference.stack)
            if stack is None:
                raise PortalError("stack_not_found", name=difference.stack)
            return await self._operations.change(REDEPLOY, stack, Requester(stack.owner, COMMAND_LINE, "cli"))
        if difference.dokploy_id is None or difference.repair is None:
            return None
        if difference.code == "domain_stray":
            await gone(self._dokploy.delete_domain(difference.dokploy_id))
        elif difference.code in {"application_double", "application_without_stack"}:
            await self._remove_application(difference.dokploy_id)
        else:
            await remove_empty_project(self._dokploy, difference.dokploy_id, difference.name)
        return None

    async def _remove_application(self, application_id: str) -> None:
        jobs = [job for job in await self._dokploy.list_queue() if job.data.application_id == application_id]
        if any(job.state != "waiting" for job in jobs):
            # Dokploy would make the service after the delete.
            raise PortalError("still_deploying", seconds=0)
        if jobs:
            await self._dokploy.clean_queue(application_id)
        await gone(self._dokploy.delete_application(application_id))


async def repair_all(repair: Repair, differences: Sequence[Difference]) -> list[tuple[Difference, str]]:
    """Repair one after the other; say of each what came of it: `removed`, a deployment's id, or why it failed."""
    results: list[tuple[Difference, str]] = []
    queued: dict[str, str] = {}
    for difference in differences:
        if difference.repair is None:
            results.append((difference, "nothing can be done"))
            continue
        if difference.repair == "redeploy" and difference.stack in queued:
            # One deployment makes everything again that is missing.
            results.append((difference, queued[difference.stack]))
            continue
        try:
            deployment_id = await repair.one(difference)
        except PortalError as error:
            results.append((difference, f"failed: {error.code}"))
        except DokployError as error:
            results.append((difference, f"failed: {error}"))
        else:
            outcome = f"deployment {deployment_id}" if deployment_id else "removed"
            if deployment_id and difference.stack:
                queued[difference.stack] = outcome
            results.append((difference, outcome))
    return results
