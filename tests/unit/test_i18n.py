"""Languages: which one a visitor reads, and how sentences, numbers and durations look in it."""

import string
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import PROBLEMS
from app.i18n import LANGUAGES, choose_language

ENGLISH, DUTCH, ARABIC = LANGUAGES["en"], LANGUAGES["nl"], LANGUAGES["ar"]


@pytest.mark.parametrize(
    ("asked", "cookie", "accept", "code"),
    [
        (None, None, None, "en"),
        ("ar", "nl", "en", "ar"),
        ("AR", None, None, "ar"),
        ("xx", "nl", "en", "nl"),
        ("", "", "nl", "nl"),
        (None, "xx", "ar", "ar"),
        (None, None, "pt,nl;q=0.5,en;q=0.4", "nl"),
        (None, None, "en;q=0.4,nl;q=0.5", "nl"),
        (None, None, "nl-BE", "nl"),
        (None, None, "ar-EG,ar;q=0.9", "ar"),
        (None, None, "NL", "nl"),
        (None, None, "nl;q=0", "en"),
        (None, None, "nl;q=0, ar", "ar"),
        (None, None, "nl; q=0.9, en; q=0.8", "nl"),
        (None, None, "en ; q=0.1 ,nl ;q=0.2", "nl"),
        (None, None, "en;Q=0.1,nl;Q=0.2", "nl"),
        (None, None, "*", "en"),
        (None, None, "sv, pt", "en"),
        (None, None, "nl;q=much, ar;q=0.1", "ar"),
        (None, None, "nl;q=nan", "en"),
        (None, None, "ar,nl", "ar"),
    ],
)
def test_which_language(asked: str | None, cookie: str | None, accept: str | None, code: str):
    assert choose_language(asked=asked, cookie=cookie, accept=accept, default="en").code == code


def test_the_operators_default_is_for_who_asks_for_none_of_ours():
    assert choose_language(asked=None, cookie=None, accept="pt", default="ar") is ARABIC


@given(st.text(), st.text(), st.text() | st.from_regex(r"([a-zA-Z-]{1,9} ?; ?q=[0-9.]{0,4},? ?){1,5}", fullmatch=True))
def test_no_header_breaks_it(asked: str, cookie: str, accept: str):
    assert choose_language(asked=asked, cookie=cookie, accept=accept, default="nl").code in LANGUAGES


def test_a_very_long_header_costs_nothing():
    assert choose_language(asked=None, cookie=None, accept="pt," * 100_000, default="en") is ENGLISH


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_problem_can_be_said(language):
    for problem in PROBLEMS.values():
        for sentence in (problem.title, problem.detail, problem.hint):
            names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
            said = language.text(sentence, dict.fromkeys(names, "value"))
            assert said
            assert "{" not in said
            assert said.count("value") >= len(set(names))


def test_arabic_isolates_text_but_not_numbers():
    sentence = PROBLEMS["name_too_short"].detail
    said = ARABIC.text(sentence, {"minimum": 3, "length": 2})
    assert "\u2068" not in said

    said = ARABIC.text(PROBLEMS["name_taken"].detail, {"name": "ada"})
    assert "\u2068ada\u2069" in said


def test_a_name_of_right_to_left_letters_cannot_turn_an_arabic_sentence():
    said = ARABIC.text("{name}", {"name": "\u202eevil"})
    assert said == "\u2068\u202eevil\u2069"


def test_languages_that_run_right_need_no_isolates():
    for language in (ENGLISH, DUTCH):
        assert "ada" in language.text(PROBLEMS["name_taken"].detail, {"name": "ada"})
        assert not {"\u2068", "\u2069"} & set(language.text(PROBLEMS["name_taken"].detail, {"name": "ada"}))


def test_a_value_is_never_read_as_a_placeholder():
    assert ENGLISH.text("{name}!", {"name": "{0.__class__}{name}"}) == "{0.__class__}{name}!"


def test_a_sentence_without_parameters_may_hold_braces():
    assert ENGLISH.text("a {b}") == "a {b}"
    assert ENGLISH.text("") == ""


