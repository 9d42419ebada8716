"""Lists as programs and browsers read them: the API by `limit` and `cursor`, the pages by links that need no script."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from app.audit import Actor, Means, Role
from app.i18n import LANGUAGES
from app.identity import Scope, Tokens
from app.store.engine import Database
from app.store.migrations import migrate
from app.web.auth.authorization import RULES
from tests.integration.many_rows import ADA, BOB, ManyRows
from tests.integration.test_http import OPERATOR, assert_problem
from tests.integration.test_pages import HTML, Page
from tests.servers import PortalServer
from tests.unit.store.test_paging import cursor

# More than a page of each list, on the pages, too.
MANY = 105
ACTOR = Actor(ADA, Role.USER, Means.BROWSER)

# Each list of the API: whose it is here, and how many items it has.
LISTS = {
    "/api/stacks": MANY,
    "/api/kept-files": MANY,
    "/api/stack/the-one/deployments": MANY + 1,
    "/api/deployments": None,
    "/api/leftovers": 30,
    "/api/leftovers?removed=true": 60,
    "/api/audit": None,
    "/api/audit?stack=ada": MANY,
    "/api/audit?actor=browser:ada": MANY + 1,
    "/api/audit?actor=ada@example.com": MANY,
    "/api/tokens?everybody=true": MANY + 1,
}
# Each list on a page: where, and which parameter has its cursor.
PAGES = {
    "stacks": ("/stacks", "cursor"),
    "kept files": ("/stacks", "kept"),
    "history": ("/stacks/the-one", "cursor"),
    "deployments": ("/operator", "cursor"),
    "leftovers": ("/operator", "left"),
    "audit": ("/operator/audit", "cursor"),
    "audit of a stack": ("/operator/audit?stack=ada", "cursor"),
    "tokens": ("/account?everybody=1", "cursor"),
}


async def fill(url: str) -> str:
    """Write many rows; return an access token of ADA's."""
    database = Database(url)
    await migrate(database)
    rows = ManyRows()
    one = rows.stack(0, BOB, name="the-one")
    for number in range(MANY):
        if number < MANY - 61:
            rows.stack(number, ADA)
        rows.stack(number, ADA, kept=True, name=f"kept-{number}")
        rows.deployment(number, one, "the-one")
        rows.entry(number)
        rows.token(number, BOB)
    for number in range(30):
        rows.leftover(number)
        rows.leftover(number, removed=True)
    await rows.write(database)
    _, secret = await Tokens(database).make(
        ACTOR, owner=ADA, name="ci", scopes=frozenset(Scope) - {Scope.ADMIN}, days=7
    )
    await database.close()
    return secret


@pytest.fixture
def filled(start_portal: Any, any_database_url: str) -> tuple[PortalServer, str]:
    secret = asyncio.run(fill(any_database_url))
    return start_portal(runs=False, database_url=any_database_url), secret


