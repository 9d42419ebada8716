"""Reads a stylesheet: its rules, its tokens in either theme, and how well two of their colours can be told apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

# What stands on what, and how well it must be told apart from it (WCAG 2.2, 1.4.3 and 1.4.11).
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
# Quiet lines between things that are apart anyway.
DECORATIVE: Final = frozenset({"rule"})

_LIGHT: Final = ":root"
_DARK: Final = ':root[data-theme="dark"]'
_PIECE: Final = re.compile(
    r"""/\*(?P<comment>.*?)\*/|(?P<mark>[{};])|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^"')]*\)|.""", re.DOTALL
)
_HEX: Final = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)


@dataclass(frozen=True)
class Declaration:
    """One property and its value. note: the comment behind it."""

    name: str
    value: str
    line: int
    note: str = ""


@dataclass(frozen=True)
class Rule:
    """A selector, or an at-rule, and what it declares itself. within: the rules around it, outermost first."""

    selector: str
    within: tuple[str, ...]
    line: int
    declarations: list[Declaration] = field(default_factory=list)


@dataclass(frozen=True)
class Token:
    """A name that the stylesheet has for a value. dark: its value in the dark theme, mostly the same; note: its use."""

    name: str
    value: str
    dark: str
    note: str

    @property
    def is_colour(self) -> bool:
        """Whether its value is a colour."""
        return _HEX.fullmatch(self.value) is not None


def rules(css: str) -> list[Rule]:
    """Read every rule of a stylesheet, in its order."""
    found: list[Rule] = []
    open_rules: list[Rule] = []
    text, line, began = "", 1, 1
    for piece in _PIECE.finditer(css):
        comment, mark = piece["comment"], piece["mark"]
        if comment is not None:
            _note(open_rules, line, comment)
        elif mark == "{":
            rule = Rule(_plain(text), tuple(each.selector for each in open_rules), began)
            found.append(rule)
            open_rules.append(rule)
        elif mark is not None:
            if open_rules and text.strip():
                name, _, value = text.partition(":")
                open_rules[-1].declarations.append(Declaration(name.strip(), _plain(value), began))
            if mark == "}":
                open_rules.pop()
        else:
            began = began if text.strip() else line
            text += piece[0]
        if mark is not None:
            text = ""
        line += piece[0].count("\n")
    return found


def _note(open_rules: list[Rule], line: int, comment: str) -> None:
    """Keep what stands behind a declaration, on its line."""
    declared = open_rules[-1].declarations if open_rules else []
    if declared and declared[-1].line == line:
        last = declared.pop()
        declared.append(Declaration(last.name, last.value, last.line, _plain(comment)))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def tokens(css: str) -> list[Token]:
    """Read the tokens: what the root declares, and what of it is different in the dark."""
    light = _declared(css, _LIGHT)
    dark = {each.name: each.value for each in _declared(css, _DARK)}
    return [
        Token(each.name.removeprefix("--"), each.value, dark.get(each.name, each.value), each.note) for each in light
    ]


def _declared(css: str, selector: str) -> Iterator[Declaration]:
    return (
        each
        for rule in rules(css)
        if rule.selector == selector and not rule.within
        for each in rule.declarations
        if each.name.startswith("--")
    )


def contrast(one: str, other: str) -> float:
    """How well two colours can be told apart, from 1 to 21, as WCAG 2 measures it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
