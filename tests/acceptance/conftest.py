"""Fixtures of the acceptance tier: the portal as people start it, in processes of its own.

- `start`: starts a command in the background, with nothing of our own environment but what the test gives; each is ended
  with the test, and by its own id only.
- `start_replica`: starts one of several portals that share their settings; `replicas.py` has its verbs.
- `free_ports`: that many free ports in a row.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from tests.acceptance.replicas import Replica

ROOT = Path(__file__).parents[2]


class Process:
    """A command in the background, and what it has said."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], cwd: Path) -> None:
        # A folder of its own for temporary files, so that a test sees what is left in it.
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self._output = (folder / f"output-{time.monotonic_ns()}").open("w+")
        self._process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary), "LANG": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        self._output.flush()
        return Path(self._output.name).read_text()

    def answers(self, url: str, seconds: float = 30) -> httpx.Response:
        """Wait until an address answers 200."""
        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False, timeout=5) as client:
            while True:
                assert self._process.poll() is None, f"It ended by itself:\n{self.output}"
                try:
                    answer = client.get(url)
                    if answer.status_code == 200:
                        return answer
                except httpx.TransportError:
                    pass
                assert time.monotonic() < deadline, f"No answer at {url} within {seconds} s:\n{self.output}"
                time.sleep(0.05)

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end and give the exit status."""
        return self._process.wait(seconds)

    def terminate(self, seconds: float = 10, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end; give the exit status and the seconds that it took."""
        began = time.monotonic()
        self._process.send_signal(number)
        status = self._process.wait(seconds)
        return status, time.monotonic() - began

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._output.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def run(*command: str, cwd: Path = tmp_path, **environment: str) -> Process:
        process = Process(command, tmp_path, environment, cwd)
        started.append(process)
        return process

    yield run
    for process in started:
        process.end()


@pytest.fixture
def portal_command(start: Callable[..., Process]) -> Callable[..., Process]:
    """Start `python -m app` with arguments and an environment."""

    def run(*arguments: str, **environment: str) -> Process:
        return start(sys.executable, "-m", "app", *arguments, **{"PYTHONPATH": str(ROOT), **environment})

    return run


@pytest.fixture
def start_replica(portal_command: Callable[..., Process]) -> Iterator[Callable[..., Replica]]:
    started: list[Replica] = []

    def start_one(settings: Mapping[str, str], *arguments: str, **more: str) -> Replica:
        started.append(Replica(portal_command, {**settings, **more}, *arguments))
        return started[-1]

    yield start_one
    for replica in started:
        replica.client.close()


@pytest.fixture
def free_ports() -> Callable[[int], int]:
    return find_free_ports


def find_free_ports(count: int) -> int:
    """The first of so many free ports in a row, on every address of this machine."""
    # Tests that run beside this one look elsewhere.
    begin = 3110 + 80 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for first in range(begin, begin + 80, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, each in enumerate(sockets):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                each.bind(("0.0.0.0", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for each in sockets:
                each.close()
    raise AssertionError("no free ports")
