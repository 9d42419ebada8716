"""An operation that only tests have, whose one step always fails: what becomes of a healthy stack then?"""

from dataclasses import replace
from typing import Final

from app.deployments.events import StepStarted
from app.deployments.sentences import MESSAGES, STEP_LABELS
from app.engine.saga import Outcome
from app.errors import PortalError
from app.operations.operation import StepDeclaration
from app.operations.redeploy import REDEPLOY
from app.operations.steps import CODE
from app.operations.steps.base import CreateStep
from app.operations.table import OPERATIONS

INTERRUPT: Final = replace(
    REDEPLOY,
    kind="interrupt",
    steps=(StepDeclaration("interrupt", "Interrupt", "To fail", "Interrupting.", "Interrupted."),),
    label="Interrupted",
    told_as="interrupt",
    sentences={
        "deployment_queued.interrupt": "{name} is about to be interrupted.",
        "deployment_started.interrupt": "{name} is being interrupted.",
        "deployment_completed.interrupt.failed": "{name} could not be interrupted.",
    },
)


class Interrupt(CreateStep):
    """Asks Dokploy for the application, notes it, and fails."""

    name = "interrupt"

    async def work(self) -> Outcome:
        """Fail after a call and a checkpoint, so that there are points to die at."""
        applications = await self.cleanup.find_applications()
        await self.dokploy.list_domains(applications[0].application_id)
        await self.context.note(self.name, {"touched": applications[0].application_id})
        raise PortalError("dokploy_failed", log="as the test wants it")


def register() -> None:
    """Put the operation into the table, in this process."""
    OPERATIONS[INTERRUPT.kind] = INTERRUPT
    CODE[INTERRUPT.kind] = [Interrupt]
    MESSAGES.update(INTERRUPT.sentences)
    for step in INTERRUPT.steps:
        MESSAGES[StepStarted(INTERRUPT.kind, step.name).key] = step.started
        STEP_LABELS[step.name] = step.label
