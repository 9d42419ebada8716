"""The real program in processes of its own, each with an environment of its own, and what tests do to them.

`Launcher` starts each as people do, by `python -m app`. `ForkingLauncher` forks each off a process that has imported the
program already, which spares a hundred starts their imports: 1.4 of 1.6 s of processor time. That process is this
module, run by `python -m tests.acceptance.process`; what it forks is as real a process, ends as any other, and dies as
truly.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from app.cli import COMMANDS, main
from tests.servers import http_client
from tests.waiting import WAIT_SECONDS, wait_until

ROOT: Final = Path(__file__).parents[2]
_DIE_WITH_PARENT: Final = 1
# The program, and what it imports only once it serves.
_LOADED: Final = (
    *{f"app.cli.{module}" for module in COMMANDS.values()},
    "app.sandbox",
    "alembic.command",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "httptools",
    "uvicorn",
    "uvloop",
)


class Process:
    """One process that runs, or has run. log: the file that takes all it says."""

    def __init__(self, pid: int, log: Path, status: Callable[[], int]) -> None:
        """`status`: gives the exit status of a process that has ended, and forgets it; a signal's number is negative."""
        self.pid = pid
        self.log = log
        self._ask_status = status
        self._status: int | None = None
        # It is there at least as a zombie until its status has been asked for.
        self._descriptor = os.pidfd_open(pid)

    @property
    def output(self) -> str:
        """All that it has said."""
        return self.log.read_text()

    @property
    def is_alive(self) -> bool:
        return not self.ends_within(0)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end for so long, and say whether it came."""
        if self._status is None and select.select([self._descriptor], [], [], seconds)[0]:
            self._status = self._ask_status()
            os.close(self._descriptor)
        return self._status is not None

    def answers(self, url: str) -> httpx.Response:
        """Wait until an address answers 200. Raises ConnectError where the process ends before."""
        with http_client() as client:

            def answer() -> httpx.Response | None:
                with contextlib.suppress(httpx.TransportError):
                    found = client.get(url)
                    return found if found.status_code == httpx.codes.OK else None
                if not self.is_alive:
                    raise httpx.ConnectError(f"It ended by itself:\n{self.output}")
                return None

            return wait_until(answer, tell=lambda: f"{url}\n{self.output}", pause=0.02)

    def says(self, words: str) -> None:
        """Wait until its output has these words."""

        def said() -> bool:
            assert self.is_alive or words in self.output, f"It ended by itself:\n{self.output}"
            return words in self.output

        wait_until(said, tell=lambda: self.output, pause=0.05)

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        assert self.ends_within(WAIT_SECONDS), f"It did not end:\n{self.output}"
        assert self._status is not None
        return self._status

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and return the exit status."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone; once it has ended that is nothing."""
        self.terminate(signal.SIGKILL)


def start_process(command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a command in a folder, with nothing of our own environment but what is given."""
    with log.open("ab") as file:
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(child.pid, log, child.wait)


class Launcher:
    """Starts `python -m app` with arguments, and with nothing of our own environment but what is given."""

    def start(self, arguments: Sequence[str], folder: Path, log: Path, **environment: str) -> Process:
        return start_process(
            [sys.executable, "-m", "app", *arguments], folder, log, {"PYTHONPATH": str(ROOT), **environment}
        )

    def close(self) -> None:
        """There is nothing to close."""


class ForkingLauncher(Launcher):
    """Forks the program off a process that has it loaded."""

    def __init__(self, *also: str) -> None:
        """`also`: modules that it has loaded besides, and that change the program by their `register`."""
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.process", *also],
            cwd=ROOT,
            env=_environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, arguments: Sequence[str], folder: Path, log: Path, **environment: str) -> Process:
        log.touch()
        pid = self._ask(
            arguments=list(arguments), folder=str(folder), log=str(log), environment=_environment(environment)
        )
        return Process(pid, log, lambda: self._ask(ended=pid))

    def close(self) -> None:
        """End the process and, with it, whatever it has forked."""
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._server.wait(WAIT_SECONDS)

    def _ask(self, **order: Any) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self._lock:
            self._server.stdin.write(json.dumps(order).encode() + b"\n")
            self._server.stdin.flush()
            return int(self._server.stdout.readline())


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **given}


def _serve() -> None:
    """Answer each line of standard input: with the number of a process that is forked, or an ended one's status."""
    for module in _LOADED:
        importlib.import_module(module)
    for module in sys.argv[1:]:
        importlib.import_module(module).register()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "ended" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1]), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            _become(order)


def _become(order: Mapping[str, Any]) -> None:
    """Be the program, with its arguments and its environment, and end as it does."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    tempfile.tempdir = None
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    sys.argv = ["app", *order["arguments"]]
    main()
    sys.exit()


if __name__ == "__main__":
    _serve()
