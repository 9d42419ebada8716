"""Every sentence that a page shows goes through gettext: none stands in a template, a script or a page's Python."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from app.web.assets import STATIC_DIR
from app.web.ui.shared.renderer import TEMPLATES_DIR
from tests.sources import FILLED, TEMPLATES, read_script, read_template

ROOT: Final = Path(__file__).parents[3]

# Names and commands are the same in every language.
NAMES: Final = ("AI Stack Deployer", "opencode attach", 'curl -H "Authorization: Bearer $TOKEN"')
# For developers, and so in English: said once here, and by `lang="en" dir="ltr"` in the templates themselves.
ENGLISH_TEMPLATES: Final = ("api_docs/docs.html",)
UI: Final = ROOT / "app/web/ui"
ENGLISH_PYTHON: Final = (UI / "api_docs" / "view.py",)
# They say nothing but headers and addresses.
WORDLESS: Final = (UI / "crawlers" / "routes.py", UI / "shared" / "responses.py")
PYTHON: Final = tuple(sorted(set(UI.rglob("*.py")) - set(WORDLESS)))

WORD: Final = re.compile(r"[^\W\d_]{2,}")
TITLE: Final = re.compile(r"^[A-Z][a-z]+$")
_PART: Final = rf"(?:[^\W\d_]{{2,}}|{FILLED})"
SENTENCE: Final = re.compile(rf"(?=.*[^\W\d_]{{2}}){_PART}[,.:;]?\s+{_PART}", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """Words that stand in a source as they are, and what to do with them."""

    line: int
    text: str
    advice: str

    def at(self, file: Path) -> str:
        return f"{file.relative_to(ROOT)}:{self.line}: {self.text!r}: {self.advice}"


# Templates


class Words(HTMLParser):
    """Reads a template without its expressions: what text and attributes are left."""

    SPOKEN: Final = frozenset(
        {"title", "alt", "placeholder", "label", "aria-label", "aria-description", "aria-valuetext"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Found] = []

    def handle_data(self, data: str) -> None:
        line = self.getpos()[0] + len(data[: len(data) - len(data.lstrip())].splitlines()[1:])
        self._look(line, data, WORD, 'write {{ _("…") }}, or {% trans %} where names stand in it')

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        for name, value in attrs:
            button = tag == "input" and named.get("type") in {"submit", "button", "reset"}
            described = tag == "meta" and named.get("name") == "description"
            if name in self.SPOKEN or (name == "value" and button) or (name == "content" and described):
                self._look(self.getpos()[0], value or "", WORD, f"write {name}=\"{{{{ _('…') }}}}\"")
            elif name.startswith("data-"):
                advice = f"a script shows it, so write {name}=\"{{{{ _('…') }}}}\""
                self._look(self.getpos()[0], value or "", SENTENCE, advice)
                self._look(self.getpos()[0], value or "", TITLE, advice)

    def _look(self, line: int, text: str, pattern: re.Pattern[str], advice: str) -> None:
        for name in NAMES:
            text = text.replace(name, "")
        if pattern.search(text):
            self.found.append(Found(line, " ".join(text.split()), advice))


def words_of_template(source: str) -> list[Found]:
    """What a template says in words of its own: in text, in attributes, and in what it hands to a macro."""
    template = read_template(source)
    reader = Words()
    reader.feed(template.html)
    reader.close()
    handed = [
        Found(each.line, each.text, 'write _("…") around it')
        for each in template.literals
        if (SENTENCE.search(each.text) or TITLE.search(each.text)) and each.text.strip() not in NAMES
    ]
    return sorted(handed + reader.found, key=lambda each: each.line)


def test_no_template_has_words_of_its_own():
    found = [
        each.at(TEMPLATES_DIR / name)
        for name, source in TEMPLATES.items()
        if name not in ENGLISH_TEMPLATES
        for each in words_of_template(source)
    ]
    assert found == [], "\n".join(found)


def test_pages_that_stay_english_say_so():
    for name in ENGLISH_TEMPLATES:
        assert 'lang="en" dir="ltr"' in TEMPLATES[name], f"templates/{name}: mark its words as English"


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("<p>Hello</p>", 1, "Hello"),
        ("<p>\n  Nothing left.\n</p>", 2, "Nothing left."),
        ("<p>{{ name }} is\ngone</p>", 1, f"{FILLED} is gone"),
        ('<p>{{ _("Fine") }}</p>\n<p>Dag</p>', 2, "Dag"),
        ("{% trans %}Fine{% endtrans %} not so", 1, "not so"),
        ("{% if x %}yes it is{% endif %}", 1, "yes it is"),
        ('{# Fine #}\n<img alt="A picture" />', 2, "A picture"),
        ('<a title="Away">{{ x }}</a>', 1, "Away"),
        ('<b aria-label="{{ x }} of them"></b>', 1, f"{FILLED} of them"),
        ('<input placeholder="name" />', 1, "name"),
        ('<input type="submit" value="Go on" />', 1, "Go on"),
        ('<meta name="description" content="It deploys" />', 1, "It deploys"),
        ('<i data-copied="It is copied."></i>', 1, "It is copied."),
        ('<i data-copied="Copied"></i>', 1, "Copied"),
        ('{{ line(x, "Stations of it") }}', 1, "Stations of it"),
        ('{{ line(x, _("Fine"), "Not fine") }}', 1, "Not fine"),
        ('\n{% set label = "Log" %}', 2, "Log"),
        ('<p>{{ "Yes" if x else _("No") }}</p>', 1, "Yes"),
        ("<title>خادم</title>", 1, "خادم"),
    ],
)
def test_words_in_a_template_are_found(source: str, line: int, text: str):
    assert [(each.line, each.text) for each in words_of_template(source)] == [(line, text)]


@pytest.mark.parametrize(
    "source",
    [
        '<p class="two words" id="Main" data-s="wait">{{ _("Two words") }} · 12 %</p>',
        '{% trans name=ltr("x"), n=1 %}Two words{% pluralize n %}More words{% endtrans %}',
        '{{ nav(pgettext("verb", "Deploy it"), "page") }}{{ icon("open", "flip") }}',
        "<title>{% block title %}{% endblock %} · AI Stack Deployer</title>{# Two words #}",
        '<form data-check="/api/check/" data-lang="{{ code }}"><input name="name" value="two words" /></form>',
    ],
)
def test_what_is_no_sentence_of_a_template_passes(source: str):
    assert words_of_template(source) == []


# Scripts

# Before a literal: what takes a selector, and what throws for the console; neither is read by people.
_MACHINES: Final = re.compile(r"\b(querySelector(All)?|closest|matches|new\s+\w*Error|throw)\s*$")
_SPOKEN: Final = "textContent|innerText|innerHTML|title|alt|placeholder|ariaLabel|ariaDescription"
_ASSIGNED: Final = re.compile(rf"\.({_SPOKEN})\s*\+?=(?![=>])[^;]*$")
_HANDED: Final = re.compile(
    r"(\.(append|prepend|replaceChildren|before|after)|\b(alert|confirm|prompt|announce)"
    r"|\.setAttribute\(\s*[\"'](title|alt|placeholder|aria-label|aria-description)[\"'],)\s*\(?\s*$"
)


def words_of_script(source: str) -> list[Found]:
    """Sentences that a script has of its own, and single words that it puts before people's eyes."""
    return [
        Found(each.line, each.text, "let the server say it: a data attribute or a <template>, which this script reads")
        for each in read_script(source)
        if not _MACHINES.search(each.around[-1] if each.around else "") and not _MACHINES.search(each.before)
        if SENTENCE.search(each.text) or (_is_shown(each.before) and WORD.search(each.text))
    ]


