"""The reader of stylesheets, and the tokens that it reads of ours: one dark theme, and colors with enough contrast."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from tests.stylesheets import SHEETS, Declaration, Rule, Token, classes, contrast, is_color, rules, states, tokens

CSS: Final = SHEETS["portal.css"]
TOKENS: Final = {token.name: token for token in tokens(CSS)}
COLORS: Final = {name for name, token in TOKENS.items() if token.is_color}

# What stands on what, and the least contrast between them (WCAG 2.2, 1.4.3 and 1.4.11). axe measures the text of each
# page; shapes are measured here alone.
TEXT_CONTRAST: Final = 4.5
SHAPE_CONTRAST: Final = 3.0
TEXTS: Final[Mapping[str, Sequence[str]]] = {
    "ink": ("paper", "sheet", "sunk", "stop-wash"),
    "ink2": ("paper", "sheet", "sunk"),
    "stop": ("paper", "sheet"),
    "on-stop": ("stop",),
    "on-line": ("line",),
}
SHAPES: Final[Mapping[str, Sequence[str]]] = {
    "ink": ("paper", "sheet", "sunk"),
    "edge": ("paper", "sheet", "sunk"),
    "casing": ("paper", "sheet", "sunk"),
    "stop": ("paper", "sheet", "stop-wash"),
}
# Quiet rules between things that are apart anyway.
DECORATIVE: Final = frozenset({"rule"})


# The reader


def test_rules_are_read_with_those_around_them():
    css = """/* a { b: c } */
    a, b:has(> c) { color: red; margin:
      0 /* and */ 1px }
    @media (min-width: 4rem) {
      a { d: e }
      @container (min-width: 5rem) { a::before { content: "}"; } }
    }
    """
    assert rules(css) == [
        Rule("a, b:has(> c)", (), 2, (Declaration("color", "red", 2), Declaration("margin", "0 1px", 2))),
        Rule("@media (min-width: 4rem)", (), 4),
        Rule("a", ("@media (min-width: 4rem)",), 5, (Declaration("d", "e", 5),)),
        Rule("@container (min-width: 5rem)", ("@media (min-width: 4rem)",), 6),
        Rule(
            "a::before",
            ("@media (min-width: 4rem)", "@container (min-width: 5rem)"),
            6,
            (Declaration("content", '"}"', 6),),
        ),
    ]


def test_rules_within_rules_are_read():
    outer, inner = rules("a { b: c; & d { e: f } g: h }")
    assert (outer.selector, [each.name for each in outer.declarations]) == ("a", ["b", "g"])
    assert (inner.selector, inner.within, [each.name for each in inner.declarations]) == ("& d", ("a",), ["e"])


@pytest.mark.parametrize("css", ["a { color: red; } }", "a { color red }", "a"])
def test_a_mistake_is_not_passed_over(css: str):
    with pytest.raises(ValueError, match="line 1: "):
        rules(css)


def test_tokens_have_their_values_of_both_themes():
    css = """
    :root { color-scheme: light; --paper: #fff; /* the page */ --s1: 1rem; }
    @media (prefers-color-scheme: dark) { :root { --paper: #111; } }
    :root[data-theme="dark"] { --paper: #000; }
    a { --mine: 1px; }
    """
    assert tokens(css) == [Token("paper", "#fff", "#000"), Token("s1", "1rem", "1rem")]


def test_classes_and_states_are_those_of_selectors():
    css = 'a.b:has(.c) { d: 0.5rem }\n@media (min-width: 1.5rem) { .e[data-x=".f"], [data-s="now"] .b { g: url(h.i) } }'
    assert classes(css) == {"b": 1, "c": 1, "e": 2}
    assert states(css) == {"now": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("#fff", True),
        ("Tomato", True),
        ("rgb(1 2 3 / 0.5)", True),
        ("transparent", False),
        ("#0000", False),
        ("currentColor", False),
        ("var(--red)", False),
        ("1px solid red", False),
    ],
)
def test_a_color_is_told_from_none(value: str, expected: bool):
    assert is_color(value) is expected


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


def test_every_color_is_dark_in_the_dark_or_says_why_not():
    same = {name for name in COLORS if TOKENS[name].value == TOKENS[name].dark}
    assert same == {"on-line"}, "portal.css: a color of the light theme has none for the dark"


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


def test_every_color_is_measured():
    measured = {name for pairs in (TEXTS, SHAPES) for front, backs in pairs.items() for name in (front, *backs)}
    missing = COLORS - measured - DECORATIVE
    assert missing == set(), (
        f"tests/unit/web/test_stylesheet.py: say in TEXTS or SHAPES on what {sorted(missing)} stand"
    )


@pytest.mark.parametrize("name", SHEETS)
def test_every_color_of_a_text_is_measured(name: str):
    for rule in rules(SHEETS[name]):
        for each in rule.declarations:
            for color in re.findall(r"var\(--([\w-]+)", each.value) if each.name == "color" else ():
                assert color not in COLORS or color in {*TEXTS, *SHAPES}, (
                    f"{name}:{each.line}: text in --{color}, which is in no pair of TEXTS or SHAPES"
                )
