"""What stylesheets may say: the same in both directions, and colours by their tokens only."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from app.web.assets import STATIC_DIR
from tests.stylesheets import SHEETS, Declaration, Rule, is_color, rules, tokens

PICTURES: Final = {path.name: path.read_text() for path in sorted(STATIC_DIR.glob("*.svg"))}

# What is said by sides all the same, by selector and property, and why that holds in both directions.
ALLOWED: Final[Mapping[tuple[str, str], str]] = {
    (".top", "overflow-x"): "not every browser knows overflow-inline, and both sides are clipped",
    (".top", "overflow-y"): "not every browser knows overflow-block",
    (".menu summary::after", "border-width"): "a chevron that points down in both directions",
    (".menu summary::after", "rotate"): "a chevron that points down in both directions",
    (".menu[open] > summary::after", "rotate"): "a chevron that points up in both directions",
    (".stop .train", "transform"): "the upright line: down is on, whatever way the words run",
    ("[data-undoing] .stop .train", "transform"): "the upright line: up is back, whatever way the words run",
    ('.stop[data-s="undone"] .dot::before', "transform"): "the upright line: up is back, whatever way the words run",
    ("to", "transform"): "a ring that turns once round",
}

_SIDES: Final = {"left": "inline-start", "right": "inline-end", "top": "block-start", "bottom": "block-end"}
_AXES: Final = {"width": "inline", "height": "block", "x": "inline", "y": "block"}
_CORNERS: Final = {
    "top-left": "start-start",
    "top-right": "start-end",
    "bottom-left": "end-start",
    "bottom-right": "end-end",
}
# Four values begin at the top and go clockwise, which is not mirrored.
_CLOCKWISE: Final = re.compile(r"(scroll-)?(margin|padding)|inset|border-(width|style|color|image-outset)")
_TURNING: Final = frozenset({"transform", "rotate", "translate", "scale", "transform-origin", "offset-rotate"})


@dataclass(frozen=True)
class Finding:
    """What is wrong in a stylesheet, and what to do about it."""

    line: int
    text: str
    advice: str

    def at(self, name: str) -> str:
        return f"static/{name}:{self.line}: {self.text}: {self.advice}"


def told(found: Mapping[str, Iterable[Finding]]) -> list[str]:
    """Every finding as a line, with its file."""
    return [each.at(name) for name, findings in found.items() for each in findings]


def selectors(rule: Rule) -> list[str]:
    """The selectors of a rule's list; commas in parentheses do not part them."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", rule.selector)]


# Directions


def physical(css: str) -> list[Finding]:
    """What is said by sides although there is a word for it that turns with the direction."""
    every = rules(css)
    return [
        Finding(each.line, f"{selector} {{ {each.name}: {each.value} }}", advice)
        for rule in every
        for selector in selectors(rule)
        if "[dir=" not in selector and ":dir(" not in selector
        for each in rule.declarations
        if (advice := _side(each) or _turn(each, selector, every)) and (selector, each.name) not in ALLOWED
    ]


def _side(declared: Declaration) -> str:
    """What to write instead of a property or value that names a side; empty where none does."""
    name, value = declared.name, declared.value
    for corner, logical in _CORNERS.items():
        if name == f"border-{corner}-radius":
            return f"write border-{logical}-radius"
    if name in _SIDES:
        return f"write inset-{_SIDES[name]}"
    if found := re.fullmatch(r"((?:scroll-)?(?:margin|padding)|border)-(left|right|top|bottom)(-\w+)?", name):
        return f"write {found[1]}-{_SIDES[found[2]]}{found[3] or ''}"
    if found := re.fullmatch(r"((?:min|max)-|contain-intrinsic-)?(width|height)", name):
        return f"write {found[1] or ''}{_AXES[found[2]]}-size"
    if found := re.fullmatch(r"(overflow|overscroll-behavior)-([xy])", name):
        return f"write {found[1]}-{_AXES[found[2]]}"
    parts = _parts(value)
    if _CLOCKWISE.fullmatch(name) and len(parts) == 4 and parts[1] != parts[3]:
        return "write the two sides of the line apart: …-inline and …-block"
    if name == "border-radius" and len(parts) > 1 and "/" not in parts and not _is_mirrored(parts):
        return "write the corners apart: border-start-start-radius and so on"
    if name in {"box-shadow", "text-shadow"} and any(_casts_aside(_parts(shadow)) for shadow in value.split(",")):
        return "a shadow to one side falls to the other in Arabic: let it fall down"
    if name not in _TURNING and re.search(r"(?<![\w-])(left|right)(?![\w-])", _plain(value)):
        return "write start or end (inline-start, inline-end) instead of left or right"
    return ""


