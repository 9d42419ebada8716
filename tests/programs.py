"""Programs that some tests need and no wheel brings: how they are found, and what is said where one is missing."""

import os
import shutil
from typing import Final, NamedTuple, NoReturn

import pytest


class _Program(NamedTuple):
    """names: of the program, the first that is there counts; package: of Debian; part: of the product, as tests tell."""

    names: tuple[str, ...]
    package: str
    part: str


_PROGRAMS: Final = {
    "chromium": _Program(
        ("chromium", "chromium-browser", "google-chrome"), "chromium fonts-noto-core", "pages in a browser"
    ),
    # The same without windows: it takes less than two thirds of the processor time, and knows no notifications.
    "chromium-headless-shell": _Program(
        ("chromium-headless-shell",), "chromium-headless-shell fonts-noto-core", "pages in a browser"
    ),
    "nginx": _Program(("nginx",), "nginx-light", "behind nginx"),
    "haproxy": _Program(("haproxy",), "haproxy", "behind haproxy"),
    "redis-server": _Program(("redis-server",), "redis-server", "limits counted in Redis"),
    "curl": _Program(("curl",), "curl", "commands of the documents"),
    "docker-compose": _Program(("docker-compose",), "docker-compose", "the Compose files, read by Compose itself"),
    "setpriv": _Program(("setpriv",), "util-linux", "rights of files, as root"),
}
# Debian keeps servers where only root looks.
_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Return its path, or None."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_PATH}"
    return next((found for each in _PROGRAMS[name].names if (found := shutil.which(each, path=path))), None)


def need_program(name: str) -> str:
    """Return its path. Without it the test is skipped; in CI it fails."""
    return find_program(name) or skip_without(name)


def skip_without(name: str) -> NoReturn:
    """Skip for a missing program, with a reason that the summary groups; in CI, where none may be missing, fail."""
    program = _PROGRAMS[name]
    reason = f"{program.part}: apt-get install --no-install-recommends {program.package}"
    if os.environ.get("CI"):
        pytest.fail(f"{name} is missing. {reason}")
    pytest.skip(reason)
