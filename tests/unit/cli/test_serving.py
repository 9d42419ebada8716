"""What the sandbox is set to, so that nothing keeps anybody from trying it out."""

from pathlib import Path

import pytest

from app.cli.serve import sandbox_settings
from tests.servers import NO_LIMITS


def test_the_sandbox_has_no_limits(tmp_path: Path):
    settings = sandbox_settings(3000, tmp_path)

    assert {name: getattr(settings, name) for name in NO_LIMITS} == NO_LIMITS


def test_the_sandbox_has_the_limits_that_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAX_STACKS", "3")
    monkeypatch.setenv("RATE_PER_ADDRESS", "5/minute")

    settings = sandbox_settings(3000, tmp_path)

    assert (settings.max_stacks, settings.rate_per_address, settings.rate_per_actor) == (3, "5/minute", "off")