def _is_shown(before: str) -> bool:
    assigned = _ASSIGNED.search(before)
    # An index or an argument on the right side is not what is shown.
    right = before[assigned.start() :] if assigned else ""
    within = any(right.count(opened) > right.count(closed) for opened, closed in ("()", "[]"))
    return bool(_HANDED.search(before)) or (assigned is not None and not within)


def test_no_script_has_words_of_its_own():
    found = [each.at(file) for file in sorted(STATIC_DIR.glob("*.js")) for each in words_of_script(file.read_text())]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ('say("Two words");', 1, "Two words"),
        ("// Fine words\nconst a = 'no words';", 2, "no words"),
        ("const a = `It took ${n} seconds`;", 1, f"It took {FILLED} seconds"),
        ("x(`${f(`two words`)}`);", 1, "two words"),
        ('button.textContent = "Copied";', 1, "Copied"),
        ('button.textContent = done ? words.done : "Failed";', 1, "Failed"),
        ("document.title = `Stack ${name}`;", 1, f"Stack {FILLED}"),
        ('a.setAttribute("aria-label", "Show");', 1, "Show"),
        ('list.append("None");', 1, "None"),
        ('alert("Sorry");', 1, "Sorry"),
        ('const a = /a "b/;\n\nb("two, words");', 3, "two, words"),
        ('find(".stop b", "two words");', 1, "two words"),
    ],
)
def test_words_in_a_script_are_found(source: str, line: int, text: str):
    assert [(each.line, each.text) for each in words_of_script(source)] == [(line, text)]


