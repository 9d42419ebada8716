"""What the steps of a creation share: how they fail, and how a resource is created exactly once."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from app.deployments.states import ResourceState, Status
from app.dokploy import DokployError, DokployServerError
from app.engine.context import RunContext, dokploy_blamed
from app.engine.saga import Outcome
from app.operations.steps.cleanup import Cleanup

T = TypeVar("T")


class CreateStep:
    """What the steps of a creation share."""

    name = ""
    needs: tuple[str, ...] = ()
    intends: tuple[str, ...] = ()
    status: Status = Status.PREPARE
    undoable = True

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.plan = context.plan
        self.dokploy = context.dokploy
        self.cleanup = Cleanup(context)

    async def run(self) -> Outcome:
        """Do the work, with Dokploy's failures as problems, unless the run was cancelled before."""
        await self.context.clock.check_canceled()
        async with dokploy_blamed():
            return await self.work()

    async def work(self) -> Outcome:
        """Do the work."""
        raise NotImplementedError

    async def compensate(self) -> Outcome:
        """Undo the work, with Dokploy's failures as problems."""
        async with dokploy_blamed():
            return await self.undo()

    async def undo(self) -> Outcome:
        """Remove what the work made, or may have made."""
        return Outcome()

    @property
    def application_id(self) -> str:
        """Dokploy's id of the application, once it is there."""
        return self.context.resource("application").dokploy_id or ""

    async def find_or_create(
        self, kind: str, find: Callable[[], Awaitable[Sequence[T]]], create: Callable[[], Awaitable[T]]
    ) -> T | None:
        """Create a resource exactly once, although nothing over there is unique and answers get lost.

        find: the resources that bear our marker, oldest first. Returns None where this run has made it already.
        After an uncertain create its deadline is waited out before looking: it may land late.
        """
        if self.context.resource(kind).state is ResourceState.PRESENT:
            if self.context.run.operation.begins_stack:
                return None
            # An earlier run made it, and much can have happened since.
            if found := await find():
                return found[0]
        if self.context.doubts.is_open(kind) and (found := await self._find_in_doubt(kind, find)):
            return found[0]
        for last_try in (False, True):
            began = time.monotonic()
            try:
                return await create()
            except DokployError as error:
                if not error.uncertain:
                    raise
                self.context.doubts.add(kind, began)
                if isinstance(error, DokployServerError):  # it has answered, so it is no longer at it
                    self.context.doubts.clear(kind)
                if found := await self._find_in_doubt(kind, find):
                    return found[0]
                if last_try or isinstance(error, DokployServerError):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _find_in_doubt(self, kind: str, find: Callable[[], Awaitable[Sequence[T]]]) -> Sequence[T]:
        """Look at once, and if there is nothing, again when it can no longer land."""
        found = await find()
        if not found and self.context.doubts.is_open(kind):
            await self.context.doubts.wait_out(kind)
            found = await find()
        return found
