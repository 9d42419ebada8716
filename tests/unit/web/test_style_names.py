"""Variables and classes: what is used is defined, what is defined is used, in stylesheets, templates, scripts and pictures."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from typing import Final

from app.web.assets import STATIC_DIR
from tests.sources import FILLED, TEMPLATES, read_script, read_template
from tests.stylesheets import SHEETS, classes, rules, states
from tests.unit.web.test_templates import every_document, read

PICTURES: Final = {path.name: path.read_text() for path in sorted(STATIC_DIR.glob("*.svg"))}
SCRIPTS: Final = {path.name: path.read_text() for path in sorted(STATIC_DIR.glob("*.js"))}

_CLASS: Final = re.compile(r"\.([a-zA-Z][\w-]*)")


def undefined(sheets: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """Variables that are used and never defined."""
    known = set(defined(sheets))
    return [
        f"{name}: var(--{used}) is defined nowhere: is it a token of another name?"
        for name, source in {**sheets, **others}.items()
        for used in re.findall(r"var\(\s*--([\w-]+)", source)
        if used not in known
    ]


def defined(sheets: Mapping[str, str]) -> dict[str, str]:
    """The variables that stylesheets define, and where."""
    found: dict[str, str] = {}
    for name, css in sheets.items():
        for rule in rules(css):
            if rule.selector.startswith("@property --"):
                found.setdefault(rule.selector.removeprefix("@property --"), f"static/{name}:{rule.line}")
            for each in rule.declarations:
                if each.name.startswith("--"):
                    found.setdefault(each.name.removeprefix("--"), f"static/{name}:{each.line}")
    return found


def unused(sheets: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """Variables that are defined and never used."""
    text = "\n".join([*sheets.values(), *others.values()])
    used = set(re.findall(r"var\(\s*--([\w-]+)", text))
    return [
        f"{place}: --{name} is used nowhere: take it out" for name, place in defined(sheets).items() if name not in used
    ]


def test_every_variable_that_is_used_is_defined():
    found = undefined(SHEETS, {**PICTURES, **TEMPLATES})
    assert found == [], "\n".join(found)


def test_every_variable_that_is_defined_is_used():
    found = unused(SHEETS, {**PICTURES, **TEMPLATES})
    assert found == [], "\n".join(found)


def test_variables_that_miss_each_other_are_found():
    sheets = {"a.css": ":root { --paper: #fff; --left-over: 1px }\na { color: var(--ink) }"}
    pictures = {"b.svg": '<path fill="var(--paper)" stroke="var( --lnie, red)"/>'}
    assert undefined(sheets, pictures) == [
        "a.css: var(--ink) is defined nowhere: is it a token of another name?",
        "b.svg: var(--lnie) is defined nowhere: is it a token of another name?",
    ]
    assert unused(sheets, pictures) == ["static/a.css:1: --left-over is used nowhere: take it out"]
    assert undefined({"a.css": "@property --lit { inherits: true }\na { color: var(--lit) }"}, {}) == []


class Classes(HTMLParser):
    """The classes of a template's elements, each with its first line; those made by an expression are left out."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: dict[str, int] = {}
        self.feed(read_template(source).html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        for name in (dict(attrs).get("class") or "").split():
            if FILLED not in name:
                self.found.setdefault(name, self.getpos()[0])


def asked_for(script: str) -> set[str]:
    """The classes by which a script finds elements."""
    return {name for each in read_script(script) for name in _CLASS.findall(each.text)}


def given(script: str) -> dict[str, int]:
    """The classes that a script gives to elements, each with its line."""
    return {
        name: each.line
        for each in read_script(script)
        if re.search(r"""classList\.\w+\(\s*(["'][\w-]+["'],\s*)*$|className\s*\+?=\s*$""", each.before)
        for name in each.text.split()
    }


def unstyled(sheets: Mapping[str, str], templates: Mapping[str, str], scripts: Mapping[str, str]) -> list[str]:
    """Classes in use that no stylesheet knows and no script looks for."""
    known = {name for css in sheets.values() for name in classes(css)}
    known |= {name for script in scripts.values() for name in asked_for(script)}
    places = [(f"templates/{name}", Classes(source).found) for name, source in templates.items()]
    places += [(f"static/{name}", given(script)) for name, script in scripts.items()]
    return [
        f"{file}:{line}: class {name!r} has no rule, and no script looks for it: take it out, or write its rule"
        for file, found in places
        for name, line in found.items()
        if name not in known
    ]


def unseen(sheets: Mapping[str, str], documents: Iterable[str], scripts: Mapping[str, str]) -> list[str]:
    """Classes and states with a rule that stand in no page, and that no script gives to anything."""
    literals = {each.text for script in scripts.values() for each in read_script(script)}
    shown = {name for script in scripts.values() for name in given(script)}
    shown_states = set(literals)
    for document in documents:
        for _, attributes in read(document).elements:
            shown |= set((attributes.get("class") or "").split())
            shown_states.add(attributes.get("data-s") or "")
    styled = [
        (f"static/{file}:{line}", what, name, name in seen)
        for file, css in sheets.items()
        for what, found, seen in (("class", classes(css), shown), ("state", states(css), shown_states))
        for name, line in found.items()
    ]
    return [
        f"{place}: no page has the {what} {name!r}: take its rules out, or add the page to tests/unit/web/test_templates.py"
        for place, what, name, is_seen in styled
        if not is_seen
    ]


def test_every_class_that_is_used_has_a_rule():
    found = unstyled(SHEETS, TEMPLATES, SCRIPTS)
    assert found == [], "\n".join(found)


def test_every_class_and_state_that_has_a_rule_is_on_a_page():
    found = unseen(SHEETS, every_document(), SCRIPTS)
    assert found == [], "\n".join(found)


def test_classes_that_miss_each_other_are_found():
    sheets = {
        "a.css": '.btn, .go:has(.x) { margin: 0.5rem }\n@media (min-width: 1.5rem) { .gone[data-x=".no"] { top: 0 } }'
    }
    templates = {"b.html": '<p class="btn{% if x %} go{% endif %} {{ y }}">\n<i class="lost"></i>{{ icon("x y") }}'}
    scripts = {"c.js": 'a.querySelector(".hook").classList.toggle("made", at === "z");\nb.className = "also";'}

    assert unstyled(sheets, templates, scripts) == [
        "templates/b.html:2: class 'lost' has no rule, and no script looks for it: take it out, or write its rule",
        "static/c.js:1: class 'made' has no rule, and no script looks for it: take it out, or write its rule",
        "static/c.js:2: class 'also' has no rule, and no script looks for it: take it out, or write its rule",
    ]
    assert unstyled(sheets, {"b.html": '<i class="hook x"></i>'}, {"c.js": 'find(".hook")'}) == []


def test_classes_and_states_that_no_page_has_are_found():
    sheets = {
        "a.css": '.btn[data-s="now"], .made { margin: 0 }\n.gone { top: 0 }\n[data-s="lost"], [data-s="off"] { top: 0 }'
    }
    documents = ['<p class="btn big" data-s="now"></p>', "<p></p>"]
    scripts = {"c.js": 'a.classList.toggle("made");\na.dataset.s = "off";'}

    advice = "take its rules out, or add the page to tests/unit/web/test_templates.py"
    assert unseen(sheets, documents, scripts) == [
        f"static/a.css:2: no page has the class 'gone': {advice}",
        f"static/a.css:3: no page has the state 'lost': {advice}",
    ]
