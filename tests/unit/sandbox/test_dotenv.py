"""What the emulated Dokploy reads out of an application's environment text."""

import pytest

from app.sandbox.dotenv import UnknownReferenceError, parse, resolve


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=a b", "a b"),
        ("X=a#b", "a"),
        ("X=a #b", "a"),
        ('X="a#b"', "a#b"),
        ("X='a#b'", "a#b"),
        ("X=pa$$w0rd$HOME", "pa$$w0rd$HOME"),
        ("X=a=b==", "a=b=="),
        ("X=", ""),
        ("export X=1", "1"),
        (r"X=a\nb", r"a\nb"),
        (r'X="a\nb"', "a\nb"),
        ('X="line1\nline2"', "line1\nline2"),
        ("X=  sp  ", "sp"),
        ('X={"a":"b c"}', '{"a":"b c"}'),
        ("X=it's", "it's"),
        ("X=é😀", "é😀"),
        ("X=`a\"b'c`", "a\"b'c"),
        ("X=1\nX=2", "2"),
        ("X=https://u:p@h/x?y=1#frag", "https://u:p@h/x?y=1"),
    ],
)
def test_value(line: str, value: str) -> None:
    assert parse(line) == {"X": value}


def test_lines_that_say_nothing() -> None:
    assert parse("NOVAL\n# comment\n\nDASH-KEY=1\nlower.dot=2") == {"DASH-KEY": "1", "lower.dot": "2"}
    assert parse(None) == {}


def test_references_to_project_and_environment_are_resolved() -> None:
    assert resolve("A=${{project.P}}-${{environment.E}}", "P=1", "E=2") == {"A": "1-2"}
    with pytest.raises(UnknownReferenceError, match=r"Invalid environment variable: environment\.X"):
        resolve("A=${{environment.X}}", "", "")