@pytest.mark.parametrize(
    ("seconds", "english", "dutch"),
    [
        (0, "0.1 sec", "0,1 sec"),
        (0.04, "0.1 sec", "0,1 sec"),
        (0.44, "0.4 sec", "0,4 sec"),
        (9.94, "9.9 sec", "9,9 sec"),
        (9.96, "10 sec", "10 sec"),
        (41.4, "41 sec", "41 sec"),
        (89.4, "89 sec", "89 sec"),
        (90, "2 min", "2 min"),
        (150, "2 min", "2 min"),
        (3600, "60 min", "60 min"),
    ],
)
def test_durations_are_written_as_the_language_does(seconds: float, english: str, dutch: str):
    assert ENGLISH.duration(seconds) == english.replace(" ", "\u00a0")
    assert DUTCH.duration(seconds) == dutch.replace(" ", "\u00a0")


@given(st.floats(min_value=0, max_value=1e6))
def test_arabic_has_latin_digits_and_no_place_to_break(seconds: float):
    for said in (ARABIC.duration(seconds), ARABIC.number(seconds)):
        assert all(letter in string.digits for letter in said if unicodedata.category(letter) == "Nd")
        assert " " not in said


@pytest.mark.parametrize(
    ("seconds", "english"),
    [
        (0.44, "0.4 sec"),
        (59.4, "59 sec"),
        (60, "1 min"),
        (108.2, "1 min 48 sec"),
        (3600, "1 hr"),
        (7505, "2 hr 5 min"),
        (7205, "2 hr"),
        (360_000, "100 hr"),
    ],
)
def test_durations_to_be_compared(seconds: float, english: str):
    assert ENGLISH.exact_duration(seconds) == english.replace(" ", "\u00a0")
    assert " " not in ARABIC.exact_duration(seconds)


def test_shares_and_days():
    assert (ENGLISH.share(0.864), DUTCH.share(1), ARABIC.share(0)) == ("86%", "100%", "0%")
    day = date(2026, 11, 8)
    assert (ENGLISH.day(day), ENGLISH.day(day, long=True)) == ("Nov 8", "November 8")
    assert (DUTCH.day(day), DUTCH.day(day, long=True)) == ("8 nov", "8 november")
    assert "8" in ARABIC.day(day)


def test_numbers_are_written_as_the_language_does():
    assert ENGLISH.number(1234.56) == "1,234.6"
    assert DUTCH.number(1234.56) == "1.234,6"
    assert ENGLISH.number(3) == "3"


def test_a_moment_has_latin_digits_in_every_language():
    for language in LANGUAGES.values():
        said = language.moment(datetime(2025, 1, 2, 13, 4, tzinfo=UTC))
        assert "2025" in said
        assert all(letter in string.digits for letter in said if unicodedata.category(letter) == "Nd")


def test_a_moment_says_that_it_is_utc_wherever_it_comes_from():
    elsewhere = datetime(2025, 1, 2, 23, 4, 5, tzinfo=timezone(timedelta(hours=-3)))

    assert ENGLISH.moment(elsewhere) == "Jan 3, 2025, 02:04\u00a0UTC"
    assert DUTCH.moment(elsewhere) == "3 jan 2025, 02:04\u00a0UTC"
    # Spanish writes no nought before the hour.
    assert {language.clock(elsewhere) for language in LANGUAGES.values()} == {"02:04:05", "2:04:05"}


def test_sizes_are_written_as_the_language_does():
    assert [ENGLISH.size(megabytes * 2**20) for megabytes in (0, 512, 1024, 1536, 2048)] == [
        "0\u00a0MB",
        "512\u00a0MB",
        "1\u00a0GB",
        "1,536\u00a0MB",
        "2\u00a0GB",
    ]
    assert ARABIC.size(2**31).startswith("2\u00a0")
    assert ENGLISH.number(0.25, 2) == "0.25"


def test_a_sentence_that_counts():
    assert ENGLISH.plural("{count} way", "{count} ways", 1) == "1 way"
    assert ENGLISH.plural("{count} way to {name}", "{count} ways to {name}", 1200, {"name": "x"}) == "1,200 ways to x"
