"""The one door for untrusted input: every name that cannot be, each with its own reason."""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import PortalError
from app.stacks.names import MAX_NAME, normalize_name, parse_idempotency_key, parse_name, suggest_names

RESERVED = ("admin", "API", "Portal")
LABEL = re.compile(r"(?!xn--)[a-z0-9]([a-z0-9-]{1,28})[a-z0-9]")

names = st.from_regex(LABEL, fullmatch=True)


def refusal(raw: object) -> PortalError:
    with pytest.raises(PortalError) as refused:
        parse_name(raw, RESERVED)
    assert refused.value.field == "name"
    refused.value.problem.detail.format_map(refused.value.params)
    refused.value.problem.hint.format_map({"example": "x", **refused.value.params})
    return refused.value


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("ada", "ada"),
        ("a" * 30, "a" * 30),
        ("Ada-2", "ada-2"),
        ("  ada\r\n\t", "ada"),
        ("007", "007"),
        ("a--b", "a--b"),
        ("xn-a", "xn-a"),
        ("adm", "adm"),
        ("admins", "admins"),
    ],
)
def test_a_name_that_can_be(raw: str, name: str):
    assert parse_name(raw, RESERVED) == name


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (None, "name_missing"),
        ("", "name_missing"),
        ("   ", "name_missing"),
        (" " * 10_000, "name_missing"),
        (7, "name_not_text"),
        (0, "name_not_text"),
        (True, "name_not_text"),
        (False, "name_not_text"),
        (1.5, "name_not_text"),
        ([], "name_not_text"),
        (["ada"], "name_not_text"),
        ({"name": "ada"}, "name_not_text"),
        (b"ada", "name_not_text"),
        ("ab", "name_too_short"),
        ("a", "name_too_short"),
        ("a" * 31, "name_too_long"),
        ("a" * 10_000, "name_too_long"),
        ("é" * 10_000, "name_too_long"),
        ("my stack", "name_blank_inside"),
        ("my\tstack", "name_blank_inside"),
        ("my\nstack", "name_blank_inside"),
        ("my_stack", "name_underscore"),
        ("___", "name_underscore"),
        ("-ada", "name_hyphen_start"),
        ("-", "name_hyphen_start"),
        ("---", "name_hyphen_start"),
        ("ada-", "name_hyphen_end"),
        ("rocket🚀", "name_not_ascii"),
        ("🚀🚀🚀", "name_not_ascii"),
        ("مرحبا", "name_not_ascii"),
        ("١٢٣", "name_not_ascii"),
        ("１２３", "name_not_ascii"),
        ("café", "name_not_ascii"),
        ("\u212aelvin", "name_not_ascii"),
        ("ada\u200b", "name_not_ascii"),
        ("\u00a0ada\u00a0x", "name_not_ascii"),
        ("\ud800abc", "name_not_ascii"),
        ("xn--bcher-kva", "name_punycode"),
        ("XN--abc", "name_punycode"),
        ("admin", "name_reserved"),
        ("ADMIN", "name_reserved"),
        ("api", "name_reserved"),
        ("Api", "name_reserved"),
        (" pOrTaL ", "name_reserved"),
        ("ada\0", "name_characters"),
        ("\0\0\0", "name_characters"),
        ("<b>ada</b>", "name_characters"),
        ("<script>alert(1)</script>", "name_characters"),
        ("ada.example", "name_characters"),
        ("../etc/passwd", "name_characters"),
        ("ada;drop", "name_characters"),
        ("ada/x", "name_characters"),
        ("{name}", "name_characters"),
        ("%s%s%s", "name_characters"),
    ],
)
def test_a_name_that_cannot_be(raw: object, code: str):
    assert refusal(raw).code == code


def test_a_refusal_says_what_would_do():
    assert refusal("my  big\tstack").params["example"] == "my-big-stack"
    assert refusal("my_stack").params["example"] == "my-stack"
    assert refusal("Café Ünder").params["example"] == "cafe-under"
    assert refusal("１２３４").params["example"] == "1234"
    assert refusal("مرحبا").params["example"] == "ada-2"
    assert refusal("a" * 31).params == {"maximum": 30, "length": 31}
    assert refusal("ab").params == {"minimum": 3, "length": 2}


def test_a_huge_name_is_refused_in_time_that_grows_no_faster_than_it():
    # What grew with the square of it would take hours for these, which pytest's own limit does not wait for.
    for raw in ("a" * 1_000_000, "é" * 1_000_000, "-" * 1_000_000, "a b" * 300_000):
        assert refusal(raw).code == "name_too_long"


@given(names)
def test_every_label_is_a_name(name: str):
    assert parse_name(name, ()) == name
    assert parse_name(f" {name.upper()}\n", ()) == name


@given(st.text(max_size=40) | st.text(alphabet="aZ09-_ .\n\0xn", max_size=34))
def test_nothing_else_is(raw: str):
    folded = raw.strip(" \t\r\n").lower()
    is_name = bool(LABEL.fullmatch(folded)) and raw.isascii() and folded not in {"admin", "api", "portal"}
    try:
        name = parse_name(raw, RESERVED)
    except PortalError:
        assert not is_name
    else:
        assert is_name
        assert name == folded


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(), st.lists))
def test_no_other_type_is(raw: Any):
    assert refusal(raw).code in {"name_missing", "name_not_text"}


@given(st.text())
def test_an_example_for_another_alphabet_is_a_name(text: str):
    try:
        parse_name(text, ())
    except PortalError as error:
        if error.code == "name_not_ascii":
            example = str(error.params["example"])
            assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,28}[a-z0-9]", example)


@given(names)
def test_suggestions_are_names(name: str):
    suggested = suggest_names(name)

    assert name not in suggested
    assert len(set(suggested)) == len(suggested)
    for word in suggested:
        assert parse_name(word, ()) == word
    if len(name) < MAX_NAME - 3:
        assert len(suggested) >= 3


def test_the_best_suggestion_comes_first():
    assert suggest_names("ada")[:3] == ["ada-2", "ada-3", "my-ada"]
    assert "ada-dev" in suggest_names("ada-2")


@pytest.mark.parametrize(("raw", "shown"), [(" Ada ", "ada"), ("CAFÉ", "CAFÉ"), (" é ", "é"), ("", "")])
def test_what_check_shows(raw: str, shown: str):
    assert normalize_name(raw) == shown


@pytest.mark.parametrize("key", ["a" * 16, "a" * 255, "0f0e8f0c-6a5e-4f0a-9d1c-b7e6a1f0c2d3", "!#$%&'*+-.^_`|~(){}"])
def test_an_idempotency_key_that_can_be(key: str):
    assert parse_idempotency_key(key) == key


@pytest.mark.parametrize("key", ["", "a" * 15, "a" * 256, "a" * 15 + " ", "a" * 16 + "\n", "é" * 16, "a" * 16 + "\0"])
def test_an_idempotency_key_that_cannot_be(key: str):
    with pytest.raises(PortalError) as refused:
        parse_idempotency_key(key)
    assert refused.value.code == "idempotency_key_invalid"
    assert refused.value.params == {"minimum": 16, "maximum": 255}


def test_no_idempotency_key():
    assert parse_idempotency_key(None) is None


@given(st.text(alphabet=string.printable, max_size=300))
def test_an_idempotency_key_is_16_to_255_printable_characters(key: str):
    try:
        assert parse_idempotency_key(key) == key
    except PortalError:
        assert not re.fullmatch(r"[!-~]{16,255}", key)
    else:
        assert re.fullmatch(r"[!-~]{16,255}", key)
