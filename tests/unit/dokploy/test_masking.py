"""Masking: every form of a secret, a cut that shows no half of one, and no more memory than needed."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from app.dokploy.masking import MASKED, Mask, printable

SECRET = 'the "secret" of é/&+'
WRITTEN = {
    "plain": SECRET,
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON in a page": html.escape(json.dumps(SECRET, ensure_ascii=False)[1:-1]),
    "JSON in a page in an address": quote(html.escape(json.dumps(SECRET)[1:-1])),
    "a form": quote_plus(SECRET),
    "Python": repr(SECRET)[1:-1],
    "base64": base64.b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_secret_is_known_however_it_is_written(how: str):
    mask = Mask()
    mask.add([SECRET])

    for masked in (mask(f"a {WRITTEN[how]} b", most=500), mask.whole(f"a {WRITTEN[how]} b")):
        assert masked.rstrip("= b") == f"a {MASKED}"


def test_what_is_short_is_no_secret_unless_it_is_always_one():
    mask = Mask(["key"])
    mask.add(["true", "8080", ""])

    assert mask("key true 8080 also", most=500, also=["also"]) == f"{MASKED} true 8080 {MASKED}"


def test_of_two_the_longer_is_masked_whole():
    mask = Mask()
    mask.add(["secret", "secret-and-more"])

    assert mask("secret-and-more secret", most=500) == f"{MASKED} {MASKED}"


def test_the_oldest_of_too_many_is_forgotten_but_not_what_is_met_again():
    mask = Mask()
    for number in range(3000):
        mask.add(["often-met", f"secret-{number:04}"])

    assert mask("often-met secret-2999 secret-0000", most=500) == f"{MASKED} {MASKED} secret-0000"


@pytest.mark.parametrize("begin", range(7_990, 8_001))
def test_half_a_secret_at_the_cut_is_not_shown(begin: int):
    mask = Mask(["the-secret"])

    shown = mask("x" * begin + "the-secret" + "y" * 20_000, most=100_000)

    assert "the" not in shown
    assert len(shown) <= 8_000


def test_a_text_without_end_takes_no_time():
    mask = Mask(["the-secret"])
    mask.add(f"secret-{number:04}" for number in range(2000))

    assert mask("x" * 50_000_000, most=500) == "x" * 500


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é", "plain é"),
        ("a\x1b[31mb\nc\rd", "a\\x1b[31mb\\nc\\rd"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\ud800b\x00", "a\\ud800b\\x00"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str):
    assert printable(text) == shown
