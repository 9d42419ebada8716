"""The crash matrix: the program is killed at every point that it names itself, started again, and held to what is left.

Which points there are is found out by a run of each scenario that only writes them down; then each is one trial, see
`trial.py`. `python -m tests.acceptance.matrix` tries them all and prints a report; `--help` says how to try one.
"""

import argparse
import random
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from tests.acceptance.bench import Bench, Store
from tests.acceptance.process import ForkingLauncher, Launcher
from tests.acceptance.scenarios import NAMES, SCENARIOS, Scenario, chosen_scenarios
from tests.acceptance.trial import Verdict, enumerate_points, try_point
from tests.postgresql import serve_postgresql

T = TypeVar("T")
R = TypeVar("R")

DATABASES: Final = ("sqlite", "postgresql")


@dataclass
class Matrix:
    """Every verdict, and how many points there were by scenario and database."""

    points: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def violations(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.wrong]

    def report(self) -> str:
        """The violations, and a table of what was tried."""
        lines = []
        for verdict in self.violations:
            lines.append(f"{verdict.scenario.title} | {verdict.database} | {verdict.failpoints}")
            lines += [f"    {kind}: {what}" for kind, what in verdict.wrong]
        kinds = ("orphans", "duplicates", "lost", "repeated")
        table = [["scenario", "database", "points", "tried", "reached", "violations", *kinds]]
        for name, database in sorted(self.points, key=lambda row: (NAMES.index(row[0]), row[1])):
            tried = [each for each in self.verdicts if (each.scenario.name, each.database) == (name, database)]
            table.append([name, database, *self._counted(self.points[name, database], tried, kinds)])
        table.append(["in all", "", *self._counted(self.points.total(), self.verdicts, kinds)])
        widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
        for cells in table:
            padded = [
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
        lines.append(f"{self.seconds:.0f} s")
        return "\n".join(lines)

    @staticmethod
    def _counted(points: int, tried: Sequence[Verdict], kinds: Sequence[str]) -> list[str]:
        found = Counter(kind for verdict in tried for kind in {kind for kind, _ in verdict.wrong})
        counts = [points, len(tried), sum(verdict.died for verdict in tried), sum(bool(each.wrong) for each in tried)]
        return [str(number) for number in (*counts, *(found[kind] for kind in kinds))]


class Benches:
    """So many benches, each lent to one trial at a time."""

    def __init__(self, number: int, launcher: Callable[[], Launcher]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="matrix-")
        self._pool = ThreadPoolExecutor(number)
        self._free: SimpleQueue[Bench] = SimpleQueue()
        self._all: list[Bench] = []
        folders = [Path(self._folder.name) / str(each) for each in range(number)]
        for folder in folders:
            folder.mkdir()
        self._all = list(self._pool.map(lambda folder: Bench(folder, launcher()), folders))
        for bench in self._all:
            self._free.put(bench)

    def map(self, work: Callable[[Bench, T], R], items: Sequence[T]) -> list[R]:
        """Do the work for each item, on a bench of its own; results in order."""

        def do(item: T) -> R:
            bench = self._free.get()
            try:
                return work(bench, item)
            finally:
                self._free.put(bench)

        return list(self._pool.map(do, items))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for bench in self._all:
            bench.close()
        self._folder.cleanup()


def run_matrix(
    stores: Mapping[str, Store],
    scenarios: Sequence[Scenario],
    *,
    point: str | None = None,
    sample: int | None = None,
    workers: int = 5,
    launcher: Callable[[], Launcher] = ForkingLauncher,
    tell: Callable[[Verdict], None] = lambda verdict: None,
) -> Matrix:
    """Try each point of the scenarios on each store; `point`: only this one; `sample`: so many of each name, spread.

    Each is tried in both ways: the process dies at once on one database, and is held for a moment on the other.
    """
    began = time.monotonic()
    matrix = Matrix()
    pairs = [(scenario, database) for scenario in scenarios for database in stores]
    benches = Benches(workers, launcher)

    def enumerate_one(bench: Bench, pair: tuple[Scenario, str]) -> tuple[list[str], Verdict | None]:
        scenario, database = pair
        if point:
            return [point if point.startswith(_WAYS) else f"kill:{point}"], None
        points, wrong = enumerate_points(bench, scenario, stores[database], database)
        return [f"{_way(each, database)}:{each}" for each in points], wrong

    def judge(bench: Bench, trial: tuple[Scenario, str, Sequence[str]]) -> Verdict:
        scenario, database, wheres = trial
        for where in wheres:
            verdict = try_point(bench, scenario, stores[database], database, where)
            tell(verdict)
            if verdict.died or verdict.wrong:
                break
        return verdict

    try:
        trials: dict[tuple[str, str], list[tuple[Scenario, str, Sequence[str]]]] = defaultdict(list)
        for (scenario, database), (points, wrong) in zip(pairs, benches.map(enumerate_one, pairs), strict=True):
            matrix.verdicts += [wrong] if wrong else []
            # Of a sample each is to count: where a poll less has happened, a point far before it takes its place.
            places = [[place] if sample is None else [place, place // 2, place // 4] for place in range(len(points))]
            trials[scenario.name, database] += [(scenario, database, [points[at] for at in each]) for each in places]
        matrix.points.update({row: len(those) for row, those in trials.items()})
        chosen = [trial for those in trials.values() for trial in _spread(those, sample)]
        # Mixed, because some wait for most of their time and others compute.
        random.Random(1).shuffle(chosen)
        matrix.verdicts += benches.map(judge, chosen)
    finally:
        benches.close()
    matrix.seconds = time.monotonic() - began
    return matrix


_WAYS: Final = ("kill:", "hold:")


def _way(point: str, database: str) -> str:
    """How the process dies at a point: on the other database it is the other way."""
    return ("kill", "hold")[(zlib.crc32(point.encode()) + DATABASES.index(database)) % 2]


def _spread(items: Sequence[T], number: int | None) -> Sequence[T]:
    """So many of them, one out of each stretch, and always the same; all of them for None."""
    if number is None or number >= len(items):
        return items
    # Every second point lies before something, so that a regular stride would see one half only.
    dice = random.Random(number)
    return [items[int((place + dice.random()) * len(items) / number)] for place in range(number)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.matrix", description="The crash matrix.")
    parser.add_argument("--scenario", action="append", default=[], choices=[*NAMES, *SCENARIOS], metavar="NAME")
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one")
    parser.add_argument("--point", help="only this one, with the portal's log, as 'kill:after project.create#1'")
    parser.add_argument("--sample", type=int, help="so many points of each scenario, instead of all")
    parser.add_argument("--workers", type=int, default=5, help="trials at once (5)")
    given = parser.parse_args()

    def tell(verdict: Verdict) -> None:
        mark = "WRONG" if verdict.wrong else "ok" if verdict.died else "not reached"
        where = f"{verdict.scenario.title} | {verdict.database} | {verdict.failpoints}"
        print(f"{mark:11} {verdict.seconds:5.1f} s  {where} -> {verdict.conclusion}", flush=True)
        if given.point:
            print(verdict.log)

    def run(stores: Mapping[str, Store]) -> Matrix:
        scenarios = chosen_scenarios(given.scenario)
        return run_matrix(stores, scenarios, point=given.point, sample=given.sample, workers=given.workers, tell=tell)

    wanted = given.database or DATABASES
    stores = {"sqlite": Store()} if "sqlite" in wanted else {}
    if "postgresql" in wanted:
        with serve_postgresql() as server:
            matrix = run({**stores, "postgresql": Store(server)})
    else:
        matrix = run(stores)
    print(matrix.report())
    return 1 if matrix.violations else 0


if __name__ == "__main__":
    sys.exit(main())
