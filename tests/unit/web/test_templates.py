"""Every page in every language: nothing undefined, nothing unescaped, nothing inline, no sentence that stays English."""

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from app.deployments.events import CREATE_STEPS, REMOVE_STEPS, STEP_LABELS
from app.i18n import LANGUAGES, Language
from app.web.contexts import (
    DeletePage,
    DeploymentPage,
    DeployPage,
    ErrorPage,
    LogRow,
    Page,
    QueuePlace,
    ShownProblem,
    Station,
    StationState,
    Viewer,
)
from app.web.templating import STATE_TEXTS, STATIC_DIR, STATION_NOTES, TEMPLATES_DIR, Renderer, asset
from tests.check_catalogs import problems

EVIL = "<script>alert('x')</script>\"&"
EVIL_ESCAPED = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;"


def stations(kind: str, states: str) -> tuple[Station, ...]:
    """One letter a station: w(ait), n(ow), d(one), u(ndone), f(ailed), o(ff)."""
    names: Mapping[str, StationState] = {state[0]: state for state in STATE_TEXTS}
    steps = CREATE_STEPS if kind == "create" else REMOVE_STEPS
    return tuple(
        Station(step, f"¤{STEP_LABELS[step]}", names[letter], f"¤{names[letter]}", f"¤{STATION_NOTES[kind][step]}")
        for step, letter in zip(steps, states, strict=True)
    )


PROBLEM = ShownProblem("deploy_failed", "¤title", "¤detail", "¤hint", "operator")

RUNNING = DeploymentPage(
    id="01JD0000000000000000000000",
    kind="create",
    name="ada",
    host="ada.ai.example.com",
    url="https://ada.ai.example.com",
    image="ghcr.io/example/opencode:1",
    status="prepare",
    phase="execute",
    undoing=False,
    conclusion=None,
    sentence="¤sentence",
    stations=stations("create", "dddnnww"),
    log=[LogRow(1, "0:01", "¤Deploy", "pulling", raw=True), LogRow(2, "0:02", "", "¤pulled")],
    last_event=12,
    manager=True,
    cancelable=True,
)
OVER = replace(RUNNING, status="completed", cancelable=False)
READY = replace(OVER, conclusion="succeeded", stations=stations("create", "ddddddd"), stack_exists=True)
FAILED = replace(
    OVER, conclusion="failed", stations=stations("create", "duuuufo"), problem=PROBLEM, removed=["¤project"]
)
REMOVING = replace(RUNNING, kind="remove", cancelable=False, stations=stations("remove", "ddnww"))
REMOVED = replace(REMOVING, status="completed", conclusion="succeeded", stations=stations("remove", "ddddd"))

PAGES: Mapping[str, Page] = {
    "deploy": DeployPage("", "ai.example.com", "https://", stations("create", "wwwwwww")),
    "refused": DeployPage(
        "ada", ".ai.example.com", "https://", stations("create", "wwwwwww"), PROBLEM, ["ada-2", "ada-3"]
    ),
    "running": RUNNING,
    "queued": replace(RUNNING, queue=QueuePlace("validate", 1)),
    "far back": replace(RUNNING, queue=QueuePlace("deploy", 9)),
    "stranger": replace(RUNNING, manager=False),
    "undoing": replace(RUNNING, undoing=True, cancelable=False, stations=stations("create", "dduuufw")),
    "ready": replace(READY, password="brisk-harbor"),
    "ready, stranger": replace(READY, manager=False),
    "ready, gone": replace(READY, stack_exists=False),
    "failed": FAILED,
    "failed, leftovers": replace(FAILED, leftovers=["¤volume"]),
    "failed, stranger": replace(FAILED, leftovers=["¤volume"], manager=False),
    "failed, user": replace(FAILED, problem=replace(PROBLEM, who="user")),
    "failed, provider": replace(FAILED, problem=replace(PROBLEM, who="provider")),
    "canceled": replace(FAILED, conclusion="canceled"),
    "canceled, leftovers": replace(FAILED, conclusion="canceled", leftovers=["¤volume"]),
    "removing": REMOVING,
    "removed": replace(REMOVED, removed=["¤volume"]),
    "remove failed": replace(
        REMOVED,
        conclusion="failed",
        stations=stations("remove", "dddfo"),
        problem=PROBLEM,
        leftovers=["¤volume"],
    ),
    "delete": DeletePage("ada", "ada.ai.example.com", "ada-data"),
    "not found": ErrorPage(404, replace(PROBLEM, who="user")),
    "broken": ErrorPage(503, PROBLEM),
}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer("1.2.3")


