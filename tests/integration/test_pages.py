"""The pages as a browser without JavaScript gets them: forms, cookies, languages, and nothing that runs inline."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.robotparser import RobotFileParser

import httpx
import pytest

from app.i18n import LANGUAGES
from app.web.assets import asset
from tests.integration.conftest import LEAVES_SOON, Servers
from tests.integration.test_failures import new_name
from tests.integration.test_http import NOBODY, assert_problem
from tests.servers import ADMIN_TOKEN, HERE, Emulator, PortalServer, fetch, http_client

HTML = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


class Page(HTMLParser):
    """What is looked at of a page: its elements with their attributes, and the text within scripts."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.status = answer.status_code
        self.html = answer.text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.words = ""
        self._within: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if self._within:
            self.inline += data.strip()
        else:
            self.words += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes for name, attributes in self.elements if name == tag and wanted.items() <= attributes.items()
        ]

    @property
    def language(self) -> tuple[str | None, str | None]:
        (root,) = self.all("html")
        return root["lang"], root["dir"]

    @property
    def refreshes(self) -> bool:
        """Whether it loads itself again, where no script does: within <noscript>."""
        return bool(re.search(r'<noscript>\s*<meta http-equiv="refresh" content="\d+" />\s*</noscript>', self.html))


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return LEAVES_SOON


@pytest.fixture
def browser(shared_servers: Servers) -> Iterator[httpx.Client]:
    with http_client(base_url=shared_servers.portal.url, headers={**HTML, **HERE}) as client:
        yield client


@pytest.fixture
def stranger(shared_servers: Servers) -> Iterator[httpx.Client]:
    with http_client(base_url=shared_servers.portal.url, headers={**HTML, **HERE}) as client:
        yield client


def submit(browser: httpx.Client, path: str, **fields: str) -> str:
    """Send a form and return where it leads."""
    answer = browser.post(path, data=fields, headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def password_of(emulator: Emulator, name: str) -> str:
    (row,) = (each for each in emulator.state()["applications"] if each["name"] == name)
    found = re.search(r"OPENCODE_SERVER_PASSWORD=(\S+)", row["env"])
    assert found
    return found[1]


# The way of a person


def test_from_the_form_to_the_password_and_to_the_end(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    name = new_name()
    servers.emulator.fault("stuck")
    form = Page(browser.get("/"))
    assert "AI Stack Deployer" in form.html
    assert form.all("form", method="post", action="/deploy")
    assert form.all("input", name="name")

    here = submit(browser, "/deploy", name=name)

    running = Page(browser.get(here))
    assert running.refreshes
    assert running.all("form", action=f"{here}/cancel")
    seen_by_others = Page(stranger.get(here))
    assert seen_by_others.refreshes
    assert not seen_by_others.all("form", action=f"{here}/cancel")

    servers.emulator.release()
    servers.portal.wait(here.rpartition("/")[2])
    ready, password = Page(browser.get(here)), password_of(servers.emulator, name)
    assert not ready.refreshes
    assert password in ready.words, "it can be read without a script"
    assert ready.all("a", href=f"http://{name}.stacks.example")
    assert ready.all("a", href=f"/stacks/{name}/delete")
    other = Page(stranger.get(here))
    assert password not in other.html
    assert not other.all("a", href=f"/stacks/{name}/delete")

    question = Page(browser.get(f"/stacks/{name}/delete"))
    assert {each["value"] for each in question.all("input", name="volume")} == {"erase", "keep"}
    assert stranger.get(f"/stacks/{name}/delete").status_code == 404
    there = submit(browser, f"/stacks/{name}/delete", volume="erase")
    servers.portal.wait(there.rpartition("/")[2])
    removed = Page(browser.get(there))
    assert f"{name} is removed" in removed.words
    assert f"portal-ai-workspace-{name}" in removed.words
    assert servers.emulator.left() == {}
    # The first page says so too, and shows no password of a stack that is gone.
    assert password not in Page(browser.get(here)).html


def test_stopping_from_the_page(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    servers.emulator.fault("stuck")
    here = submit(browser, "/deploy", name=new_name())

    refused = stranger.post(f"{here}/cancel", headers={"sec-fetch-site": "same-origin"})
    assert (Page(refused).status, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
    for _ in range(2):
        assert submit(browser, f"{here}/cancel") == here

    servers.portal.wait_for(here.rpartition("/")[2], "cancel_requested")
    servers.emulator.clear_faults()
    servers.emulator.release(0)  # it may have been stopped before it got there
    assert servers.portal.wait(here.rpartition("/")[2])["conclusion"] == "canceled"
    stopped = Page(browser.get(here))
    assert "It was stopped on request" in stopped.words
    assert submit(browser, f"{here}/cancel") == here, "one that has just ended is simply shown"
    assert servers.emulator.left() == {}


def test_a_failure_says_why_and_what_to_do(servers: Servers, browser: httpx.Client):
    servers.emulator.fault("fail")
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    record = servers.portal.wait(here.rpartition("/")[2])

    page = Page(browser.get(here))

    assert f"{name} was not deployed" in page.words
    for words in ("title", "detail", "hint"):
        assert record["problem"][words] in page.words
    assert not page.refreshes
    assert page.all("form", action="/deploy"), "it can be tried again"
    assert "password" not in {each.get("type") for each in page.all("input")}


def test_what_is_left_over_is_on_the_page(servers: Servers, browser: httpx.Client, stranger: httpx.Client):
    servers.emulator.fault("open")
    servers.emulator.fault("volume_in_use", times=-1)
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    servers.portal.wait(here.rpartition("/")[2])

    page = Page(browser.get(here))

    assert f"portal-ai-workspace-{name}" in page.words
    assert page.all("a", href=f"/stacks/{name}/delete")
    assert not Page(stranger.get(here)).all("a", href=f"/stacks/{name}/delete")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", 422),
        ("a_b", 422),
        ("admin", 422),
        ("<script>alert(1)</script>", 422),
        ('"><img src=x onerror=alert(1)>', 422),
    ],
)
def test_a_name_that_cannot_be_comes_back_to_the_form(servers: Servers, browser: httpx.Client, name: str, status: int):
    page = Page(browser.post("/deploy", data={"name": name}))

    assert page.status == status
    (field,) = page.all("input", name="name", id="name")
    assert (field["value"], field["aria-invalid"]) == (name, "true")
    assert_nothing_inline(page)
    assert not page.all("img")


def test_a_name_that_is_taken_comes_with_others(servers: Servers, browser: httpx.Client):
    name = new_name()
    submit(browser, "/deploy", name=name)

    page = Page(browser.post("/deploy", data={"name": name}))

    offered = [each["value"] for each in page.all("button", name="name") if "value" in each]
    assert page.status == 409
    assert offered[0] == f"{name}-2"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("&".join(f"field{number}=x" for number in range(1000)), 422, "request_invalid"),
        ("name=" + "a" * 100_000, 413, "body_too_large"),
        ("name=%ff%fe%00", 422, "name_not_ascii"),
        ("%00&&==&name", 422, "name_missing"),
    ],
)
@pytest.mark.parametrize("path", ["/deploy", "/theme"])
def test_a_form_that_no_browser_sends(servers: Servers, path: str, body: str, status: int, code: str):
    headers = {"content-type": "application/x-www-form-urlencoded"}

    answer = servers.portal.client.post(path, content=body, headers=headers)

    if path == "/theme" and code.startswith("name_"):
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    elif path == "/deploy" and code.startswith("name_"):
        assert Page(answer).status == status
    else:
        assert_problem(answer, status, code)


