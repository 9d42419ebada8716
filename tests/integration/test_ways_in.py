"""The ways into a portal that is not open: at a real OpenID provider, and by the word of a proxy."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR, assert_problem
from tests.integration.test_pages import HTML, Page
from tests.ports import reserve_port
from tests.providers import CLIENT_ID, press, serve_provider
from tests.servers import PortalServer, http_client

USERS = {
    "ada": {"email": "ada@example.com", "email_verified": True, "name": "Ada", "groups": ["developers"]},
    "bob": {"email": "bob@example.com", "email_verified": True, "groups": ["developers"]},
    "olga": {"email": "olga@example.com", "email_verified": True, "groups": ["operators"]},
    "eve": {"email": "eve@evil.example", "email_verified": True, "groups": []},
    "mallory": {"email": "mallory@example.com", "email_verified": False},
}

Start = Callable[..., PortalServer]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with serve_provider(USERS) as address:
        yield address


@pytest.fixture
def start_closed(start_portal: Start, issuer: str) -> Start:
    def start(**values: Any) -> PortalServer:
        port = values.pop("listen_on", None) or reserve_port()
        return start_portal(
            listen_on=port,
            auth_mode="oidc",
            portal_url=f"http://127.0.0.1:{port}",
            oidc_issuer=issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret="a-secret-of-the-client",
            **{"allowed_domains": "example.com", "operator_groups": "operators", **values},
        )

    return start


@pytest.fixture
def portal(start_closed: Start) -> PortalServer:
    return start_closed()


@contextmanager
def visitor(portal: PortalServer) -> Iterator[httpx.Client]:
    headers = {**HTML, "sec-fetch-site": "same-origin", "user-agent": "Firefox/1\0"[:9]}
    with http_client(base_url=portal.url, headers=headers) as client:
        yield client


def sign_in(browser: httpx.Client, who: str, go_on: str = "/") -> httpx.Response:
    """As a person does: off to the provider, be somebody there, and back."""
    sent = browser.get("/sign-in/provider", params={"next": go_on})
    assert sent.status_code == 303, sent.text
    back = press(sent.headers["location"], sub=who)
    return browser.get(back, headers={"sec-fetch-site": "cross-site"})


@contextmanager
def signed_in(portal: PortalServer, who: str) -> Iterator[httpx.Client]:
    with visitor(portal) as browser:
        assert sign_in(browser, who).status_code == 303
        yield browser


def deploy(portal: PortalServer, browser: httpx.Client) -> tuple[str, str]:
    """A stack of somebody's that runs: its name, and the deployment that made it."""
    name = new_name()
    location = browser.post("/deploy", data={"name": name}).headers["location"]
    deployment_id = location.rpartition("/")[2]
    while browser.get(f"/api/deployments/{deployment_id}").json()["conclusion"] is None:
        pass
    return name, deployment_id


# At a provider


def test_whoever_comes_is_asked_to_sign_in_and_goes_on_to_where_he_was_going(portal: PortalServer):
    with visitor(portal) as browser:
        asked = browser.get("/stacks?after=x")
        assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/stacks%3Fafter%3Dx")
        assert browser.get("/").headers["location"] == "/sign-in?next=/"

        back = sign_in(browser, "ada", "/stacks?lang=nl")

        assert (back.status_code, back.headers["location"]) == (303, "/stacks?lang=nl")
        assert back.headers["cache-control"] == "no-store"
        assert Page(browser.get("/stacks?lang=nl")).status == 200
        assert browser.get("/operator").status_code == 403, "who is signed in is not asked to sign in again"
        assert browser.get("/sign-in").headers["location"] == "/"


def test_programs_are_told_what_to_send(portal: PortalServer):
    for method, path in (
        ("GET", "/api/stacks"),
        ("GET", "/api/check/ada"),
        ("POST", "/api/plan"),
        ("POST", "/api/deploy"),
        ("GET", "/api/deployments/01JD0000000000000000000000"),
        ("GET", "/api/stack/ada"),
        ("DELETE", "/api/stack/ada"),
        ("GET", "/api/tokens"),
        ("POST", "/api/take-over"),
    ):
        refused = portal.client.request(method, path)
        assert_problem(refused, 401, "sign_in_needed")
        assert refused.headers["www-authenticate"].startswith("Bearer ")
    assert portal.client.get("/health").status_code == 200


