"""Tries again to remove what was left over, by itself, until it is gone; each try is a deployment with a record."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from app.audit import PORTAL
from app.errors import PortalError
from app.observation.leftovers import Leftovers
from app.stacks.model import StackRecord
from app.stacks.requester import Requester
from app.store.engine import StoreAway

log = structlog.get_logger()

# How often the list is looked at; what is due waits at most so long.
_LOOK_SECONDS: Final = 5.0


Remove = Callable[[StackRecord, None, Requester], Awaitable[str]]


class Janitor:
    """Queues the removal of what is due. Several portals may do so: a stack has one open deployment at a time."""

    def __init__(
        self, leftovers: Leftovers, remove: Remove, *, first_pause: float, is_active: Callable[[], bool]
    ) -> None:
        """`remove` queues a removal; `is_active`: whether this process runs deployments at all."""
        self._leftovers = leftovers
        self._remove = remove
        self._every = min(_LOOK_SECONDS, first_pause / 2)
        self._is_active = is_active

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            if not self._is_active():
                continue
            try:
                await self._queue_what_is_due()
            except StoreAway as error:
                log.warning("store_away", reason=str(error))

    async def _queue_what_is_due(self) -> None:
        for stack in await self._leftovers.due():
            try:
                deployment_id = await self._remove(stack, None, Requester(stack.owner, PORTAL, "portal"))
            except PortalError as error:
                # Somebody else has begun to change the stack, or it is gone, since the list was read.
                log.info("leftovers_not_due", stack_name=stack.name, code=error.code)
            else:
                log.info("leftovers_tried_again", stack_name=stack.name, deployment=deployment_id)
