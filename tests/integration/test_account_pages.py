"""Accounts, tokens, handing over and the trail, as a browser without JavaScript gets them."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from app.audit import Action, Means
from app.i18n import LANGUAGES
from app.identity import Scope, new_browser_owner
from app.security.vault import Vault
from app.web.ui.audit.view import ACTIONS
from app.web.ui.shared.actors import MEANS
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_account_api import bearer, trail
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR
from tests.integration.test_pages import HTML, Page, assert_nothing_inline, password_of, submit
from tests.servers import ADMIN_TOKEN, PortalServer, http_client

ELSEWHERE = {"sec-fetch-site": "cross-site"}
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture
def portal(servers: Servers) -> PortalServer:
    """The module's portal, which has put no refusal on the trail yet: of one address it does so once a minute."""
    servers.portal._app.state.limits.refusals._told.clear()
    return servers.portal


def visitor(portal: PortalServer) -> httpx.Client:
    headers = {**HTML, "sec-fetch-site": "same-origin", "user-agent": f"Test/1 {HOSTILE}"}
    return http_client(base_url=portal.url, headers=headers)


def known(portal: PortalServer) -> httpx.Client:
    """A browser that has deployed something once, so that it has a cookie."""
    client = visitor(portal)
    signed = Vault(portal.settings.secret_key).sign(new_browser_owner(), "asd_browser")
    client.cookies.set("asd_browser", signed, domain="127.0.0.1")
    return client


@pytest.fixture
def stranger(portal: PortalServer) -> Iterator[httpx.Client]:
    with closing(visitor(portal)) as client:
        yield client


@pytest.fixture
def browser(portal: PortalServer) -> Iterator[httpx.Client]:
    with closing(known(portal)) as client:
        yield client


@pytest.fixture
def other(portal: PortalServer) -> Iterator[httpx.Client]:
    with closing(known(portal)) as client:
        yield client


@pytest.fixture
def operator(portal: PortalServer) -> Iterator[httpx.Client]:
    with closing(visitor(portal)) as client:
        submit(client, "/sign-in", token=ADMIN_TOKEN)
        yield client


def deployed(portal: PortalServer, browser: httpx.Client) -> str:
    name = new_name()
    portal.wait(submit(browser, "/deploy", name=name).rpartition("/")[2])
    return name


def make(browser: httpx.Client, *scopes: str, name: str = "ci", days: str = "30") -> httpx.Response:
    return browser.post("/account/tokens", data={"name": name, "days": days, **dict.fromkeys(scopes, "on")})


def shown_once(page: Page) -> str:
    """The secret that a page shows, this once."""
    found = re.search(r'id="secret"><bdi dir="ltr">([\w-]+)</bdi>', page.html)
    assert found, page.html
    (button,) = [each for each in page.all("button") if "data-copy" in each]
    assert button["data-copy"] == found[1]
    return found[1]


def revocations(page: Page) -> list[str]:
    return [str(each["action"]) for each in page.all("form") if str(each["action"]).endswith("/revoke")]


# Who somebody is


def test_a_browser_that_nobody_knows_has_an_account_all_the_same(stranger: httpx.Client):
    answer = stranger.get("/account")

    page = Page(answer)
    assert page.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert "This browser" in page.words
    assert "There are no tokens yet." in page.words
    assert {str(each["name"]) for each in page.all("input", type="checkbox")} == set(Scope) - {
        "admin",
        "deploy:rollback",
    }
    assert not page.all("form", action="/account/sign-out-everywhere")
    assert not page.all("form", action="/sign-out")
    assert page.all("a", href="/account", **{"aria-current": "page"})
    assert page.all("a", href="/take-over")
    assert_nothing_inline(page)
    assert Page(stranger.get("/")).all("a", href="/account"), "on every page"


