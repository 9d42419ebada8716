"""Folders that belong to the code: templates, static files, locales. A wheel has them within the package."""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent


def folder(name: str) -> Path:
    """Return a folder that stands beside the package in the repository and in the image, and within it in a wheel."""
    within = _PACKAGE / name
    return within if within.is_dir() else _PACKAGE.parent / name
