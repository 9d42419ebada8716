"""The tiers of the tests: what `make test` runs, and what it leaves to `make test-all`.

`make test` has every kind of test that needs nothing but Python. A marker names the part of the product that a test of the
rest is about; each such test has the marker `extended`, too. A folder or a file decides for browsers and proxies, so that
no new test is forgotten; elsewhere the test says it.
"""

from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

EXTENDED: Final = "extended"
PARTS: Final = {
    "browser": "pages in a browser",
    "proxies": "behind nginx and haproxy",
    "image": "the image's own packages",
    "crashes": "more points at which the program is killed",
    "fuzzing": "more requests that nobody has thought of",
}
"""What is not tested without a marker's tests, by the marker."""

_OF_PLACES: Final = {
    "tests/browser/test_proxies.py": "proxies",
    "tests/acceptance/test_proxies.py": "proxies",
    "tests/browser/": "browser",
}


def declare(config: pytest.Config) -> None:
    """Tell pytest which markers there are."""
    config.addinivalue_line("markers", f"{EXTENDED}: only `make test-all` runs it")
    for name, part in PARTS.items():
        config.addinivalue_line("markers", f"{name}: {part}; only `make test-all` runs it")


def mark(items: list[pytest.Item]) -> None:
    """Give each test the marker of the place that it stands in, and `extended` to what only `make test-all` runs."""
    for item in items:
        place = next((name for name in _OF_PLACES if item.nodeid.startswith(name)), None)
        if place:
            item.add_marker(_OF_PLACES[place])
        if part_of(item):
            item.add_marker(EXTENDED)


def part_of(item: pytest.Item) -> str | None:
    """Return the part of the product that only this test's tier tests, or None."""
    return next((part for name, part in PARTS.items() if item.get_closest_marker(name)), None)
