"""Quotas of stacks and deployments, counted in the transaction that adds one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from app.config.settings import Settings
from app.deployments.states import Status
from app.errors import PortalError
from app.operations.table import kinds
from app.store import schema
from app.store.engine import Database

TURN: Final = "quota"
"""What transactions take turns at that add to what is counted."""

# From which share of the places on the operator is told that they run out.
_NEAR: Final = 0.8
# When to come back, in seconds: somebody has to delete a stack first, or a deployment to end.
_STACK_GOES: Final = 600
_DEPLOYMENT_ENDS: Final = 30


@dataclass(frozen=True)
class Quotas:
    """How many of each there may be; 0: as many as you like.

    A stack counts while it holds its name, a deployment until it has concluded. Removals do not count: they make room.
    """

    stacks: int = 0
    stacks_per_owner: int = 0
    in_flight: int = 0
    in_flight_per_owner: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Quotas":
        """Those that the operator has set."""
        return cls(
            stacks=settings.max_stacks,
            stacks_per_owner=settings.max_stacks_per_owner,
            in_flight=settings.max_in_flight,
            in_flight_per_owner=settings.max_in_flight_per_owner,
        )

    def take_turns(self, database: Database, connection: Connection) -> None:
        """Let only one transaction at a time add and count, until it is over: two would not see each other's."""
        if self != Quotas():
            database.take_turns(connection, TURN)

    def check_stack(self, connection: Connection, owner: str, *, is_operator: bool) -> int:
        """Hold a new stack and its deployment, which this transaction has added, to the limits.

        Return how many stacks there are. Raises PortalError.
        """
        stacks = count_stacks(connection)
        for refusal in self._of_stack(connection, stacks, owner, is_operator=is_operator, room=0):
            raise refusal
        return stacks

    def check_deployment(self, connection: Connection, owner: str, *, is_operator: bool) -> None:
        """Hold a deployment of a stack, which this transaction has added, to the limits. Raises PortalError."""
        for refusal in self._of_deployments(connection, owner, is_operator=is_operator, room=0):
            raise refusal

    def refusals(self, connection: Connection, owner: str, *, is_operator: bool) -> Iterator[PortalError]:
        """Why one more stack would be too much, if it would be. owner: "" for one who has no other."""
        return self._of_stack(connection, count_stacks(connection), owner, is_operator=is_operator, room=1)

    def check_owner(self, connection: Connection, owner: str, *, is_operator: bool) -> None:
        """Hold an owner, to whom this transaction has given a stack, to the limit. Raises PortalError."""
        for refusal in self._of_owner(connection, owner, is_operator=is_operator, room=0):
            raise refusal

    def _of_stack(
        self, connection: Connection, stacks: int, owner: str, *, is_operator: bool, room: int
    ) -> Iterator[PortalError]:
        if self.is_over(self.stacks, stacks + room):
            yield PortalError("stacks_full", limit=self.stacks, seconds=_STACK_GOES)
        yield from self._of_owner(connection, owner, is_operator=is_operator, room=room)
        yield from self._of_deployments(connection, owner, is_operator=is_operator, room=room)

    def _of_owner(self, connection: Connection, owner: str, *, is_operator: bool, room: int) -> Iterator[PortalError]:
        if owner and not is_operator and self.is_over(self.stacks_per_owner, count_stacks(connection, owner) + room):
            yield PortalError("stacks_of_owner", limit=self.stacks_per_owner, seconds=_STACK_GOES)

    def _of_deployments(
        self, connection: Connection, owner: str, *, is_operator: bool, room: int
    ) -> Iterator[PortalError]:
        if self.is_over(self.in_flight, _count_in_flight(connection) + room):
            yield PortalError("in_flight_full", limit=self.in_flight, seconds=_DEPLOYMENT_ENDS)
        if (
            owner
            and not is_operator
            and self.is_over(self.in_flight_per_owner, _count_in_flight(connection, owner) + room)
        ):
            yield PortalError("in_flight_of_owner", limit=self.in_flight_per_owner, seconds=_DEPLOYMENT_ENDS)

    @staticmethod
    def is_over(limit: int, count: int) -> bool:
        """Whether there are more than a limit allows."""
        return bool(limit) and count > limit

    @property
    def line(self) -> int:
        """How many stacks are so many that the operator is told; 0: none are."""
        return math.ceil(self.stacks * _NEAR)

    def is_near(self, stacks: int) -> bool:
        """Whether the places for stacks run out."""
        return bool(self.line) and stacks >= self.line


def count_stacks(connection: Connection, owner: str | None = None) -> int:
    """How many stacks hold their names; of one owner, or of all."""
    query = select(func.count()).select_from(schema.stack).where(schema.stack.c.removed_at.is_(None))
    if owner is not None:
        query = query.where(schema.stack.c.owner == owner)
    return int(connection.scalar(query) or 0)


def _count_in_flight(connection: Connection, owner: str | None = None) -> int:
    deployment = schema.deployment.c
    query = (
        select(func.count())
        .select_from(schema.deployment)
        .where(
            deployment.status != Status.COMPLETED,
            deployment.kind.not_in(kinds(lambda each: not each.counts_as_in_flight)),
        )
    )
    if owner is not None:
        # What counts has a stack that holds its name. SQLite would look through all that the owner ever had.
        stack = schema.stack.c
        query = query.join(schema.stack, stack.id == deployment.stack_id)
        query = query.where(stack.owner == owner, stack.removed_at.is_(None))
    return int(connection.scalar(query) or 0)
