"""The version stands in two places that must agree."""

import tomllib
from pathlib import Path

from app import __version__


def test_the_package_and_the_portal_bear_the_same_version():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]

    assert project["version"] == __version__