class Reader(HTMLParser):
    """Collects elements, and the text that people read."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.elements.append((tag, named))
        if named.get("id"):
            self.ids.append(named["id"])
        # Names stand for themselves, and so does a language, which is named in itself.
        if tag in {"bdi", "code"} or "hreflang" in named:
            self._silent.append(tag)
        self.words += [named[name] or "" for name in ("aria-label", "title", "alt", "placeholder") if name in named]

    def handle_endtag(self, tag):
        if self._silent and self._silent[-1] == tag:
            self._silent.pop()

    def handle_data(self, data):
        if not self._silent and data.strip():
            self.words.append(data.strip())


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def every_page() -> list[Any]:
    return [
        pytest.param(language, page, id=f"{code} {name}")
        for code, language in LANGUAGES.items()
        for name, page in PAGES.items()
    ]


@pytest.mark.parametrize(("language", "page"), every_page())
def test_renders_a_whole_document(renderer: Renderer, language: Language, page: Page):
    html = renderer.render(page, Viewer(language, "/here", None))
    assert html.startswith("<!DOCTYPE html>")
    document = read(html)
    tag, root = next(element for element in document.elements if element[0] == "html")
    assert (tag, root["lang"], root["dir"]) == ("html", language.code, language.direction)
    assert "data-theme" not in root
    assert [element for element, _ in document.elements].count("h1") == 1
    assert [element for element, _ in document.elements].count("main") == 1
    assert len(document.ids) == len(set(document.ids)), "an id stands twice"
    assert "AI Stack Deployer" in html
    assert "1.2.3" in html
    assert "{{" not in html
    assert "%(" not in html


@pytest.mark.parametrize(("language", "page"), every_page())
def test_needs_nothing_inline(renderer: Renderer, language: Language, page: Page):
    assert inline(renderer.render(page, Viewer(language, "/here", "dark"))) == []


def inline(html: str) -> list[str]:
    """What runs or dresses a page from within it, which the content security policy would refuse."""
    found = re.findall(r"<script[^>]*>\s*[^<\s]", html)
    for tag, attributes in read(html).elements:
        ours = str(attributes.get("src") or "").startswith("/static/")
        if tag == "style" or (tag == "script" and not ours):
            found.append(tag)
        for name, value in attributes.items():
            runs = re.match(
                r"[\s\x00-\x1f]*(javascript|data):", value or "", flags=re.IGNORECASE
            ) and not name.startswith("data-")
            if name == "style" or name.startswith("on") or runs:
                found.append(f"{tag} {name}={value!r}")
    return found


@pytest.mark.parametrize(
    "html",
    [
        '<p style="color: red">',
        '<button onclick="go()">',
        "<style>p { color: red }</style>",
        "<script>go()</script>",
        '<script src="/static/x.js">go()</script>',
        '<script src="https://elsewhere.example/x.js"></script>',
        "<script></script>",
        '<a href=" JavaScript:go()">',
        '<form action="javascript:go()">',
        '<use href="data:image/svg+xml,x" />',
    ],
)
def test_what_is_inline_is_found(html: str):
    assert inline(html) != []


def test_what_is_not_inline_passes():
    html = '<script type="module" src="/static/x.js"></script><p data-once data-style="x" title="on"><a href="/#data:">'
    assert inline(html) == []


def test_says_the_same_things_in_other_words(renderer: Renderer):
    """No sentence of a template stays English, apart from names and what is the same word in both languages."""
    same = {
        "ar": {"name", "AI Stack Deployer"},
        "nl": {"AI Stack Deployer", "Image", "Status", "· AI Stack Deployer"},
    }
    for page in PAGES.values():
        english = read(renderer.render(page, Viewer(LANGUAGES["en"], "/", None))).words
        for code, allowed in same.items():
            other = read(renderer.render(page, Viewer(LANGUAGES[code], "/", None))).words
            kept = {word for word in set(english) & set(other) if re.search(r"[A-Za-z]{2}", word) and "¤" not in word}
            # What a log, an address or a name says is not a sentence.
            kept -= {"pulling", "0:01", "https://", "deploy_failed", ".ai.example.com"}
            assert kept <= allowed, f"{code}: {kept - allowed}"


@pytest.mark.parametrize("language", list(LANGUAGES.values()), ids=list(LANGUAGES))
def test_escapes_what_others_wrote(renderer: Renderer, language: Language):
    problem = ShownProblem("code", EVIL, EVIL, EVIL, "user")
    station = Station(EVIL, EVIL, "failed", EVIL, EVIL)
    pages: tuple[Page, ...] = (
        DeployPage(EVIL, EVIL, EVIL, [station], problem, [EVIL]),
        replace(RUNNING, name=EVIL, host=EVIL, sentence=EVIL, stations=[station], log=[LogRow(1, EVIL, EVIL, EVIL)]),
        replace(READY, name=EVIL, url=EVIL, password=EVIL, user_name=EVIL, image=EVIL),
        replace(FAILED, name=EVIL, problem=problem, stations=[station], removed=[EVIL], leftovers=[EVIL]),
        DeletePage(EVIL, EVIL, EVIL),
        ErrorPage(500, problem),
    )
    for page in pages:
        html = renderer.render(page, Viewer(language, f"/{EVIL}", EVIL))
        assert "<script>alert" not in html
        assert EVIL_ESCAPED in html


def test_links_never_leave_the_portal(renderer: Renderer):
    html = renderer.render(PAGES["not found"], Viewer(LANGUAGES["en"], "//evil.example/", None))
    assert 'href="/evil.example/?lang=nl"' in html
    assert "//evil.example" not in html


def test_language_links_keep_the_page(renderer: Renderer):
    html = renderer.render(RUNNING, Viewer(LANGUAGES["nl"], "/deployments/1?lang=en", None))
    links = [named["href"] for tag, named in read(html).elements if tag == "a" and "hreflang" in named]
    assert links == [f"/deployments/1?lang={code}" for code in LANGUAGES]


def test_theme_comes_from_the_visitor(renderer: Renderer):
    html = renderer.render(PAGES["deploy"], Viewer(LANGUAGES["en"], "/", "dark"))
    assert 'data-theme="dark"' in html


def test_only_a_running_page_reloads_itself(renderer: Renderer):
    for name, page in PAGES.items():
        html = renderer.render(page, Viewer(LANGUAGES["en"], "/", None))
        running = isinstance(page, DeploymentPage) and page.status != "completed"
        assert ('http-equiv="refresh"' in html) == running, name
        assert ("progress.js" in html) == running, name


def test_the_password_is_for_a_manager_only(renderer: Renderer):
    for manager in (True, False):
        page = replace(READY, manager=manager, password="brisk-harbor")
        html = renderer.render(page, Viewer(LANGUAGES["en"], "/", None))
        assert ("brisk-harbor" in html) == manager


def test_whoever_may_not_cancel_or_delete_sees_no_way_to_it(renderer: Renderer):
    for name in ("stranger", "ready, stranger", "failed, stranger"):
        html = renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/", None))
        assert "/cancel" not in html
        assert "/delete" not in html


def test_assets_change_their_address_with_their_content():
    assert re.fullmatch(r"/static/portal\.css\?v=[0-9a-f]{12}", asset("portal.css"))


def test_every_asset_that_is_asked_for_exists():
    for template in TEMPLATES_DIR.glob("*.html"):
        for name in re.findall(r"""asset\(["']([\w.-]+)["']\)""", template.read_text()):
            assert (STATIC_DIR / name).is_file(), f"{template.name}: {name}"


def test_every_symbol_that_is_used_exists():
    sprite = (STATIC_DIR / "line.svg").read_text()
    for template in TEMPLATES_DIR.glob("*.html"):
        text = template.read_text()
        for name in re.findall(r"""icon\(["'](\w+)["']""", text) + re.findall(r"""\)\s*\}\}#(\w+)""", text):
            assert f'id="{name}"' in sprite, f"{template.name}: {name}"


def test_catalogs_are_complete():
    assert problems() == []
