"""Servers that the tests of one module share, where each of many cases needs no more of them than an empty Dokploy."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.sandbox import SandboxSettings, serve_in_thread
from app.settings import Settings
from tests.servers import Emulator, PortalServer, portal_settings, serve_portal, sqlite_url


@dataclass(frozen=True)
class Servers:
    """A portal and the emulator behind it."""

    portal: PortalServer
    emulator: Emulator


@pytest.fixture(scope="module")
def shared_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.lower() in Settings.model_fields or name.startswith("SANDBOX_"):
                patch.delenv(name)
        fast = SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=0)
        with serve_in_thread(fast) as url:
            settings = portal_settings(
                url,
                sqlite_url(tmp_path_factory.mktemp("shared")),
                dokploy_timeout_seconds=0.4,
                deploy_timeout_seconds=1.5,
                deploy_appear_seconds=1,
                verify_timeout_seconds=1,
                undo_timeout_seconds=1.5,
            )
            emulator = Emulator(url)
            with serve_portal(settings) as portal:
                yield Servers(portal, emulator)
            emulator.close()


@pytest.fixture
def servers(shared_servers: Servers) -> Servers:
    """The module's servers, with an empty Dokploy."""
    shared_servers.emulator.reset()
    return shared_servers