def test_everybody_has_his_own_stacks_and_an_operator_all(portal: PortalServer):
    with signed_in(portal, "ada") as ada, signed_in(portal, "bob") as bob, signed_in(portal, "olga") as olga:
        name, deployment_id = deploy(portal, ada)

        record = ada.get(f"/api/deployments/{deployment_id}").json()
        assert record["actor"]["id"].startswith("account:")
        assert (record["actor"]["email"], record["actor"]["role"]) == ("ada@example.com", "user")
        assert "ada@example.com" in Page(ada.get(f"/deployments/{deployment_id}/record")).words
        for path in (f"/api/stack/{name}", f"/stacks/{name}", f"/stacks/{name}/delete"):
            assert ada.get(path).status_code == olga.get(path).status_code == 200
            assert bob.get(path).status_code == 404
        for path in (
            f"/api/deployments/{deployment_id}",
            f"/deployments/{deployment_id}",
            f"/deployments/{deployment_id}/record",
            f"/api/deployments/{deployment_id}/events?follow=false",
        ):
            assert bob.get(path).status_code == 404
            assert olga.get(path).status_code in {200, 204}
        assert_problem(bob.delete(f"/api/stack/{name}"), 403, "credential_wrong")
        assert bob.get("/api/stacks").json()["items"] == []
        assert [each["name"] for each in olga.get("/api/stacks").json()["items"]] == [name]
        assert olga.get("/operator").status_code == 200
        assert olga.delete(f"/api/stack/{name}").json()["removed"]
        lines = olga.get("/api/audit", params={"stack": name}).json()["items"]
        assert [(each["action"], each["actor"]["email"], each["means"]) for each in lines] == [
            ("remove", "olga@example.com", "session"),
            ("remove", "bob@example.com", "session"),
            ("deploy", "ada@example.com", "session"),
        ]


def test_who_signs_in_from_another_browser_finds_his_stacks(portal: PortalServer):
    with signed_in(portal, "ada") as one, signed_in(portal, "ada") as other:
        name, _ = deploy(portal, one)
        assert other.get(f"/api/stack/{name}").json()["password"]


@pytest.mark.parametrize(("who", "why"), [("eve", "another domain"), ("mallory", "not verified")])
def test_who_is_on_no_list_is_not_let_in_and_not_kept(portal: PortalServer, who: str, why: str):
    with visitor(portal) as browser:
        page = Page(sign_in(browser, who))

        assert page.status == 403, why
        assert "asd_session" not in browser.cookies
        assert browser.get("/api/stacks").status_code == 401
    (entry, *_) = portal.client.get("/api/audit", headers=OPERATOR).json()["items"]
    assert (entry["action"], entry["outcome"], entry["code"]) == ("sign_in", "refused", "not_admitted")


@pytest.mark.parametrize("change", [{"state": "another"}, {"code": "another"}, {"state": ""}, {"code": ""}])
def test_an_answer_that_was_changed_signs_nobody_in(portal: PortalServer, change: dict[str, str]):
    with visitor(portal) as browser:
        sent = browser.get("/sign-in/provider")
        back = urlsplit(press(sent.headers["location"], sub="ada"))

        refused = browser.get(back.path, params={**dict(parse_qsl(back.query)), **change})

        assert refused.status_code == 400
        assert "asd_session" not in browser.cookies
        # The cookie counts once: what was right comes too late.
        assert browser.get(f"{back.path}?{back.query}").status_code == 400


def test_an_answer_that_was_meant_for_another_browser_signs_nobody_in(portal: PortalServer):
    """Else somebody could be made to work in another's account without noticing."""
    with visitor(portal) as eve, visitor(portal) as ada:
        back = press(eve.get("/sign-in/provider").headers["location"], sub="bob")
        ada.get("/sign-in/provider")

        assert ada.get(back).status_code == 400
        assert "asd_session" not in ada.cookies


def test_signing_out_ends_the_session_also_for_a_copy_of_its_cookie(portal: PortalServer):
    with signed_in(portal, "ada") as browser:
        copied = {"cookie": f"asd_session={browser.cookies['asd_session']}"}
        assert portal.client.get("/api/stacks", headers=copied).status_code == 200

        out = browser.post("/sign-out")

        assert (out.status_code, out.headers["location"]) == (303, "/signed-out")
        page = Page(browser.get("/signed-out"))
        assert "You have signed out here." in page.words
        (link,) = [str(each["href"]) for each in page.all("a") if "end_session" in str(each.get("href"))]
        assert link.startswith(portal.settings.oidc_issuer or "")
        assert dict(parse_qsl(urlsplit(link).query))["post_logout_redirect_uri"] == f"{portal.url}/"
        assert_problem(portal.client.get("/api/stacks", headers=copied), 401, "sign_in_needed")
        assert browser.get("/stacks").headers["location"] == "/sign-in?next=/stacks"


