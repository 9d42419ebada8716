"""A pytest plugin: says at the end of a run what was not tested, by part of the product, and how to test it here."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

from tests.tiers import part_of

_LEFT_OUT: Final[pytest.StashKey[Counter[str]]] = pytest.StashKey[Counter[str]]()
_OUTPUT: Final = "left_out"


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    left_out: Counter[str] = Counter()
    config.stash[_LEFT_OUT] = left_out


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what was left out by the marks of `make test`, and not by a person's own -k."""
    for item in items:
        if (part := part_of(item)) and not item.config.option.keyword:
            item.config.stash[_LEFT_OUT][part] += 1


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Tell the process that started this worker; all workers leave out the same."""
    if hasattr(session.config, "workeroutput"):
        left_out = session.config.stash[_LEFT_OUT]
        session.config.workeroutput[_OUTPUT] = dict(left_out)
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has left out."""
    if not node.config.stash[_LEFT_OUT]:
        node.config.stash[_LEFT_OUT].update(getattr(node, "workeroutput", {}).get(_OUTPUT, {}))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write one line for each remedy: an installation, another command, or none."""
    left_out = ", ".join(f"{part} ({count})" for part, count in sorted(config.stash[_LEFT_OUT].items()))
    if left_out:
        terminalreporter.write_line(f"not tested here: {left_out}: make test-all", yellow=True)
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in sorted(reasons.items()):
        part, _, remedy = reason.partition(": ")
        terminalreporter.write_line(f"not tested here: {part} ({count}){': ' if remedy else ''}{remedy}", yellow=True)


def _reason(report: pytest.TestReport) -> str:
    """Return the reason of a skip, without pytest's own word."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
