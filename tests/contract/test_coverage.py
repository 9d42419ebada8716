"""No call of the emulator goes without a case."""

from pathlib import Path

import pytest

from app.sandbox.registry import PROCEDURES

ROOT = Path(__file__).parents[1]


@pytest.mark.contract
@pytest.mark.parametrize("call", sorted(PROCEDURES))
def test_every_call_is_exercised(call: str) -> None:
    folders = (ROOT / "contract", ROOT / "unit" / "sandbox", ROOT / "integration" / "sandbox")
    sources = [path.read_text() for folder in folders for path in folder.glob("test_*.py")]
    assert any(f'"{call}"' in source for source in sources), f"No case asks for {call}."
