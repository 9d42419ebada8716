"""What is written for Dokploy is read back unchanged, by its own rules and by another reader's, or is refused."""

import io
import re

import pytest
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import PortalError
from app.sandbox.dotenv import parse, resolve
from app.stacks.dotenv import write_dotenv

variable_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
# Letters that mean something to some reader, and everything else now and then.
values = st.text(st.sampled_from("aé \t\n\r\"'`\\$#={}\0nr:/@&;") | st.characters(codec="utf-8"), max_size=30)


@given(st.dictionaries(variable_names, values, max_size=5))
@example({"A": "ends in a backslash\\"})
@example({"A": "", "B": "'"})
@example({"A": "line\n#not a comment\nB=2", "B": "1"})
@example({"A": "'", "B": "'"})
@example({"A": '"x"\n`y`', "B": "it's"})
@example({"A": "\x85\u2028\x0b\x0c\x1c"})
def test_dokploys_reader_reads_it_back_or_it_is_refused(variables: dict[str, str]):
    refused: PortalError | None = None
    try:
        text = write_dotenv(variables.items())
    except PortalError as error:
        refused = error
    if refused is not None:
        assert refused.code == "variable_unsayable"
        assert refused.params["variable"] in variables
        return
    assert parse(text) == variables
    assert resolve(text, "", "") == variables


@given(st.dictionaries(variable_names, values, max_size=5))
def test_another_reader_reads_it_back(variables: dict[str, str]):
    """python-dotenv knows no backticks and a backslash within single quotes means something to it; the rest agrees."""
    variables = {
        name: value for name, value in variables.items() if not ("'" in value and '"' in value) and "\\" not in value
    }
    try:
        text = write_dotenv(variables.items())
    except PortalError:
        return
    assert dotenv_values(stream=io.StringIO(text), interpolate=False) == variables


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r\\\"'`"), max_size=40).filter(
        lambda text: "${{" not in text
    )
)
def test_what_holds_no_quote_and_no_backslash_can_always_be_said(value: str):
    assert parse(write_dotenv([("X", value)])) == {"X": value}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "X="),
        ("plain", "X=plain"),
        ("https://a.example/b?c=d", 'X="https://a.example/b?c=d"'),
        ("a#b", 'X="a#b"'),
        (" a ", 'X=" a "'),
        ('say "hi"', "X='say \"hi\"'"),
        ('"it\'s"', 'X=`"it\'s"`'),
        (r"C:\new", r"X='C:\new'"),
        ("a\nb", 'X="a\nb"'),
        ("$HOME", 'X="$HOME"'),
        ("x==", "X=x=="),
    ],
)
def test_a_value_is_quoted_where_it_needs_to_be(value: str, line: str):
    assert write_dotenv([("X", value)]) == line


@pytest.mark.parametrize(
    "value", ["\"'`", "${{project.SECRET}}", "a${{", "nul\0", "a\rb", "a\r\nb", "ends\\", "it's \\ and `"]
)
def test_what_cannot_be_said_is_refused_and_never_shown(value: str):
    with pytest.raises(PortalError) as refused:
        write_dotenv([("FINE", "x"), ("SECRET", value)])

    assert refused.value.code == "variable_unsayable"
    assert refused.value.params == {"variable": "SECRET"}
    assert value not in str(refused.value)


def test_one_line_a_variable_in_the_order_given():
    assert write_dotenv([("B", "1"), ("A", "2")]) == "B=1\nA=2"
    assert write_dotenv([]) == ""


def test_a_generated_password_needs_no_quotes():
    assert re.fullmatch(r"X=[A-Za-z0-9_-]+", write_dotenv([("X", "Ab-_09")]))