def test_where_the_operator_is_signed_in_and_out_everywhere(portal: PortalServer, operator: httpx.Client):
    with closing(visitor(portal)) as elsewhere:
        submit(elsewhere, "/sign-in", token=ADMIN_TOKEN)

        page = Page(operator.get("/account"))
        assert "The operator" in page.words
        assert page.words.count(f"Test/1 {HOSTILE}") >= 2
        assert page.words.count("This browser") == 1
        assert "127.0.0.1" in page.words
        assert page.all("form", action="/sign-out")
        assert_nothing_inline(page)

        answer = operator.post("/account/sign-out-everywhere")

        assert (answer.status_code, answer.headers["location"]) == (303, "/?done=signed-out-everywhere")
        assert "max-age=0" in answer.headers["set-cookie"].lower()
        assert elsewhere.get("/operator").headers["location"] == "/sign-in?next=/operator"
    newest = trail(portal)[0]
    assert (newest["action"], newest["means"]) == ("sign_out_everywhere", "session")


def test_a_way_to_sign_in_stands_where_somebody_was_refused(start_portal):
    portal: PortalServer = start_portal(auth_mode="proxy", proxy_auth_addresses="192.0.2.0/24", runs=False)
    with closing(visitor(portal)) as client:
        ways = {
            "/deploy": "/deploy",
            "/stacks/ada/delete": "/stacks/ada/delete",
            f"/deployments/{'0' * 26}/cancel": f"/deployments/{'0' * 26}",
        }
        for path, there in ways.items():
            page = Page(client.post(path, data={"name": "ada"}))
            assert page.status == 401
            assert page.all("a", href=f"/sign-in?next={there}"), path
        assert client.get("/?name=ada&plan=1").headers["location"] == "/sign-in?next=/%3Fname%3Dada%26plan%3D1"
        form = Page(client.get("/sign-in?next=/%3Fname%3Dada%26plan%3D1"))
        assert form.all("input", name="next")[-1]["value"] == "/?name=ada&plan=1"
        assert form.all("a", href="/operator")


def test_whoever_the_proxy_names_need_not_sign_in(start_portal):
    portal: PortalServer = start_portal(auth_mode="proxy", proxy_auth_addresses="127.0.0.1", runs=False)
    with closing(visitor(portal)) as client:
        client.headers["remote-user"] = "ada"
        answer = client.get("/sign-in?next=/stacks")
        assert (answer.status_code, answer.headers["location"]) == (303, "/stacks")
        client.cookies.set("asd_session", "one-that-has-ended")
        assert client.get("/sign-in?next=/stacks").status_code == 303
        missing = Page(client.get("/stacks/nobody"))
        assert missing.status == 404
        assert missing.all("a", href="/stacks", **{"class": "btn go"})
        assert not missing.all("a", href="/operator"), "which is not for him"


def test_sessions_of_an_earlier_token_are_not_listed(start_portal):
    portal: PortalServer = start_portal()
    with closing(visitor(portal)) as before:
        submit(before, "/sign-in", token=ADMIN_TOKEN)
    portal.stop()
    again: PortalServer = start_portal(admin_token="another-token-of-the-operator")
    with closing(visitor(again)) as now:
        submit(now, "/sign-in", token="another-token-of-the-operator")
        assert Page(now.get("/account")).words.count(f"Test/1 {HOSTILE}") == 1


def test_an_account_is_for_people(portal: PortalServer, browser: httpx.Client):
    token = shown_once(Page(make(browser, "stack:read")))
    for secret in (token, "asd_a-manage-key"):
        assert Page(portal.client.get("/account", headers={**HTML, **bearer(secret)})).status == 403
        refused = portal.client.post("/account/tokens", data={"name": "x"}, headers={**HTML, **bearer(secret)})
        assert refused.status_code == 403


