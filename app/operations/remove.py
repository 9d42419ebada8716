"""The operation that removes a stack, and erases or keeps its volume."""

from typing import Final

from app.errors import N_
from app.operations.operation import Operation

REMOVE: Final = Operation(
    kind="remove",
    steps=("release", "application", "domain", "volume", "project"),
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
    told_as="remove",
    sentences={
        "deployment_queued.remove": N_("The removal of {name} is in line."),
        "deployment_started.remove": N_("The removal of {name} has started."),
        "step_started.remove.release": N_("Waiting until Dokploy lets go of the stack."),
        "step_started.remove.domain": N_("Removing the address."),
        "step_started.remove.application": N_("Removing the application and its container."),
        "step_started.remove.volume": N_("Dealing with the volume."),
        "step_started.remove.project": N_("Removing the project."),
        "step_succeeded.remove.release": N_("Dokploy has let go of the stack."),
        "step_succeeded.remove.domain": N_("The address is removed."),
        "step_succeeded.remove.application": N_("The application and its container are removed."),
        "step_succeeded.remove.volume": N_("The volume is dealt with."),
        "step_succeeded.remove.project": N_("The project is removed."),
        "deployment_completed.remove.succeeded": N_("{name} is removed."),
        "deployment_completed.remove.failed.leftovers": N_("{name} could not be removed completely."),
    },
)
