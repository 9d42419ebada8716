"""Reads stylesheets with tinycss2: rules with those around them, tokens in either theme, the classes and states styled."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tinycss2 import parse_blocks_contents, parse_stylesheet, serialize
from tinycss2.ast import AtRule, Node, ParseError, QualifiedRule
from tinycss2.ast import Declaration as Declared
from tinycss2.color4 import Color, parse_color

from app.web.assets import STATIC_DIR

SHEETS: Final = {path.name: path.read_text() for path in sorted(STATIC_DIR.glob("*.css"))}

_LIGHT: Final = ":root"
_DARK: Final = ':root[data-theme="dark"]'
_CLASS: Final = re.compile(r"\.([a-zA-Z][\w-]*)")


@dataclass(frozen=True)
class Declaration:
    """One property and its value."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class Rule:
    """A selector, or an at-rule, and what it declares itself. within: the rules around it, outermost first."""

    selector: str
    within: tuple[str, ...]
    line: int
    declarations: tuple[Declaration, ...] = ()


@dataclass(frozen=True)
class Token:
    """A custom property of the root. dark: its value in the dark theme, mostly the same."""

    name: str
    value: str
    dark: str

    @property
    def is_color(self) -> bool:
        return is_color(self.value)


def rules(css: str) -> list[Rule]:
    """Every rule of a stylesheet, in its order. Raises ValueError at what a browser would pass over."""
    return list(_rules(parse_stylesheet(css, skip_comments=True, skip_whitespace=True), ()))


def _rules(nodes: Iterable[Node], within: tuple[str, ...]) -> Iterator[Rule]:
    for node in nodes:
        if isinstance(node, ParseError):
            raise ValueError(f"line {node.source_line}: {node.message}")
        if not isinstance(node, AtRule | QualifiedRule):
            continue
        keyword = f"@{node.at_keyword} " if isinstance(node, AtRule) else ""
        selector = f"{keyword}{_text(node.prelude)}".strip()
        content = parse_blocks_contents(node.content or (), skip_comments=True, skip_whitespace=True)
        declared = (each for each in content if isinstance(each, Declared))
        declarations = (Declaration(each.name, _text(each.value), each.source_line) for each in declared)
        yield Rule(selector, within, node.source_line, tuple(declarations))
        yield from _rules((each for each in content if not isinstance(each, Declared)), (*within, selector))


def _text(nodes: Iterable[Node]) -> str:
    return re.sub(r"\s+", " ", serialize([each for each in nodes if each.type != "comment"])).strip()


def tokens(css: str) -> list[Token]:
    """The tokens: what the root declares, and what of it is different in the dark."""
    light = _declared(css, _LIGHT)
    dark = _declared(css, _DARK)
    return [Token(name.removeprefix("--"), value, dark.get(name, value)) for name, value in light.items()]


def _declared(css: str, selector: str) -> dict[str, str]:
    return {
        each.name: each.value
        for rule in rules(css)
        if rule.selector == selector and not rule.within
        for each in rule.declarations
        if each.name.startswith("--")
    }


def classes(css: str) -> dict[str, int]:
    """The classes that a stylesheet has a rule for, each with its first line."""
    found: dict[str, int] = {}
    for rule in rules(css):
        # A decimal point in an at-rule, or a file's name in an attribute, begins no class.
        plain = re.sub(r"\[[^]]*\]", "", rule.selector)
        for name in [] if plain.startswith("@") else _CLASS.findall(plain):
            found.setdefault(name, rule.line)
    return found


def states(css: str) -> dict[str, int]:
    """The states (`data-s`) that a stylesheet has a rule for, each with its first line."""
    found: dict[str, int] = {}
    for rule in rules(css):
        for name in re.findall(r'\[data-s="(\w+)"\]', rule.selector):
            found.setdefault(name, rule.line)
    return found


def is_color(value: str) -> bool:
    """Whether a value is a color of its own; `transparent` and `currentcolor` are none."""
    color = parse_color(value)
    return isinstance(color, Color) and color[3] > 0


def contrast(one: str, other: str) -> float:
    """The contrast of two colors, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(value: str) -> float:
    color = parse_color(value)
    assert isinstance(color, Color), value
    srgb = color.to("srgb")
    return 0.2126 * _linear(srgb[0]) + 0.7152 * _linear(srgb[1]) + 0.0722 * _linear(srgb[2])


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
