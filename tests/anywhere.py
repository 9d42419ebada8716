"""`make test-anywhere`: runs the tests as other people run them, and prints what became of each run.

Every situation is a clone of the newest commit and a run of `make test` in it: as another user, from a folder with a
strange name, twice at once, on a busy machine. Each run has an order of its own, and no, two or three workers; runs
that are about nothing else make the orders twenty. Situations that need another user need root. A whole round takes
hours; name situations to choose some, and `--list` shows them.
"""

import argparse
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# Two accounts that every Debian and Ubuntu has, and that own nothing.
_USERS: Final = ("games", "irc")
_PLAIN_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LOAD: Final = 20
# Ends by itself, should this script be killed.
_LOOP: Final = "import time\nend = time.monotonic() + 10_800\nwhile time.monotonic() < end: pass"
_ORDERS: Final = 20
_WORKERS: Final = (3, 2, 0)
_WORKERS_UNDER_LOAD: Final = 5
_PYTHONS: Final = ("python3.11", "python3.12", "python3.13")
_ENDED: Final = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")


@dataclass(frozen=True)
class Situation:
    """How one run of the tests is started."""

    name: str
    user: str | None = None
    folder: str = "clone"
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    """A Python to make a virtual environment of the run's own with; None for the one that runs share."""
    load: int = 0
    """How many busy loops run beside it."""
    at_once: int = 1
    """How many clones run it at the same time."""
    seed: int = 1
    """Of the order of the tests; each clone after the first one takes the next."""

    def workers(self, number: int) -> int:
        """How many run side by side in a clone; under a load as many as `make test` has, since it takes long as it is."""
        return _WORKERS_UNDER_LOAD if self.load else _WORKERS[(self.seed + number) % len(_WORKERS)]

    def title(self, number: int) -> str:
        """Return the name of one clone's run."""
        return f"{self.name} (seed {self.seed + number}, -n {self.workers(number)})"


@dataclass
class Outcome:
    """What became of one run. seconds: of the clock; cpu: of processors, children included."""

    name: str
    status: int
    counts: dict[str, int]
    seconds: float
    cpu: float

    def row(self) -> str:
        """Return its line of the table."""
        failed = self.counts.get("failed", 0) + self.counts.get("error", 0) + self.counts.get("errors", 0)
        passed, skipped = self.counts.get("passed", 0), self.counts.get("skipped", 0)
        verdict = "green" if self.status == 0 and passed else "RED"
        minutes = self.seconds / 60
        return f"{self.name:46} {passed:7} {failed:7} {skipped:8} {minutes:8.1f} {self.cpu:8.0f}  {verdict}"


def situations() -> Iterator[Situation]:
    """Yield all of them, in the order in which they run, and then orders until there are enough."""
    seed = 1
    for situation in _particular():
        yield replace(situation, seed=seed)
        seed += situation.at_once
    for number in range(seed, _ORDERS + 1):
        yield Situation("nothing but another order", seed=number)


def _particular() -> Iterator[Situation]:
    here = "python3"
    yield Situation("a fresh clone", python=here)
    yield Situation("an ordinary user", user=_USERS[0], python=here, environment={"PATH": _PLAIN_PATH})
    # An environment of his own as well: the shared one may use a Python that only its owner can reach.
    yield Situation("the second user", user=_USERS[1], python=here, environment={"PATH": _PLAIN_PATH})
    yield Situation("a space and an umlaut", folder="my größter clone", python=here)
    yield Situation(
        "proxy, language, time zone",
        environment={
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "LANG": "tr_TR.UTF-8",
            "TZ": "Asia/Kolkata",
        },
    )
    yield Situation("twice at once", at_once=2)
    for python in _PYTHONS:
        if _version(python) not in {"", _version(here)}:
            yield Situation(python, python=python)
    for number in range(1, 4):
        yield Situation(f"a load of {_LOAD}, {number}", load=_LOAD)


def _version(python: str) -> str:
    """Return what a Python says of itself, or nothing where there is none."""
    done = subprocess.run(["sh", "-c", f"{python} --version"], capture_output=True, text=True, check=False)
    return done.stdout


