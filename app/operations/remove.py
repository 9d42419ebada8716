"""The operation that removes a stack, and erases or keeps its volume."""

from typing import Final

from app.errors import N_
from app.operations.operation import Headings, Operation, StepDeclaration

REMOVE: Final = Operation(
    kind="remove",
    steps=(
        StepDeclaration(
            name="release",
            label=N_("Stop"),
            purpose=N_("Dokploy lets go"),
            started=N_("Waiting until Dokploy lets go of the stack."),
            succeeded=N_("Dokploy has let go of the stack."),
        ),
        StepDeclaration(
            name="application",
            label=N_("Application"),
            purpose=N_("The container goes"),
            started=N_("Removing the application and its container."),
            succeeded=N_("The application and its container are removed."),
        ),
        StepDeclaration(
            name="domain",
            label=N_("Address"),
            purpose=N_("The route goes"),
            started=N_("Removing the address."),
            succeeded=N_("The address is removed."),
        ),
        StepDeclaration(
            name="volume",
            label=N_("Volume"),
            purpose=N_("Your files"),
            started=N_("Dealing with the volume."),
            succeeded=N_("The volume is dealt with."),
        ),
        StepDeclaration(
            name="project",
            label=N_("Project"),
            purpose=N_("The folder goes"),
            started=N_("Removing the project."),
            succeeded=N_("The project is removed."),
        ),
    ),
    compensates=False,
    may_leave_leftovers=True,
    begins_stack=False,
    ends_stack=True,
    needs_running_stack=False,
    changes_container=False,
    can_be_canceled=False,
    counts_as_in_flight=False,
    scope="stack:delete",
    action="remove",
    label=N_("Removal"),
    headings=Headings(
        running=N_("Removing {name}"),
        succeeded=N_("{name} is removed"),
        failed=N_("{name} was not removed completely"),
    ),
    told_as="remove",
    sentences={
        "deployment_queued.remove": N_("The removal of {name} is in line."),
        "deployment_started.remove": N_("The removal of {name} has started."),
        "deployment_completed.remove.succeeded": N_("{name} is removed."),
        "deployment_completed.remove.failed.leftovers": N_("{name} could not be removed completely."),
    },
)
