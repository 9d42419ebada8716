"""A pytest plugin: a test that changes what all tests of its process share, and leaves it so, fails.

Such a change makes some later test fail, or pass, by the order in which they run. What is compared: the environment,
the working directory, signal handlers, locale and time zone, and the configuration of both logging libraries. Each is
put back, so that only the test that is to blame fails.
"""

import locale
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pytest
import structlog

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)


class _Shared(NamedTuple):
    """One thing that tests share: how it is read, and how it is put back."""

    read: Callable[[], Any]
    restore: Callable[[Any], object]


def _restore_environment(before: Mapping[str, str]) -> None:
    for name in _read_environment().keys() - before:
        del os.environ[name]
    os.environ.update(before)
    time.tzset()


def _read_environment() -> dict[str, str]:
    # pytest itself writes down in it which test runs.
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _counts(handler: logging.Handler) -> bool:
    return not isinstance(handler, logging.NullHandler) and "_pytest" not in type(handler).__module__


def _read_logging() -> dict[str, tuple[int, tuple[logging.Handler, ...]]]:
    loggers = [
        logging.root,
        *(each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)),
    ]
    # A new logger that nobody has configured changes nothing; a library that is only imported now gives it a handler
    # that does nothing. pytest's own handlers come and go with each phase.
    return {
        logger.name: state
        for logger in loggers
        if (state := (logger.level, tuple(filter(_counts, logger.handlers)))) != (logging.NOTSET, ())
    }


def _restore_logging(before: Mapping[str, tuple[int, tuple[logging.Handler, ...]]]) -> None:
    for name in {*before, *_read_logging()}:
        logger = logging.getLogger(name if name != "root" else None)
        level, handlers = before.get(name, (logging.NOTSET, ()))
        logger.setLevel(level)
        for handler in list(filter(_counts, logger.handlers)):
            logger.removeHandler(handler)
        for handler in handlers:
            logger.addHandler(handler)


def _read_structlog() -> dict[str, Any]:
    return {**structlog.get_config(), "processors": list(structlog.get_config()["processors"])}


_SHARED: Final[Mapping[str, _Shared]] = {
    "the environment": _Shared(_read_environment, _restore_environment),
    "the working directory": _Shared(os.getcwd, os.chdir),
    "signal handlers": _Shared(
        lambda: [signal.getsignal(number) for number in _SIGNALS],
        lambda before: [signal.signal(number, each) for number, each in zip(_SIGNALS, before, strict=True)],
    ),
    "the locale": _Shared(
        lambda: locale.setlocale(locale.LC_ALL), lambda before: locale.setlocale(locale.LC_ALL, before)
    ),
    "the time zone": _Shared(lambda: time.tzname, lambda _: time.tzset()),
    "the configuration of structlog": _Shared(_read_structlog, lambda before: structlog.configure(**before)),
    "the configuration of logging": _Shared(_read_logging, _restore_logging),
}


@contextmanager
def restored_state() -> Iterator[None]:
    """Put back at the end of the block whatever was changed in it: for a test of what changes it by intent."""
    before = {name: shared.read() for name, shared in _SHARED.items()}
    try:
        yield
    finally:
        for name, shared in _SHARED.items():
            shared.restore(before[name])


@pytest.fixture(autouse=True)
def shared_state_unchanged() -> Iterator[None]:
    """Compare before and after each test, fixtures of its own included."""
    before = {name: shared.read() for name, shared in _SHARED.items()}
    yield
    changed = [name for name, shared in _SHARED.items() if shared.read() != before[name]]
    for name in changed:
        _SHARED[name].restore(before[name])
    assert not changed, f"this test changed {', '.join(changed)}, and did not change it back"