@pytest.mark.parametrize("mode", ["oidc", "proxy"])
def test_whoever_has_not_signed_in_is_asked_to(start_portal, mode: str):
    ways: dict[str, dict[str, Any]] = {
        "oidc": {
            "portal_url": "https://portal.example",
            "oidc_issuer": "https://id.example",
            "oidc_client_id": "portal",
            "oidc_client_secret": "x" * 16,
            "allowed_domains": ("*",),
        },
        "proxy": {"proxy_auth_addresses": "192.0.2.0/24"},
    }
    portal: PortalServer = start_portal(auth_mode=mode, **ways[mode])
    with closing(visitor(portal)) as client:
        for path in ("/account", "/take-over", "/stacks"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")
        form = Page(client.get("/sign-in?next=/account"))
        assert form.all("a", href="/sign-in")
        assert not form.all("a", href="/account")
        links = [str(each["href"]) for each in form.all("a") if "/sign-in/" in str(each["href"])]
        assert links == (["/sign-in/provider?next=/account"] if mode == "oidc" else [])
        assert form.all("input", name="token"), "the operator's way in"

        submit(client, "/sign-in", token=ADMIN_TOKEN, next="/account")

        assert Page(client.get("/account")).all("form", action="/account/sign-out-everywhere")
        assert (
            client.post("/account/sign-out-everywhere").headers["location"] == "/signed-out?done=signed-out-everywhere"
        )
        assert Page(client.get("/signed-out?done=signed-out-everywhere")).words.count("You have signed out") == 1


# Tokens


def test_a_token_is_made_used_and_revoked(portal: PortalServer, browser: httpx.Client):
    answer = make(browser, "stack:read", "deploy:start")

    page, token = Page(answer), shown_once(Page(answer))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert token.startswith("asdt_")
    assert f"{portal.url}/api/stacks" in page.words
    assert token not in str(answer.headers)
    assert page.all("a", hreflang="nl")[0]["href"] == "/account?lang=nl"
    assert_nothing_inline(page)
    accepted = portal.deploy(new_name(), **bearer(token))
    assert Page(browser.get(f"/stacks/{accepted['stackName']}")).status == 200

    listed = Page(browser.get("/account"))
    assert token not in listed.html
    assert "never" not in listed.words
    (revoke,) = revocations(listed)
    assert listed.all("summary"), "which asks first"
    here = submit(browser, revoke)
    assert here == "/account?done=revoked"
    done = Page(browser.get(here))
    assert "The token is revoked." in done.words
    assert done.all("p", role="status")
    assert done.all("a", hreflang="nl")[0]["href"] == "/account?lang=nl", "no link says it again"
    assert "is revoked" not in Page(browser.get("/account?done=<b>")).words

    assert portal.client.get("/api/stacks", headers=bearer(token)).status_code == 401
    after = Page(browser.get("/account"))
    assert revocations(after) == []
    assert "Revoked" in after.words
    assert browser.get("/account/tokens").headers["location"] == "/account"


@pytest.mark.parametrize(
    ("scopes", "fields", "said"),
    [
        ([], {}, "A token is made for one thing or more"),
        (["stack:read"], {"name": " "}, "A token's name has 1 to 80 characters."),
        (["stack:read"], {"name": "x\u202ey"}, "A token's name has 1 to 80 characters."),
        (["stack:read"], {"days": "400"}, "A token is good for 1 to 366 days."),
        (["stack:read"], {"days": "9" * 5000}, "A token is good for 1 to 366 days."),
        (["stack:read"], {"days": "٣"}, "A token is good for 1 to 366 days."),
        (["stack:read", "admin"], {}, "This token was not made for admin."),
        (["root"], {}, "A token is made for one thing or more"),
    ],
)
def test_a_mistake_comes_back_in_the_form_with_the_fields_kept(
    browser: httpx.Client, scopes: list[str], fields: dict[str, str], said: str
):
    answer = make(browser, *scopes, **{"name": HOSTILE, "days": "7", **fields})

    page = Page(answer)
    assert page.status in {403, 422}
    assert said in page.words
    assert "set-cookie" not in answer.headers
    assert page.all("input", id="name")[0]["value"] == fields.get("name", HOSTILE)
    ticked = {str(each["name"]) for each in page.all("input", type="checkbox") if "checked" in each}
    assert ticked == {scope for scope in scopes if scope in set(Scope)} - {"admin"}
    chosen = [each["value"] for each in page.all("option") if "selected" in each]
    assert chosen == ([] if "days" in fields else ["7"])
    assert page.all("p", role="alert", id="why")
    (wrong,) = [named for _, named in page.elements if "autofocus" in named]
    about = "days" if "days" in fields else "name" if "name" in fields else ""
    assert wrong["name"] == (about or "deploy:read"), "the first field that is wrong"
    assert_nothing_inline(page)


def test_too_many_tokens_are_told_in_the_form(browser: httpx.Client):
    for _ in range(50):
        assert make(browser, "stack:read").status_code == 200
    page = Page(make(browser, "stack:read"))
    assert page.status == 409
    assert "One owner has at most 50 tokens." in page.words


@pytest.mark.parametrize("name", [HOSTILE, "{{ 7 * 7 }}", "%(name)s", "عربي <b>", "'; DROP TABLE token; --"])
def test_a_hostile_name_is_a_name(portal: PortalServer, operator: httpx.Client, browser: httpx.Client, name: str):
    made = Page(make(browser, "stack:read", name=name))

    for page in (
        made,
        Page(browser.get("/account")),
        Page(browser.get("/account?lang=ar")),
        Page(operator.get("/account?everybody=1")),
        Page(operator.get("/operator/audit")),
    ):
        assert page.status == 200
        assert name in page.words
        assert not page.all("img")
        assert not page.all("b", onerror="alert(1)")
        assert_nothing_inline(page)


def test_tokens_of_others_are_out_of_reach(portal: PortalServer, browser: httpx.Client, other: httpx.Client):
    token = shown_once(Page(make(browser, "stack:read")))
    make(other, "stack:read")
    (revoke,) = revocations(Page(browser.get("/account")))

    assert revoke not in revocations(Page(other.get("/account")))
    assert other.post(revoke).status_code == 404
    assert other.get("/account?everybody=1").status_code == 403
    assert browser.post(revoke, headers=ELSEWHERE).status_code == 403
    assert make_from_elsewhere(browser).status_code == 403
    assert browser.post("/account/sign-out-everywhere", headers=ELSEWHERE).status_code == 403
    assert portal.client.get("/api/stacks", headers=bearer(token)).status_code == 200


def make_from_elsewhere(browser: httpx.Client) -> httpx.Response:
    return browser.post("/account/tokens", data={"name": "x", "stack:read": "on"}, headers=ELSEWHERE)


def test_an_operator_sees_and_revokes_everybodys_and_gives_admin(
    portal: PortalServer, browser: httpx.Client, operator: httpx.Client
):
    theirs = shown_once(Page(make(browser, "stack:read", name="theirs")))
    (revoke,) = revocations(Page(browser.get("/account")))

    made = Page(make(operator, "admin"))

    # Without accounts, too, where his browser has a name of its own.
    admin = shown_once(made)
    assert portal.client.get("/api/overview", headers=bearer(admin)).status_code == 200
    mine = Page(operator.get("/account"))
    assert len(revocations(mine)) >= 1
    assert "theirs" not in mine.words
    everybodys = Page(operator.get("/account?everybody=1"))
    assert revoke in revocations(everybodys)
    assert "A browser" in everybodys.words
    assert everybodys.all("a", hreflang="nl")[0]["href"] == "/account?everybody=1&lang=nl"

    assert submit(operator, revoke, everybody="1") == "/account?everybody=1&done=revoked"

    assert portal.client.get("/api/stacks", headers=bearer(theirs)).status_code == 401


# Handing over


def test_a_stack_goes_from_one_browser_to_another(servers: Servers, browser: httpx.Client, other: httpx.Client):
    name = deployed(servers.portal, browser)
    assert Page(browser.get(f"/stacks/{name}")).all("a", href=f"/stacks/{name}/offer")
    asked = Page(browser.get(f"/stacks/{name}/offer"))
    assert asked.all("form", method="post", action=f"/stacks/{name}/offer")
    assert_nothing_inline(asked)

    offered = browser.post(f"/stacks/{name}/offer")

    code = shown_once(Page(offered))
    assert (offered.status_code, offered.headers["cache-control"]) == (200, "no-store")
    assert f"{servers.portal.url}/take-over" in Page(offered).words
    assert_nothing_inline(Page(offered))
    assert Page(other.get("/stacks")).all("a", href="/take-over")
    form = Page(other.get("/take-over"))
    assert form.all("form", method="post", action="/take-over")
    assert form.all("input", name="code", autocomplete="off")

    taken = other.post("/take-over", data={"code": f" {code} "})

    page, key = Page(taken), shown_once(Page(taken))
    assert (taken.status_code, taken.headers["cache-control"]) == (200, "no-store")
    assert "asd_browser" in taken.headers["set-cookie"]
    assert page.all("a", href=f"/stacks/{name}")
    assert_nothing_inline(page)
    assert password_of(servers.emulator, name) in Page(other.get(f"/stacks/{name}")).words
    assert browser.get(f"/stacks/{name}").status_code == 404
    for secret in (code, key):
        assert secret not in str([answer.headers for answer in (offered, taken)])
    assert servers.portal.client.get(f"/api/stack/{name}", headers=bearer(key)).status_code == 200


def test_a_manage_key_brings_a_stack_into_this_browser(portal: PortalServer, browser: httpx.Client):
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])

    page = Page(browser.post("/take-over", data={"code": accepted["manageKey"]}))

    assert shown_once(page) != accepted["manageKey"]
    assert Page(browser.get(f"/stacks/{accepted['stackName']}")).status == 200


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_code_that_does_not_do_is_asked_for_again(portal: PortalServer, browser: httpx.Client, lang: str):
    # Of the same address only the first is on the trail.
    address = {"x-forwarded-for": f"203.0.113.{list(LANGUAGES).index(lang)}"}
    answer = browser.post("/take-over", data={"code": "asdo_nearly-right"}, params={"lang": lang}, headers=address)

    page = Page(answer)
    assert (page.status, page.language[0]) == (422, lang)
    assert page.all("input", name="code")[0]["aria-invalid"] == "true"
    assert "nearly-right" not in page.html
    assert page.all("a", hreflang="nl")[0]["href"] == "/take-over?lang=nl"
    assert "asd_browser" not in answer.headers.get("set-cookie", "")
    assert_nothing_inline(page)
    newest = trail(portal)[0]
    assert (newest["action"], newest["outcome"], newest["code"]) == ("take_over", "refused", "offer_invalid")


