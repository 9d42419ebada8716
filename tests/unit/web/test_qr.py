"""The drawn path holds exactly the modules of the code that an independent encoder's matrix has, quiet zone included."""

import re

import pytest
import segno

from app.web.ui.shared.qr import QrCode, qr_code

LONGEST_HOST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
ADDRESSES = {
    "usual": "https://ada.ai.example.com",
    "with a port": "http://ada.localhost:3001",
    "the longest there is": f"https://{LONGEST_HOST}",
}


def modules(code: QrCode) -> set[tuple[int, int]]:
    """Column and row of each dark module, as a browser fills the path."""
    dark: set[tuple[int, int]] = set()
    rest = re.sub(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", "", code.path)
    assert rest == "", "nothing but runs of one module's height"
    for x, y, length, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", code.path):
        assert length == back, "each run is closed where it began"
        run = {(int(x) + step, int(y)) for step in range(int(length))}
        assert not run & dark, "nothing is drawn twice"
        dark |= run
    return dark


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_the_path_draws_the_code(address: str):
    code = qr_code(address)

    expected = segno.make(address, error="m", micro=False)
    assert len(LONGEST_HOST) == 253
    assert code.text == address
    assert code.size == len(expected.matrix) + 8
    assert modules(code) == {
        (x + 4, y + 4) for y, row in enumerate(expected.matrix) for x, module in enumerate(row) if module
    }


def test_the_corners_are_where_a_reader_looks_for_them():
    code = qr_code("https://ada.ai.example.com")
    dark = modules(code)

    finder = {(x, y) for x in range(7) for y in range(7) if 6 in (x, y) or 0 in (x, y) or {x, y} <= {2, 3, 4}}
    for left, top in ((4, 4), (code.size - 11, 4), (4, code.size - 11)):
        assert {(x - left, y - top) for x, y in dark if 0 <= x - left < 7 and 0 <= y - top < 7} == finder
    assert not [each for each in dark if min(each) < 4 or max(each) >= code.size - 4], "the quiet zone is light"


def test_another_address_is_another_code():
    assert qr_code("https://ada.ai.example.com").path != qr_code("https://ada.ai.example.org").path
