"""The health of Dokploy: whether it answers and accepts our calls, cached between requests."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from app.dokploy.circuit import State
from app.dokploy.client import DokployClient
from app.dokploy.compatibility import Misfit, find_misfits
from app.dokploy.errors import (
    DokployCircuitOpen,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
)

log = structlog.get_logger()


@dataclass(frozen=True)
class DokployHealth:
    """What is known: whether it answers, its version, what is wrong with it, and when it last answered (Unix time).

    circuit: `closed`, or `open` while it is left alone because it did not answer, or `half_open`: it is tried again;
    seconds_left: until it is asked again; incompatible: calls of ours that this version would not take; None while that
    is not known.
    """

    reachable: bool | None
    version: str | None
    trouble: str | None
    last_answer: float | None
    circuit: State
    seconds_left: int
    incompatible: tuple[Misfit, ...] | None


class HealthWatch:
    """Asks for Dokploy's version now and then; every other call tells as well. A new version has its calls compared."""

    def __init__(self, dokploy: DokployClient, *, every: float = 30.0, compare_again: float = 600.0) -> None:
        """`every`: seconds between two questions; `compare_again`: after which misfits are looked for anew.

        What answered may have been a server that was still starting, or a proxy in front of it.
        """
        self._dokploy = dokploy
        self._every = every
        self._compare_again = compare_again
        self._version: str | None = None
        self._trouble: str | None = None
        self._misfits: tuple[Misfit, ...] | None = None
        self._compared: str | None = None
        self._compared_at = 0.0

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
            incompatible=self._misfits,
        )

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            # While something is wrong its end is worth noticing soon.
            await asyncio.sleep(self._every if self._trouble is None else min(self._every, 2.0))

    async def ask(self) -> None:
        """Ask once, and compare the calls when the version is new."""
        try:
            self._version = await self._dokploy.version()
            self._trouble = None
            await self._compare(self._version)
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

    async def _compare(self, version: str) -> None:
        """Log each call of ours that does not fit. A server that cannot be asked now is asked the next time."""
        is_new = version != self._compared
        if not is_new and not (self._misfits and time.monotonic() - self._compared_at >= self._compare_again):
            return
        if is_new:
            self._misfits = self._compared = None
        try:
            found = await find_misfits(self._dokploy)
        except DokployError as error:
            log.info("dokploy_not_compared", call=error.call, status=error.status)
            return
        for misfit in found:
            if misfit not in (self._misfits or ()):
                log.warning("dokploy_call_does_not_fit", call=misfit.call, why=misfit.why, version=version)
        self._misfits, self._compared, self._compared_at = found, version, time.monotonic()
