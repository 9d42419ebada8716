"""Reads templates and scripts without running them: the HTML around a template's expressions, and the literals of both."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment
from jinja2.lexer import (
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_DATA,
    TOKEN_NAME,
    TOKEN_OPERATOR,
    TOKEN_STRING,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
)

from app.web.ui.shared.renderer import TEMPLATES_DIR

# Every template by its path below templates/, as pages name it.
TEMPLATES: Final = {
    path.relative_to(TEMPLATES_DIR).as_posix(): path.read_text() for path in sorted(TEMPLATES_DIR.rglob("*.html"))
}

# What stands for an expression in the middle of a text.
FILLED: Final = "\ufffc"
_GETTEXT: Final = frozenset({"_", "gettext", "ngettext", "pgettext", "npgettext"})


@dataclass(frozen=True)
class Literal:
    """A text in a source. before: what stands before it in its statement; around: before each bracket around that."""

    line: int
    text: str
    before: str = ""
    around: Sequence[str] = ()


@dataclass(frozen=True)
class Template:
    """html: what is left without expressions, line for line; literals: those in expressions that gettext does not get."""

    html: str
    literals: Sequence[Literal]


def read_template(source: str) -> Template:
    """Take a template apart. What stands in `{% trans %}` is no part of either."""
    html, literals = "", []
    tokens = list(Environment(extensions=["jinja2.ext.i18n"], autoescape=True).lex(source))
    translated = False
    calls: list[bool] = []  # those around: whether each is gettext's
    before = ""
    for at, (line, kind, value) in enumerate(tokens):
        if kind == TOKEN_DATA and not translated:
            html += value
            continue
        html += "\n" * value.count("\n")
        if kind == TOKEN_VARIABLE_BEGIN and not translated:
            html += FILLED
        if kind in {TOKEN_BLOCK_BEGIN, TOKEN_VARIABLE_BEGIN, TOKEN_BLOCK_END, TOKEN_VARIABLE_END}:
            calls = []
        if kind == TOKEN_BLOCK_BEGIN:
            statement = next(token for _, what, token in tokens[at + 1 :] if what == TOKEN_NAME)
            translated = statement == "trans" or (translated and statement != "endtrans")
        elif kind == TOKEN_OPERATOR and value == "(":
            calls.append(before in _GETTEXT)
        elif kind == TOKEN_OPERATOR and value == ")":
            calls.pop()
        elif kind == TOKEN_STRING and not any(calls):
            literals.append(Literal(line, value[1:-1]))
        before = value if kind == TOKEN_NAME else ""
    return Template(html, literals)


_PIECE: Final = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<template>`)
    |(?P<regex>(?<=[(,=:\[!&|?{};\n])\s*/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+/[a-z]*)
    |(?P<open>[({\[])|(?P<close>[)}\]])|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


def read_script(source: str) -> list[Literal]:
    """The strings and template literals of a script, in their order."""
    return list(_literals(source, 1))


def _literals(source: str, line: int) -> Iterator[Literal]:
    at, statement = 0, ""
    around: list[str] = []
    while at < len(source):
        piece = _PIECE.match(source, at)
        assert piece
        at, text = piece.end(), piece[0]
        if piece["text"]:
            yield Literal(line, text[1:-1], statement, tuple(around))
        elif piece["template"]:
            said, codes, at = _template_literal(source, at)
            yield Literal(line, said, statement, tuple(around))
            for began, code in codes:
                yield from _literals(code, line + source.count("\n", piece.start(), began))
            text = source[piece.start() : at]
        elif piece["open"]:
            around.append(statement)
        elif piece["close"] and around:
            around.pop()
        if not piece["comment"]:
            statement = "" if text in {";", "{", "}"} else statement + text
        line += source.count("\n", piece.start(), at)


def _template_literal(source: str, at: int) -> tuple[str, list[tuple[int, str]], int]:
    """The text of a template literal, the code within it and where that begins, and where the literal ends."""
    said, codes = "", []
    while source[at] != "`":
        if source.startswith("${", at):
            began, depth = at + 2, 1
            at += 2
            while depth:
                depth += {"{": 1, "}": -1}.get(source[at], 0)
                at += 1
            codes.append((began, source[began : at - 1]))
            said += FILLED
        else:
            step = 2 if source[at] == "\\" else 1
            said += source[at : at + step]
            at += step
    return said, codes, at + 1
