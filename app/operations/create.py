"""The operation that creates a stack."""

from typing import Final

from app.errors import N_
from app.operations.operation import Operation

CREATE: Final = Operation(
    kind="create",
    steps=("validate", "project", "application", "configure", "domain", "deploy", "verify"),
    compensates=True,
    may_leave_leftovers=True,
    begins_stack=True,
    ends_stack=False,
    needs_running_stack=False,
    changes_container=True,
    can_be_canceled=True,
    counts_as_in_flight=True,
    scope="deploy:start",
    action="deploy",
    label=N_("First deployment"),
    told_as="create",
    sentences={
        "deployment_queued.create": N_("{name} is in line."),
        "deployment_started.create": N_("The deployment of {name} has started."),
        "step_started.create.validate": N_("Checking that the name and the address are free."),
        "step_started.create.project": N_("Creating the project in Dokploy."),
        "step_started.create.application": N_("Creating the application."),
        "step_started.create.configure": N_("Setting the image, the password, the limits and the volume."),
        "step_started.create.domain": N_("Setting the route to the address."),
        "step_started.create.deploy": N_("Asking Dokploy to start the container."),
        "step_started.create.verify": N_("Opening the address to be sure that it answers."),
        "step_succeeded.create.validate": N_("The name and the address are free."),
        "step_succeeded.create.project": N_("The project is there."),
        "step_succeeded.create.application": N_("The application is there."),
        "step_succeeded.create.configure": N_("The image, the password, the limits and the volume are set."),
        "step_succeeded.create.domain": N_("The route to the address is set."),
        "step_succeeded.create.deploy": N_("Dokploy has deployed the image."),
        "step_succeeded.create.verify": N_("The address answers, and asks strangers for the password."),
        "deployment_completed.create.succeeded": N_("{name} is ready at {url}."),
        "deployment_completed.create.failed": N_("{name} was not deployed. Everything that was made is removed again."),
        "deployment_completed.create.failed.leftovers": N_("{name} was not deployed. Some of it could not be removed."),
        "deployment_completed.create.canceled": N_("Cancelled. Everything that was made is removed again."),
        "deployment_completed.create.canceled.leftovers": N_("Cancelled. Some of it could not be removed."),
    },
)