def _turn(declared: Declaration, selector: str, every: Sequence[Rule]) -> str:
    """What to do about a turn to one side that nothing turns back in the other direction; empty where all is well."""
    name, value = declared.name, declared.value
    first = _parts(value)[0] if value else ""
    aside = {
        "transform": re.search(r"rotate|skew|matrix|translate(X|3d)?\(|scale(X|3d)?\(-", value),
        "rotate": value not in {"none", "0", "0deg"},
        "translate": first not in {"none", "0"} and not re.match(r"0[a-z%]", first),
        "scale": first.startswith("-"),
        "transform-origin": re.search(r"left|right", value),
    }
    if not aside.get(name):
        return ""
    turned = any(
        "[dir=" in other and other.endswith(f" {selector}") and name in {each.name for each in rule.declarations}
        for rule in every
        for other in selectors(rule)
    )
    return "" if turned else f'add a rule for [dir="rtl"] {selector}, or say in ALLOWED why both directions look so'


def _parts(value: str) -> list[str]:
    return re.findall(r"(?:[^\s(]|\([^)]*\))+", value)


def _plain(value: str) -> str:
    """A value without its strings and addresses."""
    return re.sub(r"""url\((?:"[^"]*"|'[^']*'|[^)]*)\)|"[^"]*"|'[^']*'|var\([^)]*\)""", "", value)


def _is_mirrored(radii: Sequence[str]) -> bool:
    top_left, top_right, *rest = radii
    bottom_right = rest[0] if rest else top_left
    bottom_left = rest[1] if len(rest) > 1 else top_right
    return (top_left, bottom_left) == (top_right, bottom_right)


def _casts_aside(shadow: Sequence[str]) -> bool:
    lengths = [part for part in shadow if re.match(r"-?[\d.]", part)]
    return bool(lengths) and not re.fullmatch(r"-?0[a-z]*", lengths[0])


def test_stylesheets_name_no_side():
    found = told({name: physical(css) for name, css in SHEETS.items()})
    assert found == [], "\n".join(found)


def test_every_side_that_is_allowed_is_still_named():
    said = {
        (selector, each.name)
        for css in SHEETS.values()
        for rule in rules(css)
        for selector in selectors(rule)
        for each in rule.declarations
    }
    assert set(ALLOWED) - said == set(), "tests/unit/web/test_styles.py: take out of ALLOWED what is no longer said"


@pytest.mark.parametrize(
    ("css", "advice"),
    [
        ("a { left: 0 }", "inset-inline-start"),
        ("a { width: 1px }", "inline-size"),
        ("a { max-height: 1px }", "max-block-size"),
        ("a { margin-left: 1px }", "margin-inline-start"),
        ("a { padding-bottom: 1px }", "padding-block-end"),
        ("a { border-right-color: red }", "border-inline-end-color"),
        ("a { border-top: 0 }", "border-block-start"),
        ("a { border-top-left-radius: 1px }", "border-start-start-radius"),
        ("a { scroll-margin-top: 1px }", "scroll-margin-block-start"),
        ("a { overflow-x: auto }", "overflow-inline"),
        ("a { margin: 0 1px 0 2px }", "apart"),
        ("a { inset: 0 auto 0 0 }", "apart"),
        ("a { border-radius: 1px 0 0 1px }", "corners"),
        ("a { border-radius: 1px 2px }", "corners"),
        ("a { text-align: right }", "start or end"),
        ("a { float: left }", "start or end"),
        ("a { background: url(x.svg) right center }", "start or end"),
        ("a { background: linear-gradient(to right, red, blue) }", "start or end"),
        ("a { box-shadow: 2px 0 0 red }", "shadow"),
        ("a { box-shadow: inset 0 1px red, inset -2px 0 red }", "shadow"),
        ("a { transform: scaleX(-1) }", '[dir="rtl"] a'),
        ("a { transform: translateX(1px) }", '[dir="rtl"] a'),
        ("a { transform-origin: left }", '[dir="rtl"] a'),
        ("a { rotate: 45deg }", '[dir="rtl"] a'),
        ("a { translate: 1px 0 }", '[dir="rtl"] a'),
        ('a, [dir="rtl"] b { rotate: 45deg }', '[dir="rtl"] a'),
        ("@media (min-width: 1px) { a { left: 0 } }", "inset-inline-start"),
    ],
)
def test_a_side_is_found(css: str, advice: str):
    (finding,) = physical(css)
    assert advice in finding.advice