@pytest.mark.parametrize(
    "source",
    [
        '// two words\n/* and two more */ const a = "word";',
        'x.querySelector("main form").textContent = words["done"];',
        'event.target.closest("form button");',
        'throw new Error("not allowed");',
        'a.textContent = words[state || "wait"];',
        'a.textContent = "";\nb.dataset.s = "off";',
        "document.title = `${done}/${all} · ${title}`;",
        'a.setAttribute("aria-current", "step");',
        'const a = 4 / 2, b = "x" / 2;',
    ],
)
def test_what_is_no_sentence_of_a_script_passes(source: str):
    assert words_of_script(source) == []


# Python

_OF_MACHINES: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def words_of_python(source: str) -> list[Found]:
    """Sentences in a page's Python that nobody translates: no docstring, N_(), text(), plural(), log or exception."""
    tree = ast.parse(source)
    fine: set[int] = set()
    texts: list[tuple[ast.expr, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append(
                (node, "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values))
            )
            fine.update(id(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append((node, node.value))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            fine.add(id(node.value))  # a docstring, also one of a field
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _translates(node.func)):
            fine.update(id(each) for each in ast.walk(node))
    return [
        Found(node.lineno, text, 'write N_("…"), and language.text() where it is shown')
        for node, text in texts
        if id(node) not in fine and SENTENCE.search(text)
    ]


def _translates(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id == "N_"
    return isinstance(called, ast.Attribute) and called.attr in {"text", "plural", *_OF_MACHINES}


def test_no_page_says_in_python_what_nobody_translates():
    found = [
        each.at(file) for file in PYTHON if file not in ENGLISH_PYTHON for each in words_of_python(file.read_text())
    ]
    assert found == [], "\n".join(found)


def test_what_stays_english_is_there():
    assert set(ENGLISH_PYTHON) <= set(PYTHON)
    assert set(ENGLISH_TEMPLATES) <= set(TEMPLATES)


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ('title = "My stacks"', 1, "My stacks"),
        ('"""Fine words."""\n\ndef f():\n    return "two words"', 4, "two words"),
        ('page(f"It took {n} of them")', 1, f"It took {FILLED} of them"),
        ('page(f"{n} stacks")', 1, f"{FILLED} stacks"),
        ('X = {"a": N_("fine words"), "b": "two words"}', 1, "two words"),
        ('show(title="Stopped, undone")', 1, "Stopped, undone"),
    ],
)
def test_words_in_python_are_found(source: str, line: int, text: str):
    assert [(each.line, each.text) for each in words_of_python(source)] == [(line, text)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Two words."""\nclass A:\n    """Two words."""\n    b: int\n    """Two words."""',
        'X = N_("two words")',
        'language.text("two words", {"a": language.plural("one way", "two ways", 2)})',
        'log.info("two words", a="b c")',
        'raise ValueError("two words")',
        'X = {"one", "and-two", "three_four", f"/stacks/{name}", f"{one} {two}"}',
    ],
)
def test_what_is_no_sentence_of_python_passes(source: str):
    assert words_of_python(source) == []
