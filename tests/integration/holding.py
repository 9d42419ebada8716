"""Moments of the test's own choice: what the emulator holds goes on when the test says so, and not after some time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from app.dokploy.connection import Connection
from tests.servers import AMPLE_SECONDS, Emulator, PortalServer
from tests.waiting import wait_until

UNHURRIED: Final[dict[str, Any]] = {
    "dokploy_timeout_seconds": AMPLE_SECONDS,
    "dokploy_patience_seconds": AMPLE_SECONDS,
    "deploy_appear_seconds": AMPLE_SECONDS,
    "deploy_timeout_seconds": AMPLE_SECONDS,
    "verify_timeout_seconds": AMPLE_SECONDS,
    "undo_timeout_seconds": AMPLE_SECONDS,
}
"""A portal's deadlines that are longer than any test waits, so that what ends there was ended by something else."""


def wait_for_held(emulator: Emulator, call: str, times: int = 1) -> None:
    """Wait until so many of these calls, or of the deployments they asked for, wait for `Emulator.release`."""
    wait_until(lambda: emulator.held(call) >= times, tell=lambda: emulator.state()["held"])


def connection_of(portal: PortalServer) -> Connection:
    """The one place through which a portal's calls to Dokploy pass."""
    connection: Connection = portal._app.state.portal.health._dokploy.connection
    return connection


@contextmanager
def deadlines(portal: PortalServer, **values: float) -> Iterator[None]:
    """Give a portal that runs these deadlines for as long as the block lasts: they are settings, read where they count.

    So one that is to end soon is set once all that has to happen before has happened, and for nothing else.
    """
    settings, connection = vars(portal.settings), connection_of(portal)
    before = {name: settings[name] for name in values}
    try:
        settings.update(values)
        connection.timeout = settings["dokploy_timeout_seconds"]
        yield
    finally:
        settings.update(before)
        connection.timeout = settings["dokploy_timeout_seconds"]
