"""The geometry of charts: nothing leaves the drawing, nothing that is there disappears, and right is left in Arabic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.ui.shared.charts import MOST_DOTS, DayBars, days_chart, dots, stair

COUNTS = st.integers(min_value=0, max_value=10**9)
SECONDS = st.floats(min_value=0, max_value=1e9)


def test_days_without_anything():
    chart = days_chart([(0, 0, 0)] * 14)

    assert chart.ticks == []
    assert chart.days == [DayBars(None, None, None)] * 14
    assert days_chart([]).days == []


def test_a_single_success_stands_on_the_line():
    (day,) = days_chart([(1, 0, 0)]).days

    assert day.succeeded is not None
    assert day.succeeded.y + day.succeeded.height == pytest.approx(days_chart([(1, 0, 0)]).baseline)
    assert (day.canceled, day.failed) == (None, None)


def test_what_was_cancelled_stands_on_what_succeeded_and_what_failed_hangs_below():
    chart = days_chart([(6, 2, 3), (0, 1, 0)])
    both, canceled = chart.days

    assert both.succeeded is not None
    assert both.canceled is not None
    assert both.failed is not None
    assert both.canceled.y + both.canceled.height == pytest.approx(both.succeeded.y)
    assert both.failed.y > chart.baseline
    # One scale for all three.
    heights = [bar.height for bar in (both.succeeded, both.canceled, both.failed)]
    assert [height / both.canceled.height for height in heights] == pytest.approx([3, 1, 1.5], rel=0.01)
    assert canceled.canceled is not None
    assert canceled.canceled.y + canceled.canceled.height == pytest.approx(chart.baseline)


@pytest.mark.parametrize(
    ("highest", "values"),
    [
        (1, [1]),
        (4, [1, 2, 3, 4]),
        (7, [2, 4, 6]),
        (16, [5, 10, 15]),
        (100_000, [50_000, 100_000]),
        (123_456_789, [50_000_000, 100_000_000]),
    ],
)
def test_the_scale_has_a_few_round_values(highest: int, values: list[int]):
    chart = days_chart([(highest, 0, 1)])

    assert [tick.value for tick in chart.ticks] == values
    assert all(0 <= tick.y <= chart.baseline for tick in chart.ticks)
    assert all(above.y > below.y for above, below in pairwise(chart.ticks))


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=1, max_size=14))
def test_bars_stay_within_the_drawing_and_none_disappears(days: list[tuple[int, int, int]]):
    chart = days_chart(days)

    assert 0 <= chart.baseline <= 100
    for (succeeded, canceled, failed), drawn in zip(days, chart.days, strict=True):
        for count, bar in ((succeeded, drawn.succeeded), (canceled, drawn.canceled), (failed, drawn.failed)):
            assert (bar is not None) == (count > 0)
            if bar:
                assert bar.height >= 1.5
                assert bar.y >= 0
                assert bar.y + bar.height <= 100.02


def test_a_stair_goes_down_as_time_goes_on():
    steps = stair([[(1, 2)], [(3, 4)], [(6, 8)]])

    assert [step.begin for step in steps[1:]] == [step.end for step in steps[:-1]]
    assert [step.is_long for step in steps] == [True] * 3
    assert all(step.begin < step.end < step.slow for step in steps)
    lengths = [step.end - step.begin for step in steps]
    assert [length / lengths[0] for length in lengths] == pytest.approx([1, 3, 6], rel=0.01)
    # Each hangs together with the next.
    assert [(riser.top, riser.bottom) for riser in steps[1].risers] == [(0, 50), (50, 100)]
    assert [riser.x for riser in steps[1].risers] == [steps[0].end, steps[1].end]


def test_steps_side_by_side_begin_together_and_the_last_to_end_goes_on():
    before, slow, quick, after = stair([[(1, 1)], [(5, 5), (2, 2)], [(1, 1)]])

    assert slow.begin == quick.begin == before.end
    assert after.begin == slow.end > quick.end
    # Down to both, and from the slower one past the quicker.
    assert [(riser.x, riser.top, riser.bottom) for riser in slow.risers] == [
        (before.end, 0, 100),
        (slow.end, 50, 100),
    ]
    assert [(riser.x, riser.top, riser.bottom) for riser in quick.risers] == [
        (before.end, 0, 50),
        (slow.end, 0, 100),
    ]


def test_what_is_very_slow_does_not_press_the_rest_together():
    usual, slowest = stair([[(10, 12)], [(10, 10_000)]])

    assert usual.end - usual.begin > 20
    assert slowest.slow == pytest.approx(97)


@pytest.mark.parametrize("phases", [[], [[(0.0, 0.0)]], [[(0.0, 0.0)], [(0.0, 0.0)]]])
def test_a_stair_of_nothing(phases: list[list[tuple[float, float]]]):
    steps = stair(phases)

    assert len(steps) == len(phases)
    assert not [step for step in steps if step.is_long]


@given(st.lists(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=3), min_size=1, max_size=6))
def test_a_stair_is_the_same_from_the_right(phases: list[list[tuple[float, float]]]):
    for left, right in zip(stair(phases), stair(phases, rtl=True), strict=True):
        assert [100 - left.begin, 100 - left.end, 100 - left.slow] == pytest.approx(
            [right.begin, right.end, right.slow]
        )
        assert [(riser.top, riser.bottom) for riser in left.risers] == [
            (riser.top, riser.bottom) for riser in right.risers
        ]
        assert 0 <= left.begin <= left.end <= left.slow <= 100
        assert left.is_long == right.is_long


def test_all_dots_are_drawn_by_one_measure():
    assert dots([]) == (1, [])
    unit, (many, one, none) = dots([MOST_DOTS, 1, 0])
    assert (unit, many.whole, many.has_rest) == (1, MOST_DOTS, False)
    assert (one.whole, none.whole) == (1, 0)
    # All are drawn by one measure, and what is less than a dot is still to be seen.
    unit, (many, one, none) = dots([MOST_DOTS + 7, 3, 0])
    assert (unit, many.whole, many.has_rest) == (10, 4, True)
    assert (one.whole, one.has_rest) == (0, True)
    assert (none.whole, none.has_rest) == (0, False)


@given(st.lists(COUNTS, min_size=1, max_size=5))
def test_dots_are_few_and_say_how_many(counts: list[int]):
    unit, drawn = dots(counts)

    for count, row in zip(counts, drawn, strict=True):
        assert row.whole <= MOST_DOTS
        assert row.whole * unit <= count < (row.whole + 1) * unit
        assert row.has_rest == (row.whole * unit < count)
