"""Knows whether Dokploy answers, without asking it for every request that wants to know."""

import asyncio
from dataclasses import dataclass

from app.dokploy.client import DokployClient
from app.dokploy.errors import DokployDatabaseDown, DokployError, DokployForbidden, DokployKeyRefused


@dataclass(frozen=True)
class DokployHealth:
    """What is known: whether it answers, its version, what is wrong with it, and when it last answered (Unix time)."""

    reachable: bool | None
    version: str | None
    trouble: str | None
    last_answer: float | None


class HealthWatch:
    """Asks for Dokploy's version now and then; every other call tells as well."""

    def __init__(self, dokploy: DokployClient, *, every: float = 30.0) -> None:
        """`every`: seconds between two questions."""
        self._dokploy = dokploy
        self._every = every
        self._version: str | None = None
        self._trouble: str | None = None

    @property
    def now(self) -> DokployHealth:
        """What is known now."""
        return DokployHealth(self._dokploy.reachable, self._version, self._trouble, self._dokploy.last_answer)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            # While something is wrong its end is worth noticing soon.
            await asyncio.sleep(self._every if self._trouble is None else min(self._every, 5.0))

    async def ask(self) -> None:
        """Ask once."""
        try:
            self._version = await self._dokploy.version()
            self._trouble = None
        except DokployKeyRefused:
            self._trouble = "key_refused"
        except DokployDatabaseDown:
            self._trouble = "database_down"
        except DokployForbidden:
            self._trouble = "forbidden"
        except DokployError:
            self._trouble = "unreachable"