def test_a_token_of_somebody_who_is_no_longer_let_in_opens_nothing(start_closed: Start, database_url: str):
    before = start_closed(listen_on=(port := reserve_port()), database_url=database_url)
    with signed_in(before, "ada") as ada:
        made = ada.post("/api/tokens", json={"name": "ci", "scopes": ["stack:read"]}).json()
        cookie = {"cookie": f"asd_session={ada.cookies['asd_session']}"}
    token = {"authorization": f"Bearer {made['token']}"}
    assert before.client.get("/api/stacks", headers=token).status_code == 200
    before.stop()

    after = start_closed(listen_on=port, database_url=database_url, allowed_domains="other.example")

    assert_problem(after.client.get("/api/stacks", headers=token), 401, "token_revoked")
    assert_problem(after.client.get("/api/stacks", headers=cookie), 401, "sign_in_needed")


def test_the_operators_token_still_opens_a_portal_whose_provider_is_away(start_portal: Start):
    portal = start_portal(
        auth_mode="oidc",
        portal_url="http://127.0.0.1:1",
        oidc_issuer=f"http://127.0.0.1:{reserve_port()}",
        oidc_client_id=CLIENT_ID,
        allowed_domains="*",
    )
    with visitor(portal) as browser:
        away = browser.get("/sign-in/provider")
        assert away.status_code == 503
        assert int(away.headers["retry-after"]) > 0
        assert browser.post("/sign-in", data={"token": OPERATOR["authorization"].split()[1]}).status_code == 303
        assert browser.get("/operator").status_code == 200


# By a proxy's word


def proxied(start_portal: Start, **values: Any) -> PortalServer:
    given = {"proxy_auth_addresses": "127.0.0.1", "operator_groups": "operators", **values}
    return start_portal(auth_mode="proxy", **given)


ADA = {"remote-user": "ada", "remote-email": "ada@example.com", "remote-groups": "developers, staff"}


def test_a_proxys_headers_are_somebody(start_portal: Start):
    portal = proxied(start_portal)
    name = new_name()
    accepted = portal.client.post("/api/deploy", json={"name": name}, headers=ADA).json()

    assert portal.client.get(f"/api/stack/{name}", headers=ADA).json()["name"] == name
    assert_problem(portal.client.get(f"/api/stack/{name}", headers={"remote-user": "bob"}), 404, "stack_not_found")
    assert_problem(portal.client.get(f"/api/stack/{name}"), 401, "sign_in_needed")
    operator = {"remote-user": "olga", "remote-groups": "operators"}
    assert portal.client.get("/api/overview", headers=operator).status_code == 200
    assert_problem(portal.client.get("/api/overview", headers=ADA), 403, "not_operator")
    record = portal.client.get(accepted["statusUrl"], headers=ADA).json()
    assert record["actor"]["email"] == "ada@example.com"


def test_a_strangers_identity_headers_say_nothing(start_portal: Start):
    portal = proxied(start_portal, proxy_auth_addresses="192.0.2.1", forwarded_allow_ips="127.0.0.1")

    for headers in (ADA, {**ADA, "x-forwarded-for": "192.0.2.1"}, {**ADA, "forwarded": "for=192.0.2.1"}):
        assert_problem(portal.client.get("/api/stacks", headers=headers), 401, "sign_in_needed")
    open_portal = start_portal(database_url=portal.settings.database_url.replace("portal.db", "other.db"))
    assert open_portal.client.get("/api/overview", headers={**ADA, "remote-groups": "operators"}).status_code == 401


def test_what_a_proxy_cannot_have_said_is_refused_and_put_on_the_trail(start_portal: Start):
    portal = proxied(start_portal)

    refused = portal.client.post("/api/deploy", json={"name": new_name()}, headers={"remote-user": "a\tb"})

    assert_problem(refused, 400, "sign_in_failed")
    (entry,) = portal.client.get("/api/audit", headers=OPERATOR).json()["items"]
    assert (entry["action"], entry["code"], entry["actor"]["id"]) == ("deploy", "sign_in_failed", "anonymous")


def test_behind_a_proxy_another_site_cannot_act_for_somebody(start_portal: Start):
    """The proxy adds who he is to whatever his browser sends."""
    portal = proxied(start_portal)
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        refused = portal.client.post("/api/deploy", json={"name": new_name()}, headers={**ADA, **headers})
        assert_problem(refused, 403, "cross_site")


def test_a_token_counts_alone_behind_a_proxy(start_portal: Start):
    portal = proxied(start_portal)
    made = portal.client.post("/api/tokens", json={"name": "ci", "scopes": ["deploy:start"]}, headers=ADA).json()
    token = {"authorization": f"Bearer {made['token']}"}
    operator = {"remote-user": "olga", "remote-groups": "operators"}

    assert_problem(portal.client.get("/api/overview", headers={**operator, **token}), 403, "scope_missing")
    assert portal.client.post("/api/deploy", json={"name": new_name()}, headers=token).status_code == 202


# Found by whoever looked for a way around


