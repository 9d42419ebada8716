"""Failures of the store and their reasons, by the codes of its drivers; a mistake of ours has none."""

import errno
import sqlite3
from collections.abc import Mapping
from typing import Final, Literal

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

Reason = Literal["full", "failing", "read_only", "corrupt", "unopenable", "refused", "locked", "away"]

_SQLITE: Final[Mapping[int, Reason]] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "failing",  # a broken disk; also a quota, and a limit on the size of files
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_CANTOPEN: "unopenable",
    sqlite3.SQLITE_PERM: "unopenable",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
}

# SQLSTATEs, or their beginnings; the longest that fits counts.
_POSTGRESQL: Final[Mapping[str, Reason]] = {
    "08": "away",  # the connection
    "25006": "read_only",
    "25P03": "away",  # idle for too long
    "28": "refused",  # the user or the password
    "3D000": "refused",  # no such database
    "42501": "refused",  # no right to it
    "40": "locked",  # deadlock, serialization
    "53": "locked",  # too many connections, no memory
    "53100": "full",
    "55P03": "locked",
    "57014": "locked",  # its own deadline for a statement
    "57P": "away",  # shutting down, starting up
    "58": "failing",
    "XX001": "corrupt",
    "XX002": "corrupt",
}

_ERRNO: Final[Mapping[int, Reason]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.EIO: "failing",
}


class StoreAway(Exception):
    """The store does not do its work, for a reason that is no mistake of ours. What was under way may be done."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """`detail`: the driver's own words, for the log."""
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


def reason_of(error: BaseException) -> Reason | None:
    """Return what is wrong with the store; None where nothing is, and the failure is a bug of ours."""
    if isinstance(error, PoolTimeout):
        return "locked"
    if isinstance(error, OSError):  # asyncpg's, while it connects
        return "away"
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    if error.connection_invalidated:
        return "away"
    if isinstance(error.orig, sqlite3.Error):
        return _SQLITE.get(sqlite_code(error.orig))
    if (state := getattr(error.orig, "sqlstate", None)) is not None:
        return next((_POSTGRESQL[state[:size]] for size in (5, 3, 2) if state[:size] in _POSTGRESQL), None)
    return reason_of(error.orig)


def reason_of_file(error: OSError) -> Reason:
    """Return what is wrong with a file beside the database."""
    return _ERRNO.get(error.errno or 0, "unopenable")


def sqlite_code(error: sqlite3.Error) -> int:
    """SQLite's primary code; 0 where the driver itself raised the error, which is a mistake of ours."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
