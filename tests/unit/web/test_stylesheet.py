"""The reader of stylesheets, and what it reads of ours: the same tokens in either dark, and colours that can be told apart."""

import re
from typing import Final

import pytest

from app.web.ui.shared.templating import STATIC_DIR
from app.web.ui.styleguide.stylesheet import (
    DECORATIVE,
    SHAPE_CONTRAST,
    SHAPES,
    TEXT_CONTRAST,
    TEXTS,
    Declaration,
    Rule,
    Token,
    contrast,
    rules,
    tokens,
)

CSS: Final = (STATIC_DIR / "portal.css").read_text()
TOKENS: Final = {token.name: token for token in tokens(CSS)}
COLOURS: Final = {name for name, token in TOKENS.items() if token.is_colour}


# The reader


def test_rules_are_read_with_what_is_around_them():
    css = """/* a { b: c } */
    a, b:has(> c) { color: red; margin:
      0 1px }
    @media (min-width: 4rem) {
      a { d: e }
      @container (min-width: 5rem) { a::before { content: "}"; } }
    }
    """
    assert rules(css) == [
        Rule("a, b:has(> c)", (), 2, [Declaration("color", "red", 2), Declaration("margin", "0 1px", 2)]),
        Rule("@media (min-width: 4rem)", (), 4),
        Rule("a", ("@media (min-width: 4rem)",), 5, [Declaration("d", "e", 5)]),
        Rule("@container (min-width: 5rem)", ("@media (min-width: 4rem)",), 6),
        Rule(
            "a::before",
            ("@media (min-width: 4rem)", "@container (min-width: 5rem)"),
            6,
            [Declaration("content", '"}"', 6)],
        ),
    ]


def test_strings_and_addresses_are_left_whole():
    (rule,) = rules("""a { --x: url("data:image/svg+xml,%3Csvg;{}/*'"); --y: url(data:a;b); --z: 'it\\'s; }'; }""")
    assert [(each.name, each.value) for each in rule.declarations] == [
        ("--x", """url("data:image/svg+xml,%3Csvg;{}/*'")"""),
        ("--y", "url(data:a;b)"),
        ("--z", "'it\\'s; }'"),
    ]


def test_a_note_stands_behind_its_declaration():
    (rule,) = rules("a {\n  --x: 1px; /* one\n two */\n  /* of nothing */\n  --y: 2px;\n}")
    assert rule.declarations == [Declaration("--x", "1px", 2, "one two"), Declaration("--y", "2px", 5)]


def test_rules_within_rules_are_read():
    outer, inner = rules("a { b: c; & d { e: f } g: h }")
    assert (outer.selector, [each.name for each in outer.declarations]) == ("a", ["b", "g"])
    assert (inner.selector, inner.within, [each.name for each in inner.declarations]) == ("& d", ("a",), ["e"])


def test_tokens_have_their_values_of_both_themes():
    css = """
    :root { color-scheme: light; --paper: #fff; /* the page */ --s1: 1rem; }
    @media (prefers-color-scheme: dark) { :root { --paper: #111; } }
    :root[data-theme="dark"] { --paper: #000; }
    a { --mine: 1px; }
    """
    assert tokens(css) == [Token("paper", "#fff", "#000", "the page"), Token("s1", "1rem", "1rem", "")]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("#000", "#fff", 21.0), ("#fff", "#000", 21.0), ("#a12a1a", "#A12A1A", 1.0), ("#767676", "#ffffff", 4.54)],
)
def test_contrast_is_that_of_wcag(one: str, other: str, expected: float):
    assert contrast(one, other) == pytest.approx(expected, abs=0.005)


# Our tokens


def test_the_dark_tokens_are_the_same_both_times():
    twice = [
        [(each.name, each.value) for each in rule.declarations]
        for rule in rules(CSS)
        if rule.selector in {':root[data-theme="dark"]', ':root:not([data-theme="light"])'}
    ]
    assert len(twice) == 2
    assert twice[0] == twice[1], "portal.css: change a dark token in both places"


def test_every_colour_is_dark_in_the_dark_or_says_why_not():
    same = {name for name in COLOURS if TOKENS[name].value == TOKENS[name].dark}
    assert same == {"on-line"}, "portal.css: a colour of the light theme has none for the dark"


PAIRS: Final = [
    pytest.param(theme, front, back, least, id=f"{front} on {back}, {theme}")
    for pairs, least in ((TEXTS, TEXT_CONTRAST), (SHAPES, SHAPE_CONTRAST))
    for front, backs in pairs.items()
    for back in backs
    for theme in ("light", "dark")
]


@pytest.mark.parametrize(("theme", "front", "back", "least"), PAIRS)
def test_what_stands_on_something_can_be_told_apart_from_it(theme: str, front: str, back: str, least: float):
    one, other = ((TOKENS[name].value if theme == "light" else TOKENS[name].dark) for name in (front, back))
    found = contrast(one, other)
    assert found >= least, (
        f"portal.css: --{front} {one} on --{back} {other} has {found:.2f}: at least {least} is needed"
    )


def test_the_least_contrasts_are_those_of_wcag():
    assert (TEXT_CONTRAST, SHAPE_CONTRAST) == (4.5, 3)
    assert contrast("#777", "#fff") < TEXT_CONTRAST  # a known near miss
    assert contrast("#999", "#fff") < SHAPE_CONTRAST


def test_every_colour_is_measured():
    measured = {name for pairs in (TEXTS, SHAPES) for front, backs in pairs.items() for name in (front, *backs)}
    missing = COLOURS - measured - DECORATIVE
    assert missing == set(), (
        f"app/web/ui/styleguide/stylesheet.py: say in TEXTS or SHAPES on what {sorted(missing)} stand"
    )


@pytest.mark.parametrize("sheet", sorted(STATIC_DIR.glob("*.css")), ids=lambda path: path.name)
def test_every_colour_of_a_text_is_measured(sheet):
    for rule in rules(sheet.read_text()):
        for each in rule.declarations:
            for name in re.findall(r"var\(--([\w-]+)", each.value) if each.name == "color" else ():
                assert name not in COLOURS or name in {*TEXTS, *SHAPES}, (
                    f"{sheet.name}:{each.line}: text in --{name}, which app/web/ui/styleguide/stylesheet.py has in no pair"
                )