class Ground:
    """A folder for all clones, with the virtual environment that they share, and users who may enter it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.shared = folder / "venv"

    def make_shared(self) -> None:
        """Make the virtual environment that most runs share: it is not what they are about."""
        clone = self.clone("shared", None)
        command = ["make", "--silent", "setup", f"VENV={self.shared}"]
        with (self.folder / "setup.log").open("w") as log:
            subprocess.run(command, cwd=clone, check=True, stdout=log, stderr=log)

    def clone(self, name: str, user: str | None) -> Path:
        """Clone the newest commit into a folder of its own, and give it to a user."""
        place = Path(tempfile.mkdtemp(dir=self.folder)) / name
        place.parent.chmod(0o755)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(place)], check=True)
        if user:
            subprocess.run(["chown", "-R", f"{user}:", str(place.parent)], check=True)
        return place

    def run(self, situation: Situation, number: int) -> Outcome:
        """Run the tests in a clone, and remove it."""
        clone = self.clone(situation.folder, situation.user)
        home = clone.parent
        arguments = f"-n {situation.workers(number)} --randomly-seed={situation.seed + number}"
        command = ["make", "--silent", "test", f"PYTEST_ARGS={arguments}"]
        # The shared environment is older than the files of a clone, and yet right.
        shared = [f"VENV={self.shared}", f"--assume-old={self.shared}/.dev"]
        command += [f"PYTHON={situation.python}"] if situation.python else shared
        if situation.user:
            account = pwd.getpwnam(situation.user)
            command = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", *command]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TEST_LEAVES_NOTHING": "1"}
        # Where packages come from is the machine's affair, not a situation.
        environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        log = self.folder / f"seed-{situation.seed + number}.log"
        began = time.monotonic()
        with log.open("w") as output, busy(situation.load):
            process = subprocess.Popen(
                command,
                cwd=clone,
                env={**environment, **situation.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        lines = log.read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if " in " in line and _ENDED.search(line)), "")
        counts = {what: int(count) for count, what in _ENDED.findall(last)}
        shutil.rmtree(clone.parent)
        return Outcome(
            situation.title(number),
            process.returncode,
            counts,
            time.monotonic() - began,
            usage.ru_utime + usage.ru_stime,
        )


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep the processors busy for as long as the block lasts."""
    with ExitStack() as stack:
        for _ in range(loops):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _LOOP]))
            stack.callback(process.kill)
        yield


def files_alone(ground: Ground) -> Outcome:
    """Run each file of tests alone, in a process of its own."""
    clone = ground.clone("files", None)
    total = Outcome("each file alone", 0, {}, 0.0, 0.0)
    for path in sorted((clone / "tests").rglob("test_*.py")):
        if "browser" in path.parts:
            continue
        name = path.relative_to(clone)
        began = time.monotonic()
        command = [
            str(ground.shared / "bin/python"),
            "-m",
            "pytest",
            "-q",
            "-m",
            "not extended",
            str(name),
        ]
        log = ground.folder / f"file-{'-'.join(name.parts)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=clone, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in {0, 5}:  # 5: all of its tests are of another tier
            total.status = process.returncode
            print(f"  {name}: see {log}", flush=True)
        for count, what in _ENDED.findall(log.read_text(errors="replace").splitlines()[-1]):
            total.counts[what] = total.counts.get(what, 0) + int(count)
        total.seconds += time.monotonic() - began
        total.cpu += usage.ru_utime + usage.ru_stime
    shutil.rmtree(clone.parent)
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the situations and print the table; exit status 1 unless all are green."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="situations to run; a part of a name is enough; all by default")
    parser.add_argument("--list", action="store_true", help="list the situations and run none")
    given = parser.parse_args(arguments)
    wanted = [each for each in situations() if _is_wanted(each.title(0), given.names)]
    alone = _is_wanted("each file alone", given.names)
    if given.list:
        print("\n".join([each.title(0) for each in wanted] + ["each file alone"] * alone))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="asd-anywhere-"))
    ground = Ground(folder)
    ground.make_shared()
    print(f"Logs: {folder}\n{'situation':46} {'passed':>7} {'failed':>7} {'skipped':>8} {'minutes':>8} {'CPU s':>8}")
    outcomes: list[Outcome] = []
    for situation in wanted:
        if situation.user and os.geteuid() != 0:
            print(f"{situation.name:46} not run: needs root", flush=True)
            continue
        with ThreadPoolExecutor(situation.at_once) as pool:
            for outcome in pool.map(_run(ground, situation), range(situation.at_once)):
                outcomes.append(outcome)
                print(outcome.row(), flush=True)
    if alone:
        outcomes.append(files_alone(ground))
        print(outcomes[-1].row(), flush=True)
    return int(any(each.status for each in outcomes))


def _run(ground: Ground, situation: Situation) -> Callable[[int], Outcome]:
    return lambda number: ground.run(situation, number)


def _is_wanted(name: str, asked: Sequence[str]) -> bool:
    return not asked or any(each in name for each in asked)


if __name__ == "__main__":
    sys.exit(main())
