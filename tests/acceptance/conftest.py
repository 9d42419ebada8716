"""Fixtures of the acceptance tier: the portal in processes of its own, each ended with its test, by its own id only.

- `start`: starts a command in the background, with nothing of our own environment but what the test gives.
- `portal_command`: starts `python -m app` with arguments, forked off a process that has imported it already.
- `fresh_portal_command`: the same in an interpreter of its own, as people start it.
- `start_replica`: starts one of several portals that share their settings; `replicas.py` has its verbs.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from tests.acceptance.process import ForkingLauncher, Launcher, Process, start_process
from tests.acceptance.replicas import Replica

PortalCommand = Callable[..., Process]


class Started:
    """The processes of one test, with a folder of their own for temporary files, so that it sees what is left there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._numbers = count(1)
        self._all: list[Process] = []

    def command(self, *command: str, cwd: Path | None = None, **environment: str) -> Process:
        """Start any command."""
        more = {"TMPDIR": str(self.temporary), **environment}
        return self._keep(start_process(command, cwd or self.folder, self._log(), more))

    def by(self, launcher: Launcher) -> PortalCommand:
        """Return what starts the portal's program."""

        def run(*arguments: str, **environment: str) -> Process:
            more = {"TMPDIR": str(self.temporary), **environment}
            return self._keep(launcher.start(arguments, self.folder, self._log(), **more))

        return run

    def end(self) -> None:
        """Make sure that all are gone."""
        for process in self._all:
            process.kill()

    def _log(self) -> Path:
        return self.folder / f"output-{next(self._numbers)}"

    def _keep(self, process: Process) -> Process:
        self._all.append(process)
        return process


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    processes = Started(tmp_path)
    yield processes
    processes.end()


@pytest.fixture(scope="session")
def forking_launcher() -> Iterator[ForkingLauncher]:
    launcher = ForkingLauncher()
    yield launcher
    launcher.close()


@pytest.fixture
def start(started: Started) -> Callable[..., Process]:
    return started.command


@pytest.fixture
def portal_command(started: Started, forking_launcher: ForkingLauncher) -> PortalCommand:
    return started.by(forking_launcher)


@pytest.fixture
def fresh_portal_command(started: Started) -> PortalCommand:
    return started.by(Launcher())


@pytest.fixture
def start_replica(portal_command: PortalCommand) -> Iterator[Callable[..., Replica]]:
    started: list[Replica] = []

    def start_one(settings: Mapping[str, str], *arguments: str, **more: str) -> Replica:
        started.append(Replica(portal_command, {**settings, **more}, *arguments))
        return started[-1]

    yield start_one
    for replica in started:
        replica.client.close()
