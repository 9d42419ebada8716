"""Every page in every language: nothing undefined, nothing unescaped, nothing inline, no sentence that stays English."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from app.i18n import LANGUAGES, Language
from app.operations.table import OPERATIONS
from app.web.assets import STATIC_DIR, asset
from app.web.effects import LogRow, QueuePlace, Station, StationState
from app.web.problems import ShownProblem
from app.web.projector import STATE_TEXTS
from app.web.ui.account.view import AccountPage, NewTokenPage
from app.web.ui.api_docs.view import DocsPage
from app.web.ui.audit.view import AuditPage
from app.web.ui.deploy.view import DeployPage
from app.web.ui.deployment.view import DeploymentPage
from app.web.ui.operator.view import OperatorPage
from app.web.ui.record.comparison import ComparedProperty
from app.web.ui.record.view import RecordPage
from app.web.ui.shared.charts import Bar, DayBars, Dots, Riser, StairStep
from app.web.ui.shared.paging import PageLinks
from app.web.ui.shared.qr import qr_code
from app.web.ui.shared.renderer import Renderer
from app.web.ui.shared.view import ErrorPage, Fact, Moment, Page, PastDeployment, ShownState, SmallLine, Viewer
from app.web.ui.sign_in.view import SignInPage
from app.web.ui.stacks.view import DeletePage, ErasePage, PasswordPage, RedeployPage, StackPage, StacksPage
from app.web.ui.transfer.view import OfferedPage, OfferPage, TakenOverPage, TakeOverPage
from tests.check_catalogs import problems
from tests.sources import TEMPLATES

EVIL = "<script>alert('x')</script>\"&"
EVIL_ESCAPED = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;"


def stations(kind: str, states: str) -> tuple[Station, ...]:
    """One letter a station: w(ait), n(ow), d(one), u(ndone), f(ailed), o(ff)."""
    names: Mapping[str, StationState] = {state[0]: state for state in STATE_TEXTS}
    declared = OPERATIONS[kind].steps
    return tuple(
        Station(
            step.name,
            f"¤{step.label}",
            names[letter],
            f"¤{names[letter]}",
            f"¤{step.purpose}",
        )
        for step, letter in zip(declared, states, strict=True)
    )


MORE = PageLinks("/stacks?cursor=newer", "/stacks?cursor=older", is_first=False)
LAST = PageLinks("/stacks", is_first=False)
PROBLEM = ShownProblem("deploy_failed", "¤title", "¤detail", "¤hint", "operator")

RUNNING = DeploymentPage(
    id="01JD0000000000000000000000",
    begins_stack=True,
    ends_stack=False,
    name="ada",
    running="¤running {name}",
    succeeded="¤succeeded {name}",
    failed="¤failed {name}",
    host="ada.ai.example.com",
    url="https://ada.ai.example.com",
    image="ghcr.io/example/opencode:1",
    status="prepare",
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
REMOVING = replace(RUNNING, begins_stack=False, ends_stack=True, cancelable=False, stations=stations("remove", "ddnww"))
REMOVED = replace(REMOVING, status="completed", conclusion="succeeded", stations=stations("remove", "ddddd"))

AGAIN = replace(RUNNING, begins_stack=False, stations=stations("redeploy", "ddnnww"), stack_exists=True)
NOT_AGAIN = replace(
    AGAIN,
    status="completed",
    cancelable=False,
    conclusion="failed",
    stations=stations("redeploy", "ddddfo"),
    problem=PROBLEM,
)

MOMENT = Moment("¤a moment", "2026-11-01T11:20:00+00:00")
PAST = PastDeployment(
    "01JD0000000000000000000000", "¤kind", SmallLine(6, 7, "undone", "¤label"), MOMENT, "¤outcome", "¤2 min"
)
STACK = StackPage(
    name="ada",
    host="ada.ai.example.com",
    url="https://ada.ai.example.com",
    state=ShownState("¤Running", "run"),
    newest="01JD0000000000000000000000",
    opens=True,
    redeployable=True,
    deletable=True,
    image="ghcr.io/example/opencode:1",
    version="1",
    port=4096,
    memory="¤2 GB",
    cpus="1.5",
    volume="ada-data",
    volume_path="/workspace",
    certificate="letsencrypt",
    created=MOMENT,
    deployments=[PAST, replace(PAST, line=SmallLine(7, 7, "", "¤label"), duration="")],
    log=RUNNING.log,
    password="brisk-harbor",
    qr=qr_code("https://ada.ai.example.com"),
)
STACKS = StacksPage(
    rows=[
        StacksPage.Row("ada", "ada.ai.example.com", ShownState("¤Running", "run"), "1", PAST),
        StacksPage.Row(
            "bob",
            "bob.ai.example.com",
            ShownState("¤Deploying", "half"),
            "1",
            replace(PAST, line=SmallLine(2, 7, "failed", "¤label")),
        ),
    ],
    lately=[replace(PAST, title="alan"), replace(PAST, line=SmallLine(3, 7, "canceled", "¤label"))],
)
KEPT = StacksPage.Kept("alan", "alan-data", MOMENT)
RECORD = RecordPage(
    id="01JD0000000000000000000000",
    name="ada",
    kind="¤First deployment",
    trigger="¤A page",
    actor="¤A browser",
    outcome="¤Done",
    created=MOMENT,
    started=MOMENT,
    concluded=MOMENT,
    duration="¤2 min",
    steps=[
        RecordPage.Step("¤Check", "¤done", 1, MOMENT, MOMENT, "¤1 s"),
        RecordPage.Step("¤Project", "¤not started", 0, None, None, ""),
    ],
    pieces=[RecordPage.Piece("¤Project", "ada", "¤there", "p-1", MOMENT)],
    views=[ComparedProperty("¤Name", "ada", "ada", None, differs=False)],
    leftovers=[],
    has_declared=True,
    stack_exists=True,
    manager=True,
)

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
    states=[OperatorPage.State(STACK.state, "3", Dots(3, has_rest=False))],
    one_dot="",
    latest=[replace(PAST, title="ada"), replace(PAST, title="bob")],
    leftovers=[],
    connections=[OperatorPage.Connection("SQLite", ShownState("¤well", "run"))],
    room="¤room",
)

TOKEN = AccountPage.Token(
    id="01JD0000000000000000000000",
    name="¤ci",
    may=["¤List", "¤Delete"],
    made=MOMENT,
    ends=MOMENT,
    used=None,
    state="",
    who="¤A browser",
    trail="/operator/audit?actor=x",
)
ACCOUNT = AccountPage(
    facts=[Fact("¤You are", "¤This browser"), Fact("¤Known by", "¤cookie")],
    tokens=[TOKEN, replace(TOKEN, used=MOMENT, state="¤Revoked")],
    choices=[AccountPage.Choice("stack:read", "¤List", chosen=True), AccountPage.Choice("admin", "¤All", chosen=False)],
    lives=[AccountPage.Choice("7", "¤7 days", chosen=False), AccountPage.Choice("90", "¤90 days", chosen=True)],
)
SIGNED_IN = replace(
    ACCOUNT,
    sessions=[
        AccountPage.Session(MOMENT, "192.0.2.7", "¤Firefox", here=True),
        AccountPage.Session(MOMENT, "", "", here=False),
    ],
    is_operator=True,
)
WRONG_TOKEN = replace(PROBLEM, code="token_wrong", who="user")
ENTRY = AuditPage.Entry(
    at=MOMENT,
    who="¤A browser",
    mark="abc123",
    trail_of_actor="/operator/audit?actor=x",
    means="¤cookie",
    address="192.0.2.7",
    what="¤Removal",
    subject="",
    deployment_id="01JD0000000000000000000000",
    stack="ada",
    trail_of_stack="/operator/audit?stack=ada",
    refused="",
    reason="",
)
AUDIT = AuditPage(
    entries=[
        ENTRY,
        replace(
            ENTRY,
            deployment_id="",
            subject="¤ci",
            stack="¤no name",
            trail_of_stack="/operator/audit?stack=no+name",
            address="",
            refused="cross_site",
            reason="¤why",
        ),
    ]
)

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
    "removed, erased": replace(REMOVED, removed=["¤volume"], erased=True),
    "removed, kept": replace(REMOVED, kept="ada-data"),
    "removed, kept, stranger": replace(REMOVED, kept="ada-data", manager=False),
    "remove failed": replace(
        REMOVED,
        conclusion="failed",
        stations=stations("remove", "dddfo"),
        problem=PROBLEM,
        leftovers=["¤volume"],
    ),
    "ready, to scan": replace(READY, password="brisk-harbor", qr=STACK.qr, volume_path="/workspace"),
    "again": AGAIN,
    "again, done": replace(AGAIN, status="completed", conclusion="succeeded", stations=stations("redeploy", "dddddd")),
    "again, failed": NOT_AGAIN,
    "again, failed, stranger": replace(NOT_AGAIN, manager=False),
    "password, changing": replace(AGAIN, changes_password=True),
    "password, changed": replace(READY, begins_stack=False, changes_password=True, password="brisk-harbor"),
    "password, failed": replace(NOT_AGAIN, changes_password=True),
    "again, canceled": replace(NOT_AGAIN, conclusion="canceled"),
    "stacks": STACKS,
    "stacks, in pages": replace(STACKS, links=MORE, kept_links=MORE),
    "stacks, everybody's": replace(STACKS, everybody=True, lately=[]),
    "stacks, kept": replace(STACKS, kept=[KEPT]),
    "stacks, everybody's kept": StacksPage(rows=[], lately=[], kept=[KEPT], everybody=True),
    "stacks, of an account": replace(STACKS, of_browser=False),
    "stacks, none": StacksPage(rows=[], lately=[]),
    "stacks, none of an account": StacksPage(rows=[], lately=[], of_browser=False),
    "stacks, no more": StacksPage(rows=[], lately=[], links=LAST),
    "stack": STACK,
    "stack, in pages": replace(STACK, links=MORE),
    "stack, no more": replace(STACK, deployments=[], links=LAST),
    "stack, password pending": replace(STACK, password_pending=True),
    "stack, password changing": replace(
        STACK, redeployable=False, deletable=False, running=STACK.newest, password_pending=True
    ),
    "stack, busy": replace(
        STACK, opens=False, redeployable=False, deletable=False, running=STACK.newest, password=None, qr=None
    ),
    "stack, left": replace(STACK, opens=False, redeployable=False, password=None, qr=None),
    "record": RECORD,
    "record, differs": replace(
        RECORD, views=[ComparedProperty("¤Port", "80", "80", "81", differs=True)], leftovers=["¤volume"]
    ),
    "record, not declared": replace(RECORD, has_declared=False, pieces=[replace(RECORD.pieces[0], dokploy_id="")]),
    "record, running": replace(RECORD, started=None, concluded=None, duration="", over=False, manager=False),
    "delete": DeletePage("ada", "ada.ai.example.com", "ada-data"),
    "redeploy": RedeployPage("ada"),
    "redeploy, password pending": RedeployPage("ada", password_pending=True),
    "password": PasswordPage("ada"),
    "erase": ErasePage("ada", "ada-data"),
    "operator": OPERATOR,
    "operator, many": replace(
        OPERATOR,
        one_dot="¤one dot",
        states=[OperatorPage.State(STACK.state, "4,123", Dots(4, has_rest=True))],
        leftovers=[OperatorPage.Leftover("¤volume", "ada", "¤why", "¤since", "¤tries", "¤next", RUNNING.id)],
        connections=[
            OperatorPage.Connection("Dokploy", ShownState("¤away", "failed"), ["¤note"], ["domain.create is gone"])
        ],
    ),
    "operator, in pages": replace(OPERATOR, links=MORE, left_links=MORE),
    "operator, nothing lately": replace(OPERATOR, finished=0, steps=[], ticks=[], in_session=False),
    "operator, empty": replace(OPERATOR, is_empty=True, finished=0, steps=[], ticks=[], latest=[]),
    "sign in": SignInPage("/operator"),
    "sign in, wrong": SignInPage("/operator", problem=WRONG_TOKEN),
    "sign in, at a provider": SignInPage("/stacks?a=b", provider=True, ended=True),
    "sign in, at a provider, refused": SignInPage("/", possible=False, provider=True, problem=PROBLEM),
    "sign in, at a provider, wrong token": SignInPage("/", provider=True, problem=WRONG_TOKEN),
    "sign in, by a proxy": SignInPage("/", proxy=True),
    "sign in, left": SignInPage("/", provider=True, left=True, there_too="https://id.example/end"),
    "sign in, by a proxy alone": SignInPage("/", possible=False, proxy=True),
    "account": replace(ACCOUNT, cookie_only=True),
    "account, new": replace(ACCOUNT, tokens=[], cookie_only=True),
    "account, signed in": SIGNED_IN,
    "account, everybody's": replace(SIGNED_IN, everybody=True),
    "account, in pages": replace(SIGNED_IN, links=MORE),
    "account, no name": replace(ACCOUNT, problem=replace(PROBLEM, code="token_name_invalid")),
    "account, nothing chosen": replace(ACCOUNT, name="¤ci", problem=replace(PROBLEM, code="scopes_invalid")),
    "account, full": replace(ACCOUNT, problem=replace(PROBLEM, code="tokens_full")),
    "token": NewTokenPage("¤ci", "asdt_secret", ["¤List"], MOMENT, "https://portal.example/api/stacks"),
    "token, no call": NewTokenPage("¤ci", "asdt_secret", ["¤Delete"], MOMENT),
    "offer": OfferPage("ada"),
    "offered": OfferedPage("ada", "asdo_secret", MOMENT, "https://portal.example/take-over"),
    "take over": TakeOverPage(),
    "take over, wrong": TakeOverPage(PROBLEM),
    "taken over": TakenOverPage("ada", "asd_secret"),
    "audit": replace(AUDIT, links=MORE),
    "audit, filtered": replace(AUDIT, stack="ada", actor="ada@example.com", links=LAST),
    "audit, nothing": AuditPage([]),
    "audit, nothing like that": AuditPage([], stack="ada"),
    "sign in, ended": SignInPage("/operator", ended=True),
    "sign in, impossible": SignInPage("/operator", possible=False),
    "not found": ErrorPage(404, replace(PROBLEM, who="user")),
    "broken": ErrorPage(503, PROBLEM),
}


# In English whatever the language around it.
DOCS = DocsPage(
    calls=[
        DocsPage.Call(
            "POST",
            "/api/deploy",
            ["Creates `one`."],
            ["token"],
            [DocsPage.Row("name", "¤text", "string")],
            DocsPage.Shape("Order", "¤text", [DocsPage.Row("name", "¤text", "string, required")]),
            "{}",
            [DocsPage.Row("202", "¤text", shape="Order")],
        )
    ],
    credentials=[DocsPage.Row("token", "¤text", "Authorization: Bearer")],
    shapes=[DocsPage.Shape("Order", "¤text", [])],
    codes=[DocsPage.Row("name_taken", "¤text")],
)


def every_document() -> Iterator[str]:
    """Every page in every state, in one language."""
    renderer = Renderer("1.2.3")
    for page in (*PAGES.values(), DOCS):
        yield renderer.render(page, Viewer(LANGUAGES["en"], "/here"))


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


def test_no_sentence_of_a_template_stays_english(renderer: Renderer):
    """No sentence of a template stays English, apart from names and what is the same word in both languages."""
    same = {
        "ar": {"name", "AI Stack Deployer"},
        "de": {
            "Browser",
            "Code",
            "Token",
            "Image",
            "In Dokploy",
            "Median",
            "Name",
            "Port",
            "Stack",
            "Status",
            "Version",
            "Volume",
            "name",
        },
        "fr": {
            "Code",
            "AI Stack Deployer, version",
            "Image",
            "Pages",
            "Port",
            "Stack",
            "Version",
            "Versions",
            "Volume",
        },
        "es": {"Stack", "Token"},
        "nl": {
            "AI Stack Deployer",
            "Account",
            "Account · AI Stack Deployer",
            "Browser",
            "Code",
            "Token",
            "Processors",
            "Id in Dokploy",
            "Image",
            "In Dokploy",
            "Stack",
            "Status",
            "Volume",
            "· AI Stack Deployer",
        },
    }
    for page in PAGES.values():
        english = read(renderer.render(page, Viewer(LANGUAGES["en"], "/", None))).words
        for code, allowed in same.items():
            other = read(renderer.render(page, Viewer(LANGUAGES[code], "/", None))).words
            kept = {word for word in set(english) & set(other) if re.search(r"[A-Za-z]{2}", word) and "¤" not in word}
            # What a log, an address or a name says is not a sentence.
            kept -= {"pulling", "0:01", "https://", "deploy_failed", ".ai.example.com", "ada · AI Stack Deployer"}
            kept -= {"192.0.2.7", "stack:read", "admin"}
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
        replace(READY, name=EVIL, url=EVIL, volume_path=EVIL, password=EVIL, qr=qr_code(EVIL)),
        replace(STACKS, rows=[replace(STACKS.rows[0], name=EVIL, host=EVIL, version=EVIL)]),
        replace(STACKS, lately=[replace(PAST, title=EVIL, outcome=EVIL, line=SmallLine(1, 7, "", EVIL))]),
        replace(STACK, name=EVIL, host=EVIL, url=EVIL, volume=EVIL, image=EVIL, password=EVIL, qr=qr_code(EVIL)),
        replace(
            STACK,
            opens=False,
            running=EVIL,
            links=PageLinks(EVIL, EVIL),
            certificate=EVIL,
            version=EVIL,
            log=[LogRow(1, "", EVIL, EVIL)],
        ),
        replace(RECORD, name=EVIL, actor=EVIL, trigger=EVIL, leftovers=[EVIL]),
        replace(RECORD, views=[ComparedProperty(EVIL, EVIL, EVIL, EVIL, differs=True)]),
        replace(RECORD, pieces=[RecordPage.Piece(EVIL, EVIL, EVIL, EVIL, Moment(EVIL, EVIL))]),
        DeletePage(EVIL, EVIL, EVIL),
        RedeployPage(EVIL),
        replace(
            OPERATOR,
            latest=[replace(PAST, title=EVIL)],
            leftovers=[OperatorPage.Leftover(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)],
            connections=[OperatorPage.Connection(EVIL, ShownState(EVIL, "failed"), [EVIL], [EVIL])],
        ),
        SignInPage(EVIL, problem=problem),
        SignInPage(EVIL, problem=problem, provider=True),
        replace(
            SIGNED_IN,
            everybody=True,
            tokens=[replace(TOKEN, name=EVIL, who=EVIL, trail=EVIL, id=EVIL)],
            sessions=[AccountPage.Session(MOMENT, EVIL, EVIL, here=True)],
        ),
        replace(ACCOUNT, facts=[Fact(EVIL, EVIL, code=True)], name=EVIL, problem=problem),
        NewTokenPage(EVIL, EVIL, [EVIL], MOMENT, EVIL),
        OfferPage(EVIL),
        OfferedPage(EVIL, EVIL, Moment(EVIL, EVIL), EVIL),
        TakeOverPage(problem),
        TakenOverPage(EVIL, EVIL),
        AuditPage([replace(ENTRY, who=EVIL, subject=EVIL, stack=EVIL, address=EVIL)]),
        AuditPage([replace(ENTRY, refused=EVIL, reason=EVIL)], EVIL, EVIL, PageLinks(EVIL, EVIL)),
        ErrorPage(500, problem),
    )
    for page in pages:
        html = renderer.render(page, Viewer(language, f"/{EVIL}", EVIL))
        assert "<script>alert" not in html
        assert EVIL_ESCAPED in html


@pytest.mark.parametrize(("words", "page"), [("running", RUNNING), ("succeeded", READY), ("failed", FAILED)])
def test_the_page_of_a_deployment_is_headed_with_the_words_of_its_verb(
    renderer: Renderer, words: str, page: DeploymentPage
):
    html = renderer.render(replace(page, name=EVIL), Viewer(LANGUAGES["en"], "/deployments/1", None))
    assert re.search(rf"<title>\s*¤{words} {re.escape(EVIL_ESCAPED)}", html)
    assert re.search(rf"<h1[^>]*>.*?¤{words} <bdi[^>]*>{re.escape(EVIL_ESCAPED)}</bdi>", html, re.DOTALL)


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


@pytest.mark.parametrize("theme", [None, "light", "dark"])
def test_the_frame_around_the_page_has_the_colour_of_its_header(renderer: Renderer, theme: str | None):
    style = (STATIC_DIR / "portal.css").read_text()
    light, dark = dict.fromkeys(re.findall(r"--sheet: (#\w+);", style))
    html = renderer.render(PAGES["deploy"], Viewer(LANGUAGES["en"], "/", theme))
    found = [
        (named.get("media"), named["content"]) for _, named in read(html).elements if named.get("name") == "theme-color"
    ]
    if theme is None:
        assert found == [("(prefers-color-scheme: light)", light), ("(prefers-color-scheme: dark)", dark)]
    else:
        assert found == [(None, {"light": light, "dark": dark}[theme])]


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
    for name in ("stranger", "ready, stranger", "failed, stranger", "again, failed, stranger", "record, running"):
        html = renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/", None))
        assert "/cancel" not in html
        assert "/delete" not in html
        assert 'href="/stacks/ada' not in html


def test_what_would_be_refused_is_not_offered(renderer: Renderer):
    def offered(name: str) -> set[str]:
        elements = read(renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/stacks/ada", None))).elements
        actions = {str(named.get("action")) for tag, named in elements if tag == "form"}
        return {action.rpartition("/")[2] for action in actions if action.startswith("/stacks/")}

    assert offered("stack") == {"redeploy", "password", "delete"}
    assert offered("stack, password pending") == {"redeploy", "delete"}
    assert offered("stack, left") == {"delete"}
    assert offered("stack, busy") == set()


def test_a_row_that_differs_says_so_in_words_and_in_shape(renderer: Renderer):
    for name, differs in (("record", False), ("record, differs", True)):
        html = renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/", None))
        assert ('class="differs"' in html) == differs
        assert ("</span>differs</span>" in html) == differs


def test_what_was_not_recorded_is_not_made_up(renderer: Renderer):
    words = read(renderer.render(PAGES["record"], Viewer(LANGUAGES["en"], "/", None))).words
    assert words.count("not recorded") == 1
    html = renderer.render(PAGES["record, not declared"], Viewer(LANGUAGES["en"], "/", None))
    assert "Declared" not in html


def test_words_of_a_redeployment_promise_no_undoing(renderer: Renderer):
    for name in ("again", "again, done", "again, failed", "again, canceled"):
        html = renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/", None))
        said = " ".join(read(html).words)
        for wrong in ("removed again", "Stop and undo", "The name is free", "was not deployed.", "Left behind"):
            assert wrong not in said, (name, wrong)
    assert "/deployments/01JD0000000000000000000000/cancel" in renderer.render(
        AGAIN, Viewer(LANGUAGES["en"], "/", None)
    )


def test_the_operators_part_is_shown_to_him(renderer: Renderer):
    for is_operator in (True, False):
        html = renderer.render(PAGES["deploy"], Viewer(LANGUAGES["en"], "/", None, is_operator=is_operator))
        links = [named["href"] for tag, named in read(html).elements if tag == "a"]
        assert links.count("/operator") == 1 + is_operator, "at the foot for everybody, above for him"


def test_everybody_finds_his_account_or_the_way_in(renderer: Renderer):
    for has_account in (True, False):
        html = renderer.render(PAGES["deploy"], Viewer(LANGUAGES["en"], "/", None, has_account=has_account))
        links = [named["href"] for tag, named in read(html).elements if tag == "a"]
        assert ("/account" in links, "/sign-in" in links) == (has_account, not has_account)


def ways_in(renderer: Renderer, name: str) -> tuple[list[str], list[str]]:
    """Where a page of signing in leads to, and which fields it has for people."""
    elements = read(renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/sign-in", None))).elements
    links = [str(named["href"]) for tag, named in elements if tag == "a" and "/sign-in/" in str(named["href"])]
    fields = [str(named["name"]) for tag, named in elements if tag == "input" and named.get("type") == "password"]
    return links, fields


def test_the_way_in_is_the_portals(renderer: Renderer):
    at_the_provider = ["/sign-in/provider?next=/stacks%3Fa%3Db"]
    assert ways_in(renderer, "sign in") == ([], ["token"])
    assert ways_in(renderer, "sign in, at a provider") == (at_the_provider, ["token"])
    assert ways_in(renderer, "sign in, at a provider, refused") == (["/sign-in/provider?next=/"], [])
    assert ways_in(renderer, "sign in, by a proxy") == ([], ["token"])
    assert ways_in(renderer, "sign in, by a proxy alone") == ([], [])


def test_why_somebody_was_refused_stands_where_it_is_mended(renderer: Renderer):
    def unfolded(name: str) -> bool:
        elements = read(renderer.render(PAGES[name], Viewer(LANGUAGES["en"], "/sign-in", None))).elements
        return any(
            tag == "details" and named.get("class") == "logs narrow" and "open" in named for tag, named in elements
        )

    assert unfolded("sign in, at a provider, wrong token")
    assert not unfolded("sign in, at a provider")
    refused = renderer.render(PAGES["sign in, at a provider, refused"], Viewer(LANGUAGES["en"], "/sign-in", None))
    assert refused.index("¤title") < refused.index("/sign-in/provider")


def test_a_cell_that_is_empty_has_no_label_on_a_phone(renderer: Renderer):
    def labels(subject: str) -> list[str]:
        page = AuditPage([replace(ENTRY, what=subject)])
        elements = read(renderer.render(page, Viewer(LANGUAGES["en"], "/", None))).elements
        return [str(named["data-label"]) for tag, named in elements if tag == "td" and "data-label" in named]

    assert [each for each in labels("ada") if each not in labels("")] == ["What"]


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
    for template, source in TEMPLATES.items():
        for name in re.findall(r"""asset\(["']([\w.-]+)["']\)""", source):
            assert (STATIC_DIR / name).is_file(), f"{template}: {name}"


def test_every_symbol_that_is_used_exists():
    sprite = (STATIC_DIR / "line.svg").read_text()
    for template, text in TEMPLATES.items():
        for name in re.findall(r"""icon\(["'](\w+)["']""", text) + re.findall(r"""\)\s*\}\}#(\w+)""", text):
            assert f'id="{name}"' in sprite, f"{template}: {name}"


def test_catalogs_are_complete():
    assert problems() == []