# Languages


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        ("", "", "", ("en", "ltr")),
        ("", "", "nl-BE,nl;q=0.9,en;q=0.8", ("nl", "ltr")),
        ("", "", "sv,pt;q=0.9", ("en", "ltr")),
        ("", "", "en;q=0.2,ar-SA;q=0.9", ("ar", "rtl")),
        ("", "", "nl;q=0,ar", ("ar", "rtl")),
        ("", "", "*;;q=,,\x80", ("en", "ltr")),
        ("", "ar", "nl", ("ar", "rtl")),
        ("", "xx", "nl", ("nl", "ltr")),
        ("nl", "ar", "ar", ("nl", "ltr")),
        ("AR", "nl", "nl", ("ar", "rtl")),
        ("xx", "ar", "nl", ("ar", "rtl")),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nothing", f"/deployments/{NOBODY}", "/docs"])
def test_the_language_of_a_page(
    servers: Servers, path: str, query: str, cookie: str, accept: str, language: tuple[str, str]
):
    headers = {**HTML, "accept-language": accept.encode("latin-1"), **({"cookie": f"lang={cookie}"} if cookie else {})}

    answer = fetch(servers.portal.url + path, params={"lang": query} if query else {}, headers=headers)

    page = Page(answer)
    assert page.language == language
    assert answer.headers["content-language"] == language[0]
    assert {"Accept-Language", "Cookie"} <= {word.strip() for word in answer.headers["vary"].split(",")}
    assert answer.headers["cache-control"] == "no-store"
    links = {each["hreflang"]: each["href"] for each in page.all("a") if "hreflang" in each}
    assert links == {code: f"{path}?lang={code}" for code in LANGUAGES}


def test_a_language_that_was_asked_for_stays(servers: Servers, browser: httpx.Client):
    browser.get("/", params={"lang": "ar"})

    assert Page(browser.get("/docs", headers={"accept-language": "nl"})).language == ("ar", "rtl")


