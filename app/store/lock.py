"""The lock beside a SQLite file, held by the one process that runs deployments from it."""

import fcntl
import os
from pathlib import Path

from app.store.errors import StoreAway, reason_of_file


class FileLock:
    """Says which process beside one SQLite file runs deployments; the others serve pages and wait for it.

    The lock is on a file beside the database: closing any descriptor of the database itself would drop SQLite's own.
    """

    def __init__(self, database_file: Path) -> None:
        self._path = database_file.with_name(database_file.name + ".lock")
        self._descriptor: int | None = None

    def check(self) -> None:
        """Raise StoreAway where the file cannot be opened, so that nobody could ever take the lock."""
        os.close(self._open())

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreAway(reason_of_file(error), f"{self._path.name}: {error.strerror}") from error

    def acquire(self) -> bool:
        """Try to take the lock; say whether this process has it now."""
        if self._descriptor is not None:
            return True
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
