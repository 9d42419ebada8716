"""The log's configuration: one JSON object a line, or columns at a terminal, and never a secret."""

import logging
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from app.dokploy.masking import Mask, printable


class _Output:
    """Standard output. A log that cannot be written, as on a full disk, keeps nobody from working."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()


class _Plain(logging.Formatter):
    """Lines of libraries: each is one line, and without secrets or what a terminal would obey."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._mask = mask

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return self._mask.whole(printable(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        return self._mask.whole(_printable_lines(super().formatException(ei)))


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


def _for_a_terminal(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write out what a terminal would obey, also of a text that somebody else has chosen. JSON does so by itself."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _printable_lines(value) if name == "exception" else printable(value)
    return event


def configure_logging(level: str, *, readable: bool, secrets: Iterable[str] = ()) -> None:
    """Say how the log looks: one JSON object a line, or columns for a person at a terminal; without these secrets."""
    mask = Mask()
    mask.add(secrets)
    as_text: list[Any] = (
        [_for_a_terminal, structlog.dev.ConsoleRenderer()] if readable else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Values of variables in a traceback may be secrets, so a traceback is text without them.
            structlog.processors.format_exc_info,
            *as_text,
            # The last thing of all, whatever a secret got into.
            lambda _logger, _method, line: mask.whole(str(line)),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Output())),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain(mask))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # httpx logs whole addresses, also those of a stack's probes, at INFO.
    for name in ("httpx", "httpcore", "aiosqlite", "alembic", "stamina"):
        logging.getLogger(name).setLevel(logging.WARNING)