def test_a_refusal_on_a_form_has_the_headers_of_its_problem(start_portal):
    portal: PortalServer = start_portal(max_stacks_per_owner=1)
    with closing(visitor(portal)) as ada, closing(visitor(portal)) as eve:
        deployed(portal, ada)
        code = shown_once(Page(eve.post(f"/stacks/{deployed(portal, eve)}/offer")))

        refused = ada.post("/take-over", data={"code": code})

    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["ratelimit"].startswith('"stacks-of-owner";r=0')


def test_a_stack_is_offered_by_whom_it_belongs_to(portal: PortalServer, browser: httpx.Client, other: httpx.Client):
    name = deployed(portal, browser)
    make(other, "stack:read")
    assert other.get(f"/stacks/{name}/offer").status_code == 404
    assert other.post(f"/stacks/{name}/offer").status_code == 403
    assert browser.post(f"/stacks/{name}/offer", headers=ELSEWHERE).status_code == 403
    assert browser.post("/take-over", data={"code": "x"}, headers=ELSEWHERE).status_code == 403


# The trail


def test_everything_that_is_written_down_has_words():
    assert set(ACTIONS) == set(Action)
    assert set(MEANS) == set(Means)


def test_the_trail_tells_who_did_what(portal: PortalServer, browser: httpx.Client, operator: httpx.Client):
    name = deployed(portal, browser)
    browser.post(f"/stacks/{name}/offer")
    browser.post(f"/stacks/{name}/delete", headers=ELSEWHERE)
    submit(operator, f"/stacks/{name}/redeploy")

    answer = operator.get("/operator/audit", params={"stack": name})

    page = Page(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert page.all("input", name="stack")[0]["value"] == name
    assert len(page.all("tr")) == 5, "a head and four lines"
    for words in ("Deployed again", "The operator", "Offer to hand over", "A browser", "127.0.0.1", "cross_site"):
        assert words in page.words
    assert not page.all("a", href=f"/stacks/{name}"), "which may be gone"
    assert len(page.all("a", href=f"/operator/audit?stack={name}")) == 4
    assert page.words.count("Begun") == 2, "the one deployment and the other; their pages tell the rest"
    deployments = {str(each["href"]) for each in page.all("a") if "/deployments/" in str(each["href"])}
    assert len(deployments) == 2
    assert_nothing_inline(page)
    assert page.all("a", hreflang="nl")[0]["href"] == f"/operator/audit?stack={name}&lang=nl"
    # From a line to all that the same one did.
    his = next(str(each["href"]) for each in page.all("a") if "actor=browser" in str(each["href"]))
    assert his[-6:] in page.words, "which browser it was"
    only_his = Page(operator.get(his))
    assert len(only_his.all("tr")) == 3, "whose the request from another site was, nobody knows"
    assert "Deployed again" not in only_his.words
    assert Page(operator.get("/operator")).all("a", href="/operator/audit")


def test_a_line_of_no_stack_says_so(portal: PortalServer, operator: httpx.Client, browser: httpx.Client):
    make(browser, "stack:read")
    page = Page(operator.get("/operator/audit"))
    for words in ("Sign-in", "–", "Done"):
        assert words in page.words


def test_the_trail_is_read_on_page_by_page(start_portal):
    portal: PortalServer = start_portal(runs=False)
    for number in range(103):
        # Of the same address only the first would be on it.
        headers = {**ELSEWHERE, "x-forwarded-for": f"203.0.113.{number}"}
        portal.client.delete(f"/api/stack/name-{number}", headers=headers)
    with closing(visitor(portal)) as operator:
        submit(operator, "/sign-in", token=ADMIN_TOKEN)
        first = Page(operator.get("/operator/audit?actor=anonymous"))
        (older,) = [str(each["href"]) for each in first.all("a", rel="next")]
        second = Page(operator.get(older))
        (newer,) = [str(each["href"]) for each in second.all("a", rel="prev")]
        again = Page(operator.get(newer))

    assert [len(page.all("tr")) for page in (first, second)] == [101, 4]
    assert not second.all("a", rel="next")
    assert not first.all("a", rel="prev")
    assert again.all("a", rel="next")
    assert [str(each) for each in again.all("tr")] == [str(each) for each in first.all("tr")], "back to the newest"
    assert "name-102" in first.words
    assert "name-0" in second.words


@pytest.mark.parametrize("name", [HOSTILE, "a\u202eb", "../../account", "a\0b", "?x=1", "//evil.example"])
def test_hostile_names_on_the_trail_are_no_more_than_that(portal: PortalServer, operator: httpx.Client, name: str):
    path = "".join(f"%{byte:02x}" for byte in name.encode() if chr(byte) != "/")
    portal.client.delete(f"/api/stack/{path}", headers=ELSEWHERE)
    for params in ({}, {"stack": name}, {"actor": name}):
        page = Page(operator.get("/operator/audit", params=params))
        assert page.status == 200
        assert not page.all("img")
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", page.html)
        assert not [each for each in page.all("a") if not re.match(r"[/#](?![/\\])", str(each["href"]))]
        assert_nothing_inline(page)


def test_the_trail_is_for_operators(portal: PortalServer, browser: httpx.Client):
    make(browser, "stack:read")
    for path in ("/operator/audit", "/operator/audit.jsonl"):
        assert browser.get(path).headers["location"] == f"/sign-in?next={path}"
        assert portal.client.get(path).status_code == 401


def test_the_whole_trail_is_a_file(portal: PortalServer, browser: httpx.Client):
    secret = shown_once(Page(make(browser, "stack:read", name=HOSTILE)))

    answer = portal.client.get("/operator/audit.jsonl", headers=OPERATOR)

    assert answer.headers["content-disposition"] == "attachment;filename=audit.jsonl"
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1]["subject"] == HOSTILE
    assert secret not in answer.text
    exported = portal.client.get("/api/audit", headers={**OPERATOR, "accept": "application/x-ndjson"})
    assert exported.text == answer.text
