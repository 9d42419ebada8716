"""The steps of operations: each does one thing in Dokploy, and can take it back."""

from collections.abc import Sequence
from typing import Final

from app.engine.context import RunContext
from app.engine.saga import Step
from app.operations.create import CREATE
from app.operations.operation import Operation
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.steps.application import CreateApplication
from app.operations.steps.base import CreateStep
from app.operations.steps.configure import Configure
from app.operations.steps.deploy import Deploy
from app.operations.steps.domain import CreateDomain
from app.operations.steps.project import CreateProject
from app.operations.steps.remove import (
    Release,
    RemoveApplication,
    RemoveDomain,
    RemoveProject,
    RemoveStep,
    RemoveVolume,
)
from app.operations.steps.validate import Validate
from app.operations.steps.verify import Verify

Code = type[CreateStep] | type[RemoveStep]

_CREATION: Final[Sequence[Code]] = (
    Validate,
    CreateProject,
    CreateApplication,
    Configure,
    CreateDomain,
    Deploy,
    Verify,
)
_REMOVAL: Final[Sequence[Code]] = (Release, RemoveApplication, RemoveDomain, RemoveVolume, RemoveProject)


def _in_order(operation: Operation, steps: Sequence[Code]) -> Sequence[Code]:
    """Put the code of an operation's steps into the operation's order. Raises KeyError where a step has none."""
    named = {step.name: step for step in steps}
    return [named[name] for name in operation.step_names]


CODE: Final[dict[str, Sequence[Code]]] = {
    CREATE.kind: _in_order(CREATE, _CREATION),
    REDEPLOY.kind: _in_order(REDEPLOY, _CREATION),
    PASSWORD.kind: _in_order(PASSWORD, _CREATION),
    REMOVE.kind: _in_order(REMOVE, _REMOVAL),
}
"""The code of each operation's steps, in the operation's order."""


def side_by_side(operation: Operation) -> Sequence[Sequence[str]]:
    """Group the names of an operation's steps by when they run; those of one group run at the same time."""
    depth: dict[str, int] = {}
    for step in CODE[operation.kind]:
        depth[step.name] = 1 + max((depth[name] for name in step.needs if name in depth), default=-1)
    return [[name for name in depth if depth[name] == place] for place in range(max(depth.values()) + 1)]


def make_steps(context: RunContext) -> Sequence[Step]:
    """Make the steps of a run."""
    return [step(context) for step in CODE[context.run.operation.kind]]
