"""The janitor: retries the removal of leftovers until they are gone or need an operator."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from app.errors import PortalError
from app.observation.leftovers import Leftover, Leftovers
from app.stacks.model import StackRecord
from app.store.errors import StoreAway

log = structlog.get_logger()

# How often the list is looked at; what is due waits at most so long.
_LOOK_SECONDS: Final = 5.0

Retry = Callable[[StackRecord], Awaitable[str]]


class Janitor:
    """Queues the removal of what is due. Several portals may do so: a stack has one open deployment at a time."""

    def __init__(self, leftovers: Leftovers, retry: Retry, *, first_pause: float, may_act: Callable[[], bool]) -> None:
        """`retry` queues a removal; `may_act`: whether this process is to retry anything now."""
        self._leftovers = leftovers
        self._retry = retry
        self._every = min(_LOOK_SECONDS, first_pause / 2)
        self._may_act = may_act
        self._reported: set[Leftover] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            if not self._may_act():
                continue
            try:
                await self._queue_what_is_due()
                await self._report_stuck()
            except StoreAway as error:
                log.warning("store_away", reason=str(error))

    async def _queue_what_is_due(self) -> None:
        for stack in await self._leftovers.due():
            try:
                deployment_id = await self._retry(stack)
            except PortalError as error:
                # Somebody else has begun to change the stack, or it is gone, since the list was read.
                log.info("leftovers_not_due", stack_name=stack.name, code=error.code)
            else:
                log.info("leftovers_tried_again", stack_name=stack.name, deployment=deployment_id)

    async def _report_stuck(self) -> None:
        """Log what is not retried any more, once in each process, so that an alert can find it."""
        stuck = set(await self._leftovers.stuck())
        for each in sorted(stuck - self._reported, key=lambda each: (each.stack, each.kind)):
            log.error("leftover_needs_operator", stack_name=each.stack, kind=each.kind, name=each.name, code=each.code)
        self._reported = stuck
