"""The operation that gives a stack another password: a redeployment with new secrets."""

from typing import Final

from app.errors import N_
from app.operations.operation import Headings, Operation
from app.operations.redeploy import REDEPLOY

PASSWORD: Final = Operation(
    kind="password",
    steps=REDEPLOY.steps,
    compensates=False,
    may_leave_leftovers=False,
    begins_stack=False,
    ends_stack=False,
    needs_running_stack=True,
    changes_container=True,
    can_be_canceled=True,
    counts_as_in_flight=True,
    scope="stack:manage",
    action="change_password",
    label=N_("Change of password"),
    headings=Headings(
        running=N_("Changing the password of {name}"),
        succeeded=N_("The password of {name} is changed"),
        failed=N_("The password of {name} could not be changed"),
    ),
    told_as="create",
    sentences={
        "deployment_queued.password": N_("The password change of {name} is queued."),
        "deployment_started.password": N_("Changing the password of {name}."),
        "deployment_completed.password.succeeded": N_("{name} has a new password and is ready at {url}."),
        "deployment_completed.password.failed": N_("The password of {name} could not be changed."),
        "deployment_completed.password.canceled": N_("Cancelled. What is there was left as it is."),
    },
)
