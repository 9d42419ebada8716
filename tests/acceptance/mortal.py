"""Processes that are there to be killed: the real program, in a process of its own, with an environment of its own.

`Launcher` starts each as people do, by `python -m app`. `ForkingLauncher` forks each off a process that has imported the
program already, which spares a hundred restarts their imports: 1.4 of 1.6 s of processor time. That process is this
module, run by `python -m tests.acceptance.mortal`; what it forks is as real a process, and dies as truly.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DIE_WITH_PARENT = 1
# The program, and what it imports only once it serves.
_LOADED = (
    "app.cli",
    "app.sandbox",
    "alembic.command",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)


class Mortal:
    """One process that runs, or has run. output: where it says what it says."""

    def __init__(self, pid: int, output: Path, child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.output = output
        self._child = child
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    @property
    def is_alive(self) -> bool:
        return not self.ends_within(0)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end for so long, and say whether it came."""
        return self._descriptor is None or bool(select.select([self._descriptor], [], [], seconds)[0])

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            assert self.ends_within(10), "a killed process did not end"
            os.close(self._descriptor)
            self._descriptor = None
        if self._child is not None:
            self._child.wait(10)


class Launcher:
    """Starts `python -m app` with arguments, and with nothing of our own environment but what is given."""

    def start(self, arguments: Sequence[str], folder: Path, output: Path, **environment: str) -> Mortal:
        with output.open("ab") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", "app", *arguments],
                cwd=folder,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Mortal(child.pid, output, child)

    def close(self) -> None:
        """There is nothing to close."""


class ForkingLauncher(Launcher):
    """Forks the program off a process that has it loaded. For one thread; each has its own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.mortal"],
            cwd=ROOT,
            env=_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, arguments: Sequence[str], folder: Path, output: Path, **environment: str) -> Mortal:
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "output": str(output),
            "environment": _environment(environment),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        return Mortal(int(self._server.stdout.readline()), output)

    def close(self) -> None:
        """End the process and, with it, whatever it has forked."""
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._server.wait(10)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **given}


def _serve() -> None:
    """Fork a program for each line of standard input, and answer with its process id."""
    for module in _LOADED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the dead are not kept
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)


def _become(order: Mapping[str, object]) -> None:
    """Be the program, with its arguments and its environment, and never come back."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.chdir(str(order["folder"]))
        os.environ.clear()
        os.environ.update(dict(order["environment"]))  # type: ignore[call-overload]
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(str(order["output"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
        sys.argv = ["app", *list(order["arguments"])]  # type: ignore[call-overload]
        from app.cli import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve()