def test_a_page_of_a_deployment_speaks_every_language(servers: Servers, browser: httpx.Client):
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    servers.portal.wait(here.rpartition("/")[2])

    heads = {
        lang: re.findall(r"<h1[^>]*>(.*?)</h1>", browser.get(here, params={"lang": lang}).text, re.DOTALL)[0]
        for lang in LANGUAGES
    }

    assert len(set(heads.values())) == len(LANGUAGES)
    # A name within Arabic is isolated from the words around it.
    assert f'<bdi dir="ltr">{name}</bdi>' in heads["ar"]


@pytest.mark.parametrize("lang", list(LANGUAGES))
def test_a_page_that_is_not_there(servers: Servers, browser: httpx.Client, lang: str):
    for path in (
        "/nothing",
        f"/deployments/{NOBODY}",
        "/stacks/nobody/delete",
        "/deployments/%3Cb%3E",
        "/static/none.js",
    ):
        answer = browser.get(path, params={"lang": lang})
        page = Page(answer)
        problem = fetch(f"{servers.portal.url}{path}", params={"lang": lang}).json()
        assert page.status == 404
        assert problem["title"] in page.words
        assert problem["hint"] in page.words
        assert_nothing_inline(page)


# What a page may do

PATHS = (
    "/",
    "/?name=%3Cscript%3Ealert(1)%3C/script%3E",
    "/docs",
    "/nothing",
    "/health",
    "/api/nothing",
    "/openapi.json",
)


@pytest.mark.parametrize("path", [*PATHS, "/static/portal.js"])
def test_security_headers_are_everywhere(servers: Servers, browser: httpx.Client, path: str):
    headers = browser.get(path).headers

    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split(";")}
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [
        (asset("portal.css"), 200, "public, max-age=31536000, immutable"),
        ("/static/portal.css?v=000000000000", 200, "no-cache"),
        ("/static/portal.css", 200, "no-cache"),
        ("/static/none.css?v=000000000000", 404, "no-cache"),
    ],
)
def test_only_what_cannot_change_is_kept_for_ever(servers: Servers, path: str, status: int, kept: str):
    """Else the old version's file stays for a year, where a new page met an old process."""
    answer = servers.portal.client.get(path)

    assert (answer.status_code, answer.headers["cache-control"]) == (status, kept)


def test_a_page_that_broke_has_the_same_policy(start_portal):
    portal: PortalServer = start_portal()
    with http_client(base_url=portal.url, headers={**HTML, **HERE}) as browser:
        here = submit(browser, "/deploy", name="ada")
        portal.wait(here.rpartition("/")[2])
        usual = browser.get("/").headers
    portal.spoil_passwords()
    operator = {**HTML, "authorization": f"Bearer {ADMIN_TOKEN}"}

    broken = fetch(f"{portal.url}{here}", headers=operator)

    assert broken.status_code == 500
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "permissions-policy"):
        assert broken.headers[name] == usual[name]


def test_the_page_of_a_creation_offers_no_stack_that_is_on_its_way_out(servers: Servers, browser: httpx.Client):
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    servers.portal.wait(here.rpartition("/")[2])
    servers.emulator.fault("volume_in_use", times=-1)
    there = submit(browser, f"/stacks/{name}/delete", volume="erase")

    for _ in range(2):  # while it is removed, and when something of it is left
        page = Page(browser.get(here))
        assert f"{name} was deployed" in page.words
        assert page.all("a", href=there)
        assert not page.all("svg", **{"class": "qr"})
        assert "password" not in {each.get("type") for each in page.all("input")}
        servers.portal.wait(there.rpartition("/")[2])
    servers.emulator.clear_faults()


def assert_nothing_inline(page: Page) -> None:
    """Nothing that the policy would refuse, and so nothing that text from outside could become."""
    assert page.inline == ""
    assert not page.all("style")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        assert not str(attributes.get("href", "")).lower().startswith("javascript:")
    for script in page.all("script"):
        assert str(script["src"]).startswith("/static/")


def test_no_page_runs_anything_inline(servers: Servers, browser: httpx.Client):
    servers.emulator.fault("stuck")
    name = new_name()
    here = submit(browser, "/deploy", name=name)
    pages = [Page(browser.get(here))]
    servers.emulator.release()
    servers.portal.wait(here.rpartition("/")[2])
    paths = (here, f"/stacks/{name}/delete", *PATHS[:4])
    pages += [Page(browser.get(path, params=dict(httpx.QueryParams(path.partition("?")[2])))) for path in paths]

    for page in pages:
        assert_nothing_inline(page)
    for path in {str(each["src"]) for page in pages for each in page.all("script")}:
        asset = browser.get(path)
        assert asset.status_code == 200
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_name_from_the_address_is_text(servers: Servers, browser: httpx.Client):
    name = '"><script>x</script>'

    page = Page(browser.get("/", params={"name": name}))

    (field,) = page.all("input", name="name", id="name")
    assert field["value"] == name
    assert_nothing_inline(page)


