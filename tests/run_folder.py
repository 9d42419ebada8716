"""A pytest plugin: one folder for everything that a run of the tests writes, and a look at what stays after it.

The folder is the run's TMPDIR, so that programs which the tests start use it too. At the end it is removed, and the run
fails if a process that it has started is still there. A new file elsewhere is named, since it may be an editor's; where
nothing else works on the machine, TEST_LEAVES_NOTHING=1 says that it fails the run too.
TEST_KEEP_FOLDER=1 keeps the folder, to look into what a failed test has left.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PREFIX: Final = "asd-tests-"
# Programs end a moment after the program that started them, a browser's above all.
_ENDING_SECONDS: Final = 20.0
_PR_SET_CHILD_SUBREAPER: Final = 36


class RunFolder:
    """The folder of one run, from the process that the person started; its workers inherit the environment."""

    def __init__(self) -> None:
        self._outer = Path(tempfile.gettempdir())
        self._before = set(self._files_elsewhere())
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # PostgreSQL runs as another user where the tests run as root; it may pass, and read nothing but its own.
        self.path.chmod(0o711)
        os.environ["TMPDIR"] = str(self.path)
        tempfile.tempdir = None
        self.processes: list[str] = []
        self.files: list[str] = []
        _adopt_orphans()

    def finish(self) -> None:
        """Look for what stays, end it, and remove the folder."""
        deadline = time.monotonic() + _ENDING_SECONDS
        while (found := list(_descendants())) and time.monotonic() < deadline:
            time.sleep(0.05)
        for number, command in found:
            self.processes.append(f"{number} {command}")
            os.kill(number, signal.SIGKILL)
        os.environ["TMPDIR"] = str(self._outer)
        tempfile.tempdir = None
        if os.environ.get("TEST_KEEP_FOLDER") != "1":
            shutil.rmtree(self.path)
        # Where they fail the run, what another run has for a moment (initdb does, in /dev/shm) is told from what stays.
        while _is_strict() and self._new_files_elsewhere() and time.monotonic() < deadline:
            time.sleep(1)
        self.files = self._new_files_elsewhere()

    def _new_files_elsewhere(self) -> list[str]:
        return sorted(set(self._files_elsewhere()) - self._before)

    def _files_elsewhere(self) -> Iterator[str]:
        """Yield what lies where programs write without being asked: temporary files, the home, and the checkout."""
        home = Path.home()
        places = {self._outer, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")}
        places |= {home, home / ".cache", home / ".config", home / ".local/share", home / ".local/state"}
        owners = {os.getuid(), pwd.getpwnam("nobody").pw_uid} if os.getuid() == 0 else {os.getuid()}
        for place in places:
            try:
                entries = list(os.scandir(place))
            except OSError:
                continue
            for entry in entries:
                # Another run has a folder of its own, and looks after it.
                if not entry.name.startswith(PREFIX) and entry.stat(follow_symlinks=False).st_uid in owners:
                    yield entry.path
        if (ROOT / ".git").exists() and shutil.which("git"):
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--others", "--exclude-standard"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            yield from (str(ROOT / name) for name in listed.stdout.split("\0") if name)


def _adopt_orphans() -> None:
    """Become the parent of every process whose parent ends, so that each can be found; where the kernel is Linux."""
    if Path("/proc/self/stat").exists():
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _descendants() -> Iterator[tuple[int, str]]:
    """Yield the number and the command line of each living process that this one has started, or one of these."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything: the state, and the parent.
            state, parent = entry.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.parent.name)] = int(parent)
    for number, parent_of_it in parents.items():
        above = parent_of_it
        while above not in {0, os.getpid()}:
            above = parents.get(above, 0)
        if above:
            try:
                words = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            yield number, words.decode(errors="replace").strip()


_FOLDER: Final = pytest.StashKey[RunFolder]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the folder before anything asks where temporary files go."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.stash[_FOLDER] = RunFolder()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Look once the workers have ended, and before the summary is written."""
    yield
    if folder := session.config.stash.get(_FOLDER, None):
        folder.finish()
        if (folder.processes or (folder.files and _is_strict())) and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what stays."""
    folder = config.stash.get(_FOLDER, None)
    if folder is None:
        return
    for what, found in (("Processes", folder.processes), ("Files outside the run's folder", folder.files)):
        if found:
            terminalreporter.section(f"{what} that stay after the tests")
            for each in found:
                terminalreporter.write_line(each)


def _is_strict() -> bool:
    return os.environ.get("TEST_LEAVES_NOTHING") == "1"
