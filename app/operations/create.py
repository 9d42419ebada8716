"""The operation that creates a stack."""

from typing import Final

from app.errors import N_
from app.operations.operation import Headings, Operation, StepDeclaration

CREATE: Final = Operation(
    kind="create",
    steps=(
        StepDeclaration(
            name="validate",
            label=N_("Check"),
            purpose=N_("Is the name free?"),
            started=N_("Checking that the name and the address are free."),
            succeeded=N_("The name and the address are free."),
        ),
        StepDeclaration(
            name="project",
            label=N_("Project"),
            purpose=N_("A folder in Dokploy"),
            started=N_("Creating the project in Dokploy."),
            succeeded=N_("The project is there."),
        ),
        StepDeclaration(
            name="application",
            label=N_("Application"),
            purpose=N_("Your coding server"),
            started=N_("Creating the application."),
            succeeded=N_("The application is there."),
        ),
        StepDeclaration(
            name="configure",
            label=N_("Settings"),
            purpose=N_("Password and limits"),
            started=N_("Setting the image, the password, the limits and the volume."),
            succeeded=N_("The image, the password, the limits and the volume are set."),
        ),
        StepDeclaration(
            name="domain",
            label=N_("Address"),
            purpose=N_("The route to it"),
            started=N_("Setting the route to the address."),
            succeeded=N_("The route to the address is set."),
        ),
        StepDeclaration(
            name="deploy",
            label=N_("Deploy"),
            purpose=N_("The container starts"),
            started=N_("Asking Dokploy to start the container."),
            succeeded=N_("Dokploy has deployed the image."),
        ),
        StepDeclaration(
            name="verify",
            label=N_("Verify"),
            purpose=N_("Opened once, to be sure"),
            started=N_("Opening the address to be sure that it answers."),
            succeeded=N_("The address answers, and asks strangers for the password."),
        ),
    ),
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
    headings=Headings(
        running=N_("Deploying {name}"),
        succeeded=N_("{name} is ready"),
        failed=N_("{name} was not deployed"),
    ),
    told_as="create",
    sentences={
        "deployment_queued.create": N_("{name} is in line."),
        "deployment_started.create": N_("The deployment of {name} has started."),
        "deployment_completed.create.succeeded": N_("{name} is ready at {url}."),
        "deployment_completed.create.failed": N_("{name} was not deployed. Everything that was made is removed again."),
        "deployment_completed.create.failed.leftovers": N_("{name} was not deployed. Some of it could not be removed."),
        "deployment_completed.create.canceled": N_("Cancelled. Everything that was made is removed again."),
        "deployment_completed.create.canceled.leftovers": N_("Cancelled. Some of it could not be removed."),
    },
)
