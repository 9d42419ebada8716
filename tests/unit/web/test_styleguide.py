"""The style page shows what there is: every token with its value, every part in every state, in both directions."""

import re
from collections.abc import Mapping
from typing import Final, get_args

import pytest

from app.i18n import LANGUAGES
from app.web.effects import StationState
from app.web.ui.shared.templating import STATIC_DIR, Renderer
from app.web.ui.styleguide.routes import PATH, states, style_page
from app.web.ui.styleguide.stylesheet import contrast, tokens
from app.web.ui.views import Viewer
from tests.unit.web.test_style_names import styled
from tests.unit.web.test_templates import Reader, inline, read

CSS: Final = (STATIC_DIR / "portal.css").read_text()

# Classes that the page does not show as a specimen, each with the reason.
NOT_SHOWN: Final[Mapping[str, str]] = {
    "docs": "the page of the API, which is one of a kind",
    "two": "two columns of a page, without a look of their own",
    "run": "the parts of a page below each other",
    "gap": "a wider gap between such parts",
    "even": "two columns of one width",
    "headed": "a heading and a button beside it",
    "whole": "keeps an address in a table on one line",
    "now": "keeps room for the sentence and the yard",
}


@pytest.fixture(scope="module")
def html() -> str:
    renderer = Renderer("1.2.3")
    return renderer.render(style_page(renderer, CSS), Viewer(LANGUAGES["en"], PATH))


@pytest.fixture(scope="module")
def page(html: str) -> Reader:
    return read(html)


def test_it_is_a_page_like_the_others(html: str, page: Reader):
    names = [name for name, _ in page.elements]
    assert (names.count("h1"), names.count("main")) == (1, 1)
    assert len(page.ids) == len(set(page.ids)), "an id stands twice: give the macro its `at`"
    assert inline(html) == []
    for _, attributes in page.elements:
        for name in (
            "for",
            "form",
            "aria-describedby",
            "aria-labelledby",
            "aria-controls",
            "data-reveal",
            "data-confirm",
        ):
            for wanted in (attributes.get(name) or "").split():
                assert wanted in page.ids, f"{name} leads to {wanted}, which is nowhere"


def test_what_it_says_is_marked_as_english(page: Reader):
    marked = [attributes for tag, attributes in page.elements if tag == "div" and attributes.get("class") == "style"]
    assert [(each["lang"], each["dir"]) for each in marked] == [("en", "ltr")]


def test_its_parts_run_in_both_directions(page: Reader):
    sections = [attributes for tag, attributes in page.elements if attributes.get("class") == "specimens"]
    assert [(each["lang"], each["dir"]) for each in sections] == [("en", "ltr"), ("ar", "rtl")]
    for language in (LANGUAGES["en"], LANGUAGES["ar"]):
        assert language.text("Stop and undo") in page.words
        assert page.words.count(language.text("You")) == page.words.count(LANGUAGES["en"].text("You"))


def test_every_token_is_shown_with_its_values(html: str):
    for token in tokens(CSS):
        assert f"<code>--{token.name}</code>" in html, token.name
        for value in {token.value, token.dark}:
            shown = value.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;")
            assert shown in html, f"{token.name}: {value}"
        assert token.note in html


def test_it_shows_the_stylesheet_and_nothing_else():
    css = """:root { --paper: #ffffff; --sheet: #eeeeee; --sunk: #dddddd; --ink: #757575; /* for words */ --ink2: #000;
        --rule: #ccc; --edge: #111; --line: #f00; --casing: #111; --on-line: #000; --stop: #a00; --on-stop: #fff;
        --stop-wash: #fee; --s9: 9rem; --t-huge: 9rem; --odd: 1s }
        :root[data-theme="dark"] { --ink: #767676; } [data-s="brandnew"] { color: var(--ink) }"""
    page = style_page(Renderer("1.2.3"), css)

    ink = next(colour for colour in page.colours if colour.name == "ink")
    assert (ink.note, [shade.value for shade in ink.shades]) == ("for words", ["#757575", "#767676"])
    assert ([shade.on_paper for shade in ink.shades], ink.shades[0].on_sheet) == (["4.6", "4.5"], "3.9")
    assert [(each.name, each.value) for each in (*page.spaces, *page.sizes, *page.others)] == [
        ("s9", "9rem"),
        ("t-huge", "9rem"),
        ("odd", "1s"),
    ]
    assert all('data-s="brandnew"' in specimens for _, specimens in page.directions)


def test_a_contrast_is_never_rounded_up():
    css = re.sub(r"--ink2: #\w+", "--ink2: #777777", re.sub(r"--sheet: #\w+", "--sheet: #ffffff", CSS))
    pairs = style_page(Renderer("1.2.3"), css).texts
    (measured,) = [each for each in pairs if (each.front, each.back) == ("ink2", "sheet")]
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert (measured.needed, measured.contrasts[0].ratio) == (4.5, "4.4")


def test_every_state_is_shown(html: str):
    assert {"wait", "look", "ready", "done", "undone", "failed", "off"} <= set(states(CSS))
    for state in states(CSS):
        assert len(re.findall(rf'class="dot"\s+data-s="{state}"', html)) >= 2, state
    for state in get_args(StationState):
        stations = re.findall(rf'class="stop"\s+data-station="\w+"\s+data-s="{state}"', html)
        assert len(stations) >= 2, f"no station is {state}: add a line to app/web/ui/styleguide/routes.py"
    assert html.count("data-undoing") == 2


def test_every_part_is_shown(page: Reader):
    shown = {name for _, attributes in page.elements for name in (attributes.get("class") or "").split()}
    missing = set(styled(CSS)) - shown - set(NOT_SHOWN)
    assert missing == set(), (
        f"portal.css has rules for {sorted(missing)}: show them in templates/_specimens.html, so that /styleguide has them, "
        "or say in NOT_SHOWN of this test why not"
    )
    needless = {name for name in NOT_SHOWN if name in shown or name not in styled(CSS)}
    assert needless == set(), "take out of NOT_SHOWN what is shown or gone"