def test_nobody_with_an_account_has_keys_that_outlive_it(portal: PortalServer):
    with signed_in(portal, "ada") as ada, signed_in(portal, "bob") as bob:
        made = ada.post("/api/deploy", json={"name": new_name()}).json()
        assert made["manageKey"] is None
        while ada.get(made["statusUrl"]).json()["conclusion"] is None:
            pass
        code = ada.post(f"/api/stack/{made['stackName']}/offer").json()["code"]
        assert bob.post("/api/take-over", json={"code": code}).json()["manageKey"] is None


def test_a_stack_from_before_there_were_accounts_is_brought_into_one_by_its_key(
    start_portal: Start, start_closed: Start, database_url: str
):
    before = start_portal(database_url=database_url)
    made = before.deploy(new_name())
    before.wait(made["deploymentId"])
    before.stop()
    after = start_closed(database_url=database_url)
    key = {"authorization": f"Bearer {made['manageKey']}"}
    assert after.client.get(f"/api/stack/{made['stackName']}", headers=key).status_code == 200

    with signed_in(after, "ada") as ada:
        assert ada.post("/api/take-over", json={"code": made["manageKey"]}).status_code == 200
        assert ada.get(f"/api/stack/{made['stackName']}").json()["password"]
    assert_problem(after.client.get(f"/api/stack/{made['stackName']}", headers=key), 401, "credential_unknown")


def test_a_key_tells_nobody_which_stacks_there_are(portal: PortalServer):
    with signed_in(portal, "ada") as ada:
        name, deployment_id = deploy(portal, ada)
    wrong = {"authorization": "Bearer asd_wrong"}
    for path in (name, "nobodys"):
        assert_problem(portal.client.delete(f"/api/stack/{path}", headers=wrong), 401, "credential_unknown")
    for path in (deployment_id, "01JD0000000000000000000000"):
        cancel = f"/api/deployments/{path}/cancel"
        assert_problem(portal.client.post(cancel, headers=wrong), 401, "credential_unknown")
        with signed_in(portal, "bob") as bob:
            assert_problem(bob.post(cancel), 404, "deployment_not_found")


def test_what_cannot_be_recognised_is_refused_like_anything_else_and_noted(start_portal: Start):
    """Expired, revoked, doubled: each on a route that would change something."""
    portal = proxied(start_portal, allowed_groups="developers")
    made = portal.client.post("/api/tokens", json={"name": "ci", "scopes": ["deploy:start"]}, headers=ADA).json()
    assert portal.client.delete(f"/api/tokens/{made['id']}", headers=ADA).status_code == 204
    revoked = {"authorization": f"Bearer {made['token']}"}
    stranger = {"remote-user": "eve"}
    doubled = [("remote-user", "ada"), ("remote-user", "eve"), ("origin", portal.url)]

    for headers, status, code in (
        (revoked, 401, "token_revoked"),
        (stranger, 403, "not_admitted"),
        (doubled, 400, "sign_in_failed"),
    ):
        for method, path in (("POST", "/api/deploy"), ("DELETE", "/api/stack/ada"), ("POST", "/stacks/ada/delete")):
            assert_problem(portal.client.request(method, path, headers=headers), status, code)
            assert portal.client.request(method, path, headers=headers).headers["cache-control"] == "no-store"
    noted = portal.client.get("/api/audit", headers=OPERATOR).json()["items"]
    assert {each["code"] for each in noted} >= {"token_revoked", "not_admitted", "sign_in_failed"}
    assert {each["address"] for each in noted} == {"127.0.0.1"}


def test_another_site_is_refused_before_anybody_is_recognised(start_portal: Start):
    portal = proxied(start_portal, allowed_groups="developers")
    elsewhere = {"remote-user": "eve", "sec-fetch-site": "cross-site"}

    refused = portal.client.post("/sign-in", data={"token": OPERATOR["authorization"].split()[1]}, headers=elsewhere)

    assert_problem(refused, 403, "cross_site")
    assert "set-cookie" not in refused.headers


def test_a_token_ends_with_its_maker_who_was_not_seen_for_long(start_closed: Start):
    portal = start_closed(token_owner_days=30)
    with signed_in(portal, "ada") as ada:
        made = ada.post("/api/tokens", json={"name": "ci", "scopes": ["stack:read"], "expiresInDays": 366}).json()
    token = {"authorization": f"Bearer {made['token']}"}
    assert portal.client.get("/api/stacks", headers=token).status_code == 200

    with sqlite3.connect(portal.database) as database:
        database.execute("UPDATE account SET seen_at = datetime('now', '-31 days')")
    database.close()

    assert_problem(portal.client.get("/api/stacks", headers=token), 401, "token_revoked")
    with signed_in(portal, "ada"):
        assert portal.client.get("/api/stacks", headers=token).status_code == 200, "seen again"
