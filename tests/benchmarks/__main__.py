"""Measures the portal under load and prints a table: emulator, portals and load in processes of their own.

Figures are what this machine gave; nothing here asserts. Name subjects to measure only those.
"""

import argparse
import os
import platform
import random
from collections.abc import Callable
from typing import Any

from tests.benchmarks import attribution, flight, load, notify, size, takeover
from tests.benchmarks.table import Row, show, tell

SUBJECTS: dict[str, Any] = {
    "load": load,
    "flight": flight,
    "takeover": takeover,
    "notify": notify,
    "attribution": attribution,
    "size": size,
}


def main() -> None:
    """Measure, and print the table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"some of {', '.join(SUBJECTS)}; all otherwise")
    parser.add_argument("--database-url", help="load, flight: PostgreSQL instead of a fresh SQLite file")
    parser.add_argument("--deployments", type=int, default=200, help="load: so many at once")
    parser.add_argument("--watchers", type=int, default=1000, help="load: of one deployment")
    parser.add_argument("--rounds", type=int, default=3, help="load: rounds of many; each figure is the median")
    parser.add_argument("--in-flight", type=int, default=500, help="flight: so many at once")
    parser.add_argument("--in-flight-seconds", type=float, default=30.0, help="flight: how long Dokploy takes for each")
    parser.add_argument("--kills", type=int, default=16, help="takeover: so many times")
    parser.add_argument("--watched", type=int, default=40, help="notify: so many deployments")
    parser.add_argument("--interleavings", type=int, default=1000, help="attribution: so many")
    parser.add_argument("--stored", type=int, default=100_000, help="size: so many deployments in the full store")
    parser.add_argument("--times", type=int, default=7, help="size: each figure is the median of so many")
    parser.add_argument("--stores", default="sqlite,postgresql", help="size: on which kinds of database")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(10**6),
        help="takeover, attribution, size: of what is left to chance",
    )
    options = parser.parse_args()
    if unknown := set(options.subjects) - SUBJECTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    measured: list[tuple[str, list[Row]]] = []
    for name in options.subjects or SUBJECTS:
        tell(f"{name} ...")
        measure: Callable[[argparse.Namespace], list[Row]] = SUBJECTS[name].measure
        measured.append((SUBJECTS[name].TITLE, measure(options)))
    print(f"{platform.system()}, {os.cpu_count()} processors, Python {platform.python_version()}; ", end="")
    print("PostgreSQL" if options.database_url else "SQLite, and PostgreSQL where there are two portals")
    for title, rows in measured:
        show(title, rows)
    print("\nWhat a kill at each single point leaves behind: make test-crash")


if __name__ == "__main__":
    main()
