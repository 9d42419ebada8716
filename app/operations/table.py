"""The operations table: every verb that there is."""

from collections.abc import Callable
from typing import Final

from app.errors import N_
from app.operations.create import CREATE
from app.operations.operation import Headings, Operation, StepDeclaration
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE

OPERATIONS: Final = {each.kind: each for each in (CREATE, REDEPLOY, PASSWORD, REMOVE)}

_UNKNOWN: Final = Operation(
    kind="unknown",
    steps=(),
    compensates=False,
    may_leave_leftovers=False,
    begins_stack=False,
    ends_stack=False,
    needs_running_stack=True,
    changes_container=False,
    can_be_canceled=False,
    counts_as_in_flight=True,
    scope="",
    action="",
    label=N_("Another change"),
    headings=Headings(
        running=N_("Another change"),
        succeeded=N_("{name} is ready"),
        failed=N_("Another change"),
    ),
    told_as="",
    sentences={},
)


def operation_of(kind: str) -> Operation:
    """Return a verb by its name. One that a newer portal beside this one has recorded is taken to end nothing."""
    return OPERATIONS.get(kind, _UNKNOWN)


def step_of(kind: str, name: str) -> StepDeclaration | None:
    """Return what a verb declares of a step; None for a verb or a step that only a newer portal knows."""
    return next((step for step in operation_of(kind).steps if step.name == name), None)


def kinds(trait: Callable[[Operation], bool]) -> list[str]:
    """Return the names of the verbs that have a trait, to hold a query to them."""
    return [each.kind for each in OPERATIONS.values() if trait(each)]