@pytest.mark.parametrize(
    "css",
    [
        "@media (min-width: 1px) { a { inline-size: 1px; margin-inline: 0 1px; inset: 0 1px; text-align: start } }",
        "a { margin: 0 1px 2px 1px; border-radius: 1px 1px 0 0; box-shadow: inset 0 -4px var(--x) }",
        'a { transform-origin: left } [dir="rtl"] a { transform-origin: right }',
        '[dir="rtl"] a { transform: scaleX(-1); text-align: right }',
        "a { transform: scaleY(0); translate: 0 1px; rotate: none; transform-origin: top; background: url('left.svg') }",
        "a { --left: 1px; inset-inline-start: var(--left); grid-template-areas: 'left right' }",
    ],
)
def test_what_turns_with_the_direction_passes(css: str):
    assert physical(css) == []


# Colours

_NAMES_OF_THE_SYSTEM: Final = """
    accentcolor accentcolortext activetext buttonborder buttonface buttontext canvas canvastext field fieldtext
    graytext highlight highlighttext linktext mark marktext selecteditem selecteditemtext visitedtext"""
_SYSTEM: Final = frozenset(_NAMES_OF_THE_SYSTEM.split())
_COLOUR: Final = re.compile(
    r"#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\(|(?<![\w-])[a-z]+(?![\w(-])", re.IGNORECASE
)
# Nothing at all to see.
_NOTHING: Final = frozenset({"#0000", "#00000000"})
# Their words are other things' names.
_NAMES: Final = re.compile(
    r"(font|animation|transition|grid|container|counter|will-change|view-transition)(-.*)?|content"
)


def colours(css: str) -> list[Finding]:
    """Colours that are no token, outside the tokens and where nothing but a colour will do."""
    return [
        Finding(each.line, f"{rule.selector} {{ {each.name}: {each.value} }}", f"use a token instead of {colour}")
        for rule in rules(css)
        if not rule.selector.startswith("@property")  # an initial value cannot be a token
        for each in rule.declarations
        if not (each.name.startswith("--") and rule.selector.startswith(":root"))
        for colour in _colours(each, forced=any("forced-colors" in around for around in rule.within))
    ]


def _colours(declared: Declaration, *, forced: bool) -> Iterator[str]:
    if _NAMES.fullmatch(declared.name):
        return
    for found in _COLOUR.finditer(_plain(declared.value)):
        colour = found[0].lower()
        if colour in _NOTHING or (forced and colour in _SYSTEM):
            continue
        if not colour.isalpha() or colour in _SYSTEM or is_color(colour):
            yield found[0]


def test_stylesheets_use_no_colour_that_is_no_token():
    found = told({name: colours(css) for name, css in SHEETS.items()})
    assert found == [], "\n".join(found)


def test_pictures_use_no_colour_that_is_no_token():
    known = {value.lower() for token in tokens(SHEETS["portal.css"]) for value in (token.value, token.dark)}
    for name, picture in PICTURES.items():
        for colour in re.findall(r"#[0-9a-fA-F]{3,8}\b", picture):
            assert colour.lower() in known, f"static/{name}: {colour} is no colour of portal.css"


@pytest.mark.parametrize(
    "css",
    [
        "a { color: #123 }",
        "a { border: 1px solid rgb(1 2 3 / 0.5) }",
        "a { background: HSL(1 2% 3%) }",
        "a { background: linear-gradient(white, #0000) }",
        "a { --mine: tomato }",
        "a { outline-color: Highlight }",
        "@media (forced-colors: active) { a { color: red } }",
        ":root { background: #fff }",
    ],
)
def test_a_colour_that_is_no_token_is_found(css: str):
    assert len(colours(css)) == 1


@pytest.mark.parametrize(
    "css",
    [
        ':root { --paper: #fff } :root[data-theme="dark"] { --paper: black }',
        "a { color: var(--red); background: url('red.svg#123'); mask: var(--tan) center; border: solid currentColor }",
        "a { background: linear-gradient(#0000, transparent); font-family: Tan; animation: snow 1s linear }",
        "@media (forced-colors: active) { a { background: CanvasText } }",
        "@property --x { initial-value: #fff }",
    ],
)
def test_what_is_no_colour_of_its_own_passes(css: str):
    assert colours(css) == []
