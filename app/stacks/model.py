"""The record of a stack: its owner and its state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from app.deployments.model import DeploymentRecord
from app.deployments.states import Conclusion, Status
from app.operations.table import operation_of


@dataclass(frozen=True)
class StackRecord:
    """A stack. server_id: the Dokploy server that it is on.

    is_password_pending: whether a change of its password is not finished.
    """

    id: str
    server_id: str
    name: str
    owner: str
    template: str
    plan: Mapping[str, Any]
    manage_key_hash: str = field(repr=False)
    created_at: datetime
    is_password_pending: bool = False


@dataclass(frozen=True)
class Whose:
    """Which stacks are meant: those of an owner, those of a manage key, or with neither everybody's."""

    owner: str | None = None
    key_hash: str | None = field(default=None, repr=False)

    def has(self, owner: str, key_hash: str) -> bool:
        """Tell whether a stack is meant by its owner and the fingerprint of its manage key."""
        return self.owner in {None, owner} and self.key_hash in {None, key_hash}


EVERYBODY: Final = Whose()


class StackState(StrEnum):
    """How a stack is, as far as its newest deployment tells. LEFT: it is to go, and some of it could not be removed."""

    DEPLOYING = "deploying"
    UNDOING = "undoing"
    REMOVING = "removing"
    RUNNING = "running"
    FAILED = "failed"
    CANCELED = "canceled"
    LEFT = "left"


def stack_state(kind: str, conclusion: str | None, *, undoing: bool) -> StackState:
    """How a stack is, by its newest deployment. What neither begins nor ends a stack leaves it there."""
    operation = operation_of(kind)
    if conclusion is None:
        if operation.ends_stack:
            return StackState.REMOVING
        return StackState.UNDOING if undoing else StackState.DEPLOYING
    if operation.ends_stack:
        return StackState.LEFT
    if conclusion == Conclusion.SUCCEEDED:
        return StackState.RUNNING
    if operation.begins_stack:
        return StackState.LEFT
    return StackState.CANCELED if conclusion == Conclusion.CANCELED else StackState.FAILED


# The stack is there: whatever was tried last has undone nothing.
STANDING: Final = frozenset({StackState.RUNNING, StackState.FAILED, StackState.CANCELED})


def is_there(newest: DeploymentRecord) -> bool:
    """Whether a stack is there by its newest deployment, if only to be deployed again at this moment."""
    if newest.conclusion is None:
        return newest.operation.needs_running_stack
    return stack_state(newest.kind, newest.conclusion, undoing=newest.undoing) in STANDING


@dataclass(frozen=True)
class StackView:
    """A stack with its newest deployment, which tells how the stack is."""

    stack: StackRecord
    newest: DeploymentRecord

    @property
    def state(self) -> StackState:
        """How it is."""
        return stack_state(self.newest.kind, self.newest.conclusion, undoing=self.newest.undoing)

    @property
    def opens(self) -> bool:
        """Whether its address is worth opening."""
        return is_there(self.newest)


def is_cleaning_up(newest: DeploymentRecord) -> bool:
    """Whether the newest deployment of a stack leads, or has led, to its end rather than to its running."""
    if newest.operation.ends_stack or newest.undoing:
        return True
    return newest.status is Status.COMPLETED and any(each.removed_at is None for each in newest.leftovers)
