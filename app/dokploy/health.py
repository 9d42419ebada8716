"""Knows whether Dokploy answers, without asking it for every request that wants to know."""

import asyncio
from dataclasses import dataclass

from app.dokploy.circuit import State
from app.dokploy.client import DokployClient
from app.dokploy.errors import (
    DokployCircuitOpen,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
)


@dataclass(frozen=True)
class DokployHealth:
    """What is known: whether it answers, its version, what is wrong with it, and when it last answered (Unix time).

    circuit: `closed`, or `open` while it is left alone because it did not answer, or `half_open`: it is tried again;
    seconds_left: until it is asked again.
    """

    reachable: bool | None
    version: str | None
    trouble: str | None
    last_answer: float | None
    circuit: State
    seconds_left: int


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
        connection = self._dokploy.connection
        return DokployHealth(
            reachable=connection.reachable,
            version=self._version,
            trouble=self._trouble,
            last_answer=connection.last_answer,
            circuit=connection.circuit.state,
            seconds_left=connection.circuit.seconds_left,
        )

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            # While something is wrong its end is worth noticing soon.
            await asyncio.sleep(self._every if self._trouble is None else min(self._every, 2.0))

    async def ask(self) -> None:
        """Ask once."""
        try:
            self._version = await self._dokploy.version()
            self._trouble = None
        except DokployCircuitOpen:
            self._trouble = self._trouble or "unreachable"
        except DokployKeyRefused:
            self._trouble = "key_refused"
        except DokployDatabaseDown:
            self._trouble = "database_down"
        except DokployForbidden:
            self._trouble = "forbidden"
        except DokployError:
            self._trouble = "unreachable"
