"""The geometry of charts, in percent; templates write the SVG."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

# Bars: air above the highest one, between the line and what hangs below it, and the least that still is to be seen.
_AIR: Final = 2.0
_LEAST: Final = 1.5
_MOST_TICKS: Final = 4
# The stair: room for half a dot at both ends, and the shortest run that is more than a dot.
_EDGE: Final = 3.0
_LONG: Final = 4.0
# How far the slowest may stretch the drawing, in lengths of all that is usual.
_STRETCH: Final = 2.0
# Dots of one state; beyond that each stands for ten, a hundred, ...
MOST_DOTS: Final = 40


@dataclass(frozen=True)
class Bar:
    """A bar, from its upper edge down."""

    y: float
    height: float


@dataclass(frozen=True)
class DayBars:
    """One day: what stands on the line, what stands on that, what hangs below the line; None where there is none."""

    succeeded: Bar | None
    canceled: Bar | None
    failed: Bar | None


@dataclass(frozen=True)
class Tick:
    """A value of the scale, and where it is."""

    y: float
    value: int


@dataclass(frozen=True)
class DaysChart:
    """Bars of days on one scale. baseline: the line that they stand on."""

    baseline: float
    ticks: Sequence[Tick]
    days: Sequence[DayBars]


def days_chart(days: Sequence[tuple[int, int, int]]) -> DaysChart:
    """Draw days, each with how many succeeded, were cancelled and failed."""
    highest = max((succeeded + canceled for succeeded, canceled, _ in days), default=0)
    deepest = max((failed for _, _, failed in days), default=0)
    unit = (100 - 3 * _AIR) / max(highest + deepest, 1)
    baseline = _rounded(_AIR + highest * unit)

    def bar(count: int, bottom: float) -> Bar | None:
        height = max(count * unit, _LEAST)
        return Bar(_rounded(max(bottom - height, 0)), _rounded(height)) if count else None

    drawn = []
    for succeeded, canceled, failed in days:
        standing = bar(succeeded, baseline)
        hanging = Bar(_rounded(baseline + _AIR), _rounded(max(failed * unit, _LEAST))) if failed else None
        drawn.append(DayBars(standing, bar(canceled, standing.y if standing else baseline), hanging))
    step = _step(highest)
    values = range(step, highest + 1, step) if highest else ()
    return DaysChart(baseline, [Tick(_rounded(baseline - value * unit), value) for value in values], drawn)


def _step(highest: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, ... that needs few ticks up to the highest."""
    power = 1
    while True:
        for times in (1, 2, 5):
            if highest <= times * power * _MOST_TICKS:
                return times * power
        power *= 10


@dataclass(frozen=True)
class Riser:
    """An upright line within a row of the stair."""

    x: float
    top: int
    bottom: int


@dataclass(frozen=True)
class StairStep:
    """A row of the stair: where a step begins and usually ends, and where the slowest end.

    is_long: whether it is more than a dot; risers: how the rows above and below hang together with it.
    """

    begin: float
    end: float
    slow: float
    is_long: bool
    risers: Sequence[Riser] = field(default_factory=tuple)


def stair(phases: Sequence[Sequence[tuple[float, float]]], *, rtl: bool = False) -> list[StairStep]:
    """Draw steps to scale, each with what is usual and what is slow, in seconds.

    The steps of a phase begin together, and the next phase when the last of them has ended. rtl: from the right.
    """
    begins, end, furthest = [], 0.0, 0.0
    for phase in phases:
        begins.append(end)
        furthest = max([furthest, *(end + slow for _, slow in phase)])
        end += max((usual for usual, _ in phase), default=0.0)
    scale = max(end, min(furthest, end * _STRETCH)) or 1.0

    def x(seconds: float) -> float:
        place = _EDGE + (100 - 2 * _EDGE) * min(seconds / scale, 1.0)
        return _rounded(100 - place if rtl else place)

    steps = [
        StairStep(
            begin=x(begin),
            end=x(begin + usual),
            slow=x(begin + max(slow, usual)),
            is_long=abs(x(begin + usual) - x(begin)) >= _LONG,
        )
        for begin, phase in zip(begins, phases, strict=True)
        for usual, slow in phase
    ]
    risers: list[list[Riser]] = [[] for _ in steps]
    first = 0
    for before, phase, begin in zip(phases, phases[1:], begins[1:], strict=False):
        # From the one that ended last, past those beside it, down to all that begin then.
        source = first + max(range(len(before)), key=lambda place: before[place][0])
        first += len(before)
        for row in range(source, first + len(phase)):
            top, bottom = 50 if row == source else 0, 50 if row == first + len(phase) - 1 else 100
            risers[row].append(Riser(x(begin), top, bottom))
    return [
        StairStep(step.begin, step.end, step.slow, step.is_long, tuple(own))
        for step, own in zip(steps, risers, strict=True)
    ]


@dataclass(frozen=True)
class Dots:
    """How many whole dots are drawn, and whether there is a smaller one for the rest."""

    whole: int
    has_rest: bool


def dots(counts: Sequence[int]) -> tuple[int, list[Dots]]:
    """Draw amounts as dots; what one dot stands for comes first, and is the same for all of them."""
    unit = 1
    while max(counts, default=0) > MOST_DOTS * unit:
        unit *= 10
    return unit, [Dots(count // unit, count % unit > 0) for count in counts]


def _rounded(length: float) -> float:
    # What a page says needs no more than this.
    return round(length, 2)