def walk(portal: PortalServer, path: str, limit: int, headers: dict[str, str]) -> list[list[dict[str, Any]]]:
    """The items of every page of a list."""
    pages: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = portal.client.get(httpx.URL(path).copy_merge_params({"limit": limit, **cursor}), headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert set(body) == {"items", "nextCursor"}
        pages.append(body["items"])
        if body["nextCursor"] is None:
            return pages
        cursor = {"cursor": body["nextCursor"]}


def key_of(item: dict[str, Any]) -> Any:
    """What tells an item from another."""
    return item.get("id") or (item["stack"] if "stack" in item else item["name"], item.get("deploymentId"))


def test_every_list_of_the_api_is_read_by_cursor(filled: tuple[PortalServer, str]):
    portal, _ = filled
    for path, count in LISTS.items():
        name, _, query = path.partition("?")
        whole = [each for page in walk(portal, path, 100, OPERATOR) for each in page]
        pages = walk(portal, path, 20, OPERATOR)

        assert [each for page in pages for each in page] == whole, path
        assert len({key_of(each) for each in whole}) == len(whole), path
        assert all(len(page) == 20 for page in pages[:-1]), path
        if count is not None:
            assert len(whole) == count, path
        first = portal.client.get(path, headers=OPERATOR).json()
        assert first["items"] == whole[:20], path
        joint = "&" if query else "?"
        for wrong in ("limit=0", "limit=101", "limit=x"):
            refused = portal.client.get(f"{path}{joint}{wrong}", headers=OPERATOR)
            assert_problem(refused, 422, "request_invalid")
        for wrong in ("", "x", "%00", "é", "AAAA", "A" * 5000, (first["nextCursor"] or "")[:-4]):
            refused = portal.client.get(f"{path}{joint}cursor={wrong}", headers=OPERATOR)
            assert_problem(refused, 400, "cursor_invalid")
            assert refused.json()["errors"][0]["field"] == "cursor"
        assert name.removeprefix("/api/").partition("/")[0] in {
            rule.partition("/api/")[2].partition("/")[0] for rule in RULES if rule.startswith("GET /api/")
        }


def test_a_list_holds_what_is_the_caller_s_alone_on_every_page(filled: tuple[PortalServer, str]):
    portal, secret = filled
    headers = {"authorization": f"Bearer {secret}"}

    stacks = [each["name"] for page in walk(portal, "/api/stacks", 7, headers) for each in page]
    kept = [each["name"] for page in walk(portal, "/api/kept-files", 10, headers) for each in page]

    assert "the-one" not in stacks
    assert len(stacks) == len(set(stacks)) == MANY - 1
    assert len(kept) == len(set(kept)) == MANY
    assert portal.client.get("/api/stack/the-one/deployments", headers=headers).status_code == 404
    assert_problem(portal.client.get("/api/deployments", headers=headers), 403, "scope_missing")
    # A place in everybody's list is no way into it.
    cursor = portal.client.get("/api/stacks", params={"limit": 1}, headers=OPERATOR).json()["nextCursor"]
    after = portal.client.get("/api/stacks", params={"cursor": cursor, "limit": 100}, headers=headers).json()
    assert "the-one" not in [each["name"] for each in after["items"]]


def test_lists_hold_no_password(filled: tuple[PortalServer, str]):
    portal, _ = filled
    for page in walk(portal, "/api/stacks", 100, OPERATOR):
        assert {each["password"] for each in page} == {None}


def test_a_wrong_cursor_is_refused_in_the_reader_s_language(filled: tuple[PortalServer, str]):
    portal, _ = filled
    titles = set()
    for language in LANGUAGES:
        headers = {**OPERATOR, "accept-language": language}
        refused = portal.client.get("/api/stacks?cursor=x", headers=headers)
        titles.add((refused.json()["title"], refused.json()["detail"], refused.json()["hint"]))
        page = Page(portal.client.get("/stacks?cursor=x", headers={**headers, **HTML}))
        assert (page.status, page.language[0]) == (400, language)
        assert refused.json()["detail"] in page.words
    assert len(titles) == len(LANGUAGES)


def rows_of(page: Page) -> list[str]:
    """What each row of each list of a page is about."""
    links = [str(each["href"]) for each in page.all("a") if "href" in each]
    tokens = [str(each["action"]) for each in page.all("form") if "/revoke" in str(each.get("action"))]
    return [each for each in (*links, *tokens) if not {"cursor", "kept", "left", "lang"} & _query(each).keys()]


def _query(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


@pytest.mark.parametrize("language", ["en", "ar"])
def test_links_lead_to_older_and_newer_pages_of_each_list(filled: tuple[PortalServer, str], language: str):
    portal, _ = filled
    headers = {**OPERATOR, **HTML, "accept-language": language}

    def get(address: str) -> Page:
        page = Page(portal.client.get(address.partition("#")[0], headers=headers))
        assert page.status == 200, address
        return page

    for path, parameter in PAGES.values():

        def links(page: Page, rel: str, parameter: str = parameter) -> list[str]:
            return [str(each["href"]) for each in page.all("a", rel=rel) if f"{parameter}=" in str(each["href"])]

        first = get(path)
        (older,) = links(first, "next")
        second = get(older)
        (newer,) = links(second, "prev")
        again = get(newer)

        assert first.language == (language, "rtl" if language == "ar" else "ltr")
        assert links(first, "prev") == [], path
        assert rows_of(second) != rows_of(first), path
        assert rows_of(again) == rows_of(first), path
        for said in filter(None, path.partition("?")[2].split("&")):
            assert said in older
            assert said in newer
        labels = [str(each["aria-label"]) for each in first.all("nav")]
        assert len(labels) == len(set(labels)), "landmarks have names of their own"


def test_a_page_whose_rows_are_gone_leads_back_to_the_newest(filled: tuple[PortalServer, str]):
    portal, _ = filled
    at = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    empty = cursor(["stacks", "next", at, "01"])
    page = Page(portal.client.get("/stacks", params={"cursor": empty}, headers={**OPERATOR, **HTML}))

    assert page.status == 200
    assert page.all("a", rel="prev", href="/stacks")
    assert not page.all("a", rel="next")
