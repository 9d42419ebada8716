"""The table of `make bench`: what was measured, and what is wanted."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. An empty `wanted` is told for the sake of the others. more: lines that explain it."""

    what: str
    measured: str
    wanted: str = ""
    more: Sequence[str] = ()


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the part of the table that belongs to one subject."""
    print(f"\n{title:<72} {'measured':>12} {'wanted':>10}")
    for row in rows:
        print(f"  {row.what:<70} {row.measured:>12} {row.wanted:>10}".rstrip())
        for line in row.more:
            print(f"    {line}")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Say how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]