@pytest.mark.parametrize("path", ["//evil.example", "/%5Cevil.example", "//evil.example/%2e%2e", "/%2F%2Fevil.example"])
def test_links_of_an_odd_address_stay_here(servers: Servers, path: str):
    answer = servers.portal.client.get(servers.portal.url + path, headers=HTML)

    page = Page(answer)
    assert page.status == 404
    leading = [str(each["href"]) for each in page.all("a")] + [
        str(each["value"]) for each in page.all("input", name="next")
    ]
    leading.remove("#main")
    assert not [link for link in leading if not link.startswith("/") or link.startswith(("//", "/\\"))]


# What search engines are told


def test_search_engines_are_told_what_they_may_read(servers: Servers, browser: httpx.Client):
    answer = browser.get("/robots.txt")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert browser.head("/robots.txt").status_code == 200
    rules = RobotFileParser()
    rules.parse(answer.text.splitlines())
    may = {path: rules.can_fetch("anybody", path) for path in ("/", "/?lang=nl", "/docs", "/static/portal.css")}
    assert may == dict.fromkeys(may, True)
    private = ("/deployments/x", "/stacks", "/stacks/ada/delete", "/api/stacks", "/api/check/ada", "/operator")
    assert not [path for path in private if rules.can_fetch("anybody", path)]


def test_search_engines_find_the_first_page_in_every_language(servers: Servers, browser: httpx.Client):
    here = servers.portal.url
    page = Page(browser.get("/"))

    addresses = {each["hreflang"]: str(each["href"]) for each in page.all("link", rel="alternate")}
    assert addresses == {"x-default": f"{here}/", **{code: f"{here}/?lang={code}" for code in LANGUAGES}}
    descriptions = {}
    for code in LANGUAGES:
        there = Page(fetch(addresses[code], headers=HTML))
        assert there.language[0] == code
        assert there.all("link", rel="alternate") == page.all("link", rel="alternate")
        (description,) = there.all("meta", name="description")
        descriptions[code] = str(description["content"])
    assert len(set(descriptions.values())) == len(LANGUAGES)
    assert all(20 < len(each) < 160 for each in descriptions.values())


@pytest.mark.parametrize("host", ['evil.example"><script>', "evil.example/path", "a b", ""])
def test_a_host_that_cannot_be_is_in_no_address(servers: Servers, browser: httpx.Client, host: str):
    page = Page(browser.get("/", headers={"host": host}))

    assert [each["href"] for each in page.all("link", hreflang="x-default")] == [f"{servers.portal.url}/"]


def test_pages_of_deployments_are_not_to_be_found(servers: Servers, browser: httpx.Client):
    here = submit(browser, "/deploy", name=new_name())
    servers.portal.wait(here.rpartition("/")[2])

    page = Page(browser.get(here))

    assert page.all("meta", name="robots", content="noindex")
    assert not page.all("link", rel="alternate")


# Choices that are kept


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("/docs", "/docs"),
        ("/deployments/x?lang=nl", "/deployments/x?lang=nl"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\t/evil.example", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
        ("evil.example", "/"),
    ],
)
def test_a_theme_is_kept_and_leads_back_here(servers: Servers, browser: httpx.Client, wanted: str, location: str):
    assert submit(browser, "/theme", theme="dark", next=wanted) == location

    assert browser.cookies["theme"] == "dark"
    assert Page(browser.get("/")).all("html")[0]["data-theme"] == "dark"


@pytest.mark.parametrize("theme", ["", "blue", '"><script>'])
def test_a_theme_that_there_is_not(servers: Servers, browser: httpx.Client, theme: str):
    submit(browser, "/theme", theme=theme)

    assert "theme" not in browser.cookies
    page = Page(browser.get("/", headers={"cookie": f"theme={theme}"}))
    assert "data-theme" not in page.all("html")[0]


def test_cookies_are_kept_from_scripts_and_from_other_sites(start_portal):
    for app_env, secure in (("production", True), ("development", False)):
        portal: PortalServer = start_portal(app_env=app_env)
        set_cookie: dict[str, Any] = {}
        for answer in (portal.client.post("/deploy", data={"name": new_name()}), portal.client.get("/?lang=nl")):
            name, _, attributes = answer.headers["set-cookie"].partition("=")
            set_cookie[name] = {part.strip().lower() for part in attributes.split(";")[1:]}
        # Over https no other host of the domain can set one of that name.
        assert "httponly" in set_cookie["__Host-asd_browser" if secure else "asd_browser"]
        for attributes in set_cookie.values():
            assert {"samesite=lax", "path=/"} <= attributes
            assert ("secure" in attributes) is secure
        portal.stop()
