"""The operation that makes a stack again what its plan says, and verifies it anew."""

from typing import Final

from app.errors import N_
from app.operations.create import CREATE
from app.operations.operation import Headings, Operation

REDEPLOY: Final = Operation(
    kind="redeploy",
    steps=CREATE.steps[1:],
    compensates=False,
    may_leave_leftovers=False,
    begins_stack=False,
    ends_stack=False,
    needs_running_stack=True,
    changes_container=True,
    can_be_canceled=True,
    counts_as_in_flight=True,
    scope="deploy:start",
    action="redeploy",
    label=N_("Deployed again"),
    headings=Headings(
        running=N_("Deploying {name} again"),
        succeeded=N_("{name} is ready"),
        failed=N_("{name} was not deployed again"),
    ),
    told_as="create",
    sentences={
        "deployment_queued.redeploy": N_("{name} is in line to be deployed again."),
        "deployment_started.redeploy": N_("{name} is being deployed again."),
        "deployment_completed.redeploy.succeeded": N_("{name} is ready again at {url}."),
        "deployment_completed.redeploy.failed": N_(
            "{name} could not be deployed again. What is there was left as it is."
        ),
        "deployment_completed.redeploy.canceled": N_("Cancelled. What is there was left as it is."),
    },
)
