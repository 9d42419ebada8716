"""QR codes of addresses as one SVG path, which needs neither style nor script."""

from dataclasses import dataclass
from typing import Final

import segno

# Light modules all around, without which readers do not find the code.
_QUIET: Final = 4


@dataclass(frozen=True)
class QrCode:
    """A QR code. text: what it says; size: its side in modules, with the quiet zone; path: what is dark of it."""

    text: str
    size: int
    path: str


def qr_code(text: str) -> QrCode:
    """Draw a text as a QR code, which can be read also where a seventh of it is damaged."""
    rows = [bytes(row) for row in segno.make_qr(text, error="m").matrix_iter(border=_QUIET)]
    runs = [f"M{x} {y}h{length}v1h-{length}z" for y, row in enumerate(rows) for x, length in _dark_runs(row)]
    return QrCode(text, len(rows), "".join(runs))


def _dark_runs(row: bytes) -> list[tuple[int, int]]:
    """Where dark modules begin in a row, and how many stand side by side."""
    runs: list[tuple[int, int]] = []
    for x, module in enumerate(row):
        if not module:
            continue
        if runs and sum(runs[-1]) == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((x, 1))
    return runs
