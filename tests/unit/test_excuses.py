"""Whoever silences a check says why, on the same line; pyproject.toml says it for a check as a whole."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

_EXCUSE: Final = re.compile(r"#\s*(noqa|type: ignore|nosec|pragma)\b(.*)")
_REASON: Final = re.compile(r"(: [A-Z0-9, ]+ - |\[[a-z-]+\]\s+# )\S")


def silent(source: str) -> list[int]:
    """The lines of a source with an excuse that names no check, or no reason."""
    return [
        number
        for number, line in enumerate(source.splitlines(), 1)
        if (found := _EXCUSE.search(line)) and not _REASON.match(found[2])
    ]


def test_every_excuse_has_a_reason():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "app").rglob("*.py"))
        for number in silent(path.read_text())
    ]
    assert found == [], "say why, as `# noqa: ARG001 - why` or `# type: ignore[arg-type]  # why`"


@pytest.mark.parametrize("excuse", ["noqa", "noqa: S105", "type: ignore", "type: ignore[arg-type]", "noqa: S105 -"])
def test_an_excuse_without_a_reason_is_found(excuse: str):
    assert silent(f"a = 1\nb = 2  # {excuse}\n") == [2]


@pytest.mark.parametrize("excuse", ["noqa: S105, S106 - a name", "type: ignore[arg-type]  # a name", "what is meant"])
def test_an_excuse_with_a_reason_passes(excuse: str):
    assert silent(f"a = 1  # {excuse}\n") == []
