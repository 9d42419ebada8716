"""Every page in every language: nothing undefined, nothing unescaped, nothing inline, no sentence that stays English."""

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from app.deployments.events import CREATE_STEPS, REMOVE_STEPS, STEP_LABELS
from app.i18n import LANGUAGES, Language
from app.web.charts import Bar, DayBars, Dots, Riser, StairStep
from app.web.contexts import (
    DeletePage,
    DeploymentPage,
    DeployPage,
    ErrorPage,
    LogRow,
    OperatorPage,
    Page,
    QueuePlace,
    ShownProblem,
    SignInPage,
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

OPERATOR = OperatorPage(
    at="¤at",
    figures=[OperatorPage.Figure("28", "¤stacks"), OperatorPage.Figure("", "¤success")],
    baseline=80.0,
    ticks=[OperatorPage.Tick(40.0, "5")],
    days=[
        OperatorPage.Day(8, "¤8 Nov", "¤8 November", "6", "1", "2", DayBars(Bar(20, 60), Bar(10, 10), Bar(82, 18))),
        OperatorPage.Day(9, "¤9 Nov", "¤9 November", "0", "0", "0", DayBars(None, None, None)),
    ],
    finished=9,
    steps=[
        OperatorPage.Step("¤Check", "0.4 s", "0.6 s", StairStep(3, 10, 12, is_long=True, risers=[Riser(10, 50, 100)])),
        OperatorPage.Step("¤Project", "0.1 s", "0.2 s", StairStep(10, 11, 12, is_long=False)),
    ],
    measured="¤measured",
    states=[OperatorPage.State("run", "¤running", "3", Dots(3, has_rest=False))],
    one_dot="",
    latest=[
        OperatorPage.Deployment(RUNNING.id, "ada", "", "¤at", 3, "¤3 of 7", is_back=False, outcome="¤now"),
        OperatorPage.Deployment(RUNNING.id, "bob", "¤removal", "¤at", 6, "¤6 of 7", is_back=True, outcome="¤failed"),
    ],
    leftovers=[],
    connections=[OperatorPage.Connection("SQLite", "run", "¤well")],
)

PAGES: Mapping[str, Page] = {
    "deploy": DeployPage("", "ai.example.com", "https://", stations("create", "wwwwwww")),
    "refused": DeployPage(
        "ada", ".ai.example.com", "https://", stations("create", "wwwwwww"), PROBLEM, ["ada-2", "ada-3"]
    ),
    "running": RUNNING,
    "queued": replace(RUNNING, queue=QueuePlace(1, 1, "")),
    "far back": replace(RUNNING, queue=QueuePlace(9, 12, "¤2 min")),
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
    "operator": OPERATOR,
    "operator, many": replace(
        OPERATOR,
        one_dot="¤one dot",
        states=[OperatorPage.State("run", "¤running", "4,123", Dots(4, has_rest=True))],
        leftovers=[OperatorPage.Leftover("¤volume", "ada", "¤why", "¤since", "¤tries", "¤next", RUNNING.id)],
        connections=[OperatorPage.Connection("Dokploy", "failed", "¤away", ["¤note"], ["domain.create is gone"])],
    ),
    "operator, nothing lately": replace(OPERATOR, finished=0, steps=[], ticks=[], in_session=False),
    "operator, empty": replace(OPERATOR, is_empty=True, finished=0, steps=[], ticks=[], latest=[]),
    "sign in": SignInPage("/operator"),
    "sign in, wrong": SignInPage("/operator", problem=replace(PROBLEM, who="user")),
    "sign in, ended": SignInPage("/operator", ended=True),
    "sign in, impossible": SignInPage("/operator", possible=False),
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
    html = renderer.render(page, Viewer(language, "/here", "dark"))
    for tag, attributes in read(html).elements:
        assert tag != "style"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not str(attributes.get("href", "")).startswith("javascript:")
        if tag == "script":
            assert str(attributes["src"]).startswith("/static/")
    assert not re.search(r"<script[^>]*>[^<]", html)


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
        replace(
            OPERATOR,
            latest=[replace(OPERATOR.latest[0], name=EVIL)],
            leftovers=[OperatorPage.Leftover(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)],
            connections=[OperatorPage.Connection(EVIL, EVIL, EVIL, [EVIL], [EVIL])],
        ),
        SignInPage(EVIL, problem=problem),
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


def test_the_operators_part_is_shown_to_him(renderer: Renderer):
    for is_operator in (True, False):
        html = renderer.render(PAGES["deploy"], Viewer(LANGUAGES["en"], "/", None, is_operator=is_operator))
        links = [named["href"] for tag, named in read(html).elements if tag == "a"]
        assert links.count("/operator") == 1 + is_operator, "at the foot for everybody, above for him"


def test_styles_of_charts_are_loaded_where_there_are_any(renderer: Renderer):
    for name, page in PAGES.items():
        html = renderer.render(page, Viewer(LANGUAGES["en"], "/", None))
        assert ("charts.css" in html) == isinstance(page, OperatorPage), name


def test_whoever_came_with_a_token_is_offered_no_way_out(renderer: Renderer):
    for in_session in (True, False):
        html = renderer.render(replace(OPERATOR, in_session=in_session), Viewer(LANGUAGES["en"], "/", None))
        assert ("/sign-out" in html) == in_session


def test_an_empty_portal_has_no_charts(renderer: Renderer):
    html = renderer.render(PAGES["operator, empty"], Viewer(LANGUAGES["en"], "/", None))
    assert 'role="img"' not in html
    assert "Nothing has been deployed yet." in html
    assert "¤well" in html


@pytest.mark.parametrize("language", list(LANGUAGES.values()), ids=list(LANGUAGES))
def test_a_chart_is_told_in_words_and_as_a_table(renderer: Renderer, language: Language):
    document = read(renderer.render(OPERATOR, Viewer(language, "/", None)))
    pictures = [named for tag, named in document.elements if tag == "svg" and named.get("role") == "img"]
    assert [named["aria-label"] for named in pictures] == ["¤8 November", "¤9 November"]
    assert [tag for tag, _ in document.elements].count("table") == 2
    for row in ("¤8 Nov", "¤Check", "¤Project"):
        assert row in document.words
    others = [named for tag, named in document.elements if tag == "svg" and named.get("role") != "img"]
    assert {named.get("aria-hidden") for named in others} == {"true"}


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
