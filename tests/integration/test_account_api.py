"""Tokens, handing stacks over and the audit trail, as programs meet them."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.identity import Scope
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR, assert_problem
from tests.servers import ADMIN_TOKEN, HERE, PortalServer, http_client

ALL = [scope.value for scope in Scope if scope is not Scope.ADMIN]


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture
def portal(servers: Servers) -> PortalServer:
    """The module's portal, which has put no refusal on the trail yet: of one address it does so once a minute."""
    servers.portal._app.state.limits.refusals._told.clear()
    return servers.portal


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@contextmanager
def browser(portal: PortalServer) -> Iterator[httpx.Client]:
    """A browser that has deployed something, so that it has a cookie."""
    with http_client(base_url=portal.url, headers=HERE) as client:
        client.post("/deploy", data={"name": new_name()})
        yield client


def ready(portal: PortalServer, client: httpx.Client) -> str:
    """A stack of this browser's that runs."""
    name = new_name()
    portal.wait(client.post("/deploy", data={"name": name}).headers["location"].rpartition("/")[2])
    return name


def make(client: httpx.Client, scopes: list[str] = ALL, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/tokens", json={"name": "ci", "scopes": scopes, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


# Tokens


def test_a_token_is_shown_once_and_does_what_it_was_made_for(portal: PortalServer):
    with browser(portal) as client:
        name = ready(portal, client)
        made = make(client, ["stack:read", "deploy:read"])
        token = bearer(made["token"])

        listed = client.get("/api/tokens")

        assert made["token"].startswith("asdt_")
        assert made["token"] not in listed.text
        (seen,) = listed.json()["items"]
        assert (seen["id"], seen["scopes"], seen["good"]) == (made["id"], ["deploy:read", "stack:read"], True)
        assert portal.client.get(f"/api/stack/{name}", headers=token).json()["password"] is None
        assert client.get(f"/api/stack/{name}").json()["password"]
        refused = portal.client.delete(f"/api/stack/{name}", headers=token)
        assert_problem(refused, 403, "scope_missing")
        assert "insufficient_scope" in refused.headers["www-authenticate"]
        assert "stack:delete" in refused.json()["detail"]
        assert client.get("/api/tokens").json()["items"][0]["usedAt"] is not None


def test_a_token_deploys_for_its_maker(portal: PortalServer):
    with browser(portal) as client:
        made = make(client, ["deploy:start"])

        accepted = portal.deploy(new_name(), **bearer(made["token"]))

        record = portal.wait(accepted["deploymentId"])
        assert (record["actor"], record["trigger"]) == ({"id": "browser", "email": None, "role": "user"}, "api")
        assert client.get(f"/api/stack/{accepted['stackName']}").status_code == 200


def test_a_token_that_was_revoked_opens_nothing_from_then_on(portal: PortalServer):
    with browser(portal) as client, browser(portal) as other:
        made = make(client)
        token = bearer(made["token"])
        assert portal.client.get("/api/stacks", headers=token).json()["items"]

        assert_problem(other.delete(f"/api/tokens/{made['id']}"), 404, "token_not_found")
        assert client.delete(f"/api/tokens/{made['id']}").status_code == 204

        refused = portal.client.get("/api/stacks", headers=token)
        assert_problem(refused, 401, "token_revoked")
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        # What would change something is refused just so, and is on the trail although nobody was recognised.
        assert_problem(portal.client.post("/api/deploy", json={"name": "x"}, headers=token), 401, "token_revoked")
        newest = trail(portal)[0]
        assert (newest["code"], newest["address"], newest["actor"]["id"]) == ("token_revoked", "127.0.0.1", "anonymous")
        assert client.delete(f"/api/tokens/{made['id']}").status_code == 204
        # Where it would change something, the trail is told, though not by whom.
        assert_problem(
            portal.client.post("/api/deploy", json={"name": new_name()}, headers=token), 401, "token_revoked"
        )
        (entry, *_) = portal.client.get("/api/audit", headers=OPERATOR).json()["items"]
        assert (entry["action"], entry["outcome"], entry["code"]) == ("deploy", "refused", "token_revoked")
        assert (entry["actor"]["id"], entry["address"]) == ("anonymous", "127.0.0.1")


def test_tokens_neither_make_nor_see_tokens(portal: PortalServer):
    with browser(portal) as client:
        token = bearer(make(client)["token"])
    body = {"name": "x", "scopes": ["stack:read"]}
    assert_problem(portal.client.get("/api/tokens", headers=token), 403, "person_only")
    assert_problem(portal.client.post("/api/tokens", json=body, headers=token), 403, "person_only")
    assert_problem(portal.client.post("/api/tokens", json=body, headers=bearer("asd_x")), 403, "person_only")
    assert_problem(portal.client.post("/api/tokens", json=body), 409, "nothing_yours")
    assert portal.client.get("/api/tokens").json() == {"items": [], "nextCursor": None}


def test_admin_is_given_by_operators_only(portal: PortalServer):
    with browser(portal) as client:
        name = ready(portal, client)
        body = {"name": "x", "scopes": ["admin"]}
        assert_problem(client.post("/api/tokens", json=body), 403, "scope_missing")
        assert_problem(client.get("/api/tokens?everybody=true"), 403, "not_operator")
    made = portal.client.post("/api/tokens", json=body, headers=OPERATOR).json()
    token = bearer(made["token"])

    assert portal.client.get("/api/overview", headers=token).status_code == 200
    assert portal.client.get(f"/api/stack/{name}", headers=token).json()["password"]
    everybodys = portal.client.get("/api/tokens?everybody=true", headers=OPERATOR).json()["items"]
    assert made["id"] in {each["id"] for each in everybodys}
    assert portal.client.delete(f"/api/tokens/{made['id']}", headers=OPERATOR).status_code == 204


def test_an_operator_who_is_signed_in_makes_tokens_of_his_own(portal: PortalServer):
    with browser(portal) as client:  # without accounts this browser owns stacks as well
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        made = make(client, ["admin"])

        assert portal.client.get("/api/overview", headers=bearer(made["token"])).status_code == 200
        assert made["id"] in {each["id"] for each in client.get("/api/tokens").json()["items"]}
        client.post("/sign-out")
        assert client.get("/api/tokens").json() == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "x", "scopes": []}, "scopes_invalid"),
        ({"name": "x", "scopes": ["root"]}, "scopes_invalid"),
        ({"name": "x", "scopes": [None, {}, []]}, "scopes_invalid"),
        ({"name": "", "scopes": ["stack:read"]}, "token_name_invalid"),
        ({"name": "x\ny", "scopes": ["stack:read"]}, "token_name_invalid"),
        ({"name": "x", "scopes": ["stack:read"], "expiresInDays": 10**30}, "token_days_invalid"),
        ({"name": "x", "scopes": "stack:read"}, "request_invalid"),
        ({"name": "x"}, "request_invalid"),
    ],
)
def test_what_makes_no_token(portal: PortalServer, body: dict[str, Any], code: str):
    assert_problem(portal.client.post("/api/tokens", json=body, headers=OPERATOR), 422, code)


# Handing over


def test_a_stack_is_handed_over_by_a_code_once(portal: PortalServer):
    with browser(portal) as ada, browser(portal) as bob:
        name = ready(portal, ada)
        code = ada.post(f"/api/stack/{name}/offer").json()["code"]

        taken = bob.post("/api/take-over", json={"code": f" {code}\n"})

        assert taken.json().keys() == {"stackName", "url", "manageKey"}
        assert bob.get(f"/api/stack/{name}").json()["password"]
        assert_problem(ada.get(f"/api/stack/{name}"), 404, "stack_not_found")
        assert_problem(ada.delete(f"/api/stack/{name}"), 403, "credential_wrong")
        assert_problem(ada.post("/api/take-over", json={"code": code}), 422, "offer_invalid")
        key = bearer(taken.json()["manageKey"])
        assert portal.client.get(f"/api/stack/{name}", headers=key).status_code == 200


def test_of_two_codes_only_the_newer_counts_and_a_deleted_stack_has_none(portal: PortalServer):
    with browser(portal) as ada, browser(portal) as bob:
        name = ready(portal, ada)
        older, newer = (ada.post(f"/api/stack/{name}/offer").json()["code"] for _ in range(2))
        assert_problem(bob.post("/api/take-over", json={"code": older}), 422, "offer_invalid")
        assert ada.delete(f"/api/stack/{name}").json()["removed"]

        assert_problem(bob.post("/api/take-over", json={"code": newer}), 422, "offer_invalid")


def test_nobody_takes_over_more_than_he_may_have(start_portal):
    portal: PortalServer = start_portal(max_stacks_per_owner=2)
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])
    code = {"code": accepted["manageKey"]}
    with browser(portal) as ada, browser(portal) as bob:
        ready(portal, ada)

        refused = ada.post("/api/take-over", json=code)

        assert_problem(refused, 429, "stacks_of_owner")
        assert bob.post("/api/take-over", json=code).status_code == 200, "the code was not used up"


def test_a_manage_key_takes_a_stack_into_another_browser_and_is_used_up(portal: PortalServer):
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])
    with browser(portal) as ada:
        taken = ada.post("/api/take-over", json={"code": accepted["manageKey"]}).json()

        assert taken["stackName"] == accepted["stackName"]
        assert ada.get(f"/api/stack/{accepted['stackName']}").status_code == 200
    old = bearer(accepted["manageKey"])
    assert_problem(portal.client.get(f"/api/stack/{accepted['stackName']}", headers=old), 404, "stack_not_found")


def test_of_many_who_come_with_one_code_at_once_one_has_the_stack(portal: PortalServer):
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])
    key = bearer(accepted["manageKey"])
    code = portal.client.post(f"/api/stack/{accepted['stackName']}/offer", headers=key).json()["code"]

    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: portal.client.post("/api/take-over", json={"code": code}).status_code, range(10))
        )

    assert sorted(answers) == [200] + [422] * 9


@pytest.mark.parametrize("code", ["", "asdo_", "asd_x", "%", "' OR 1=1 --", "\0", "x" * 200])
def test_a_code_that_is_none(portal: PortalServer, code: str):
    assert_problem(portal.client.post("/api/take-over", json={"code": code}), 422, "offer_invalid")


# The trail


def trail(portal: PortalServer, **params: Any) -> list[dict[str, Any]]:
    """Every entry of the audit trail, or of a part of it."""
    entries: list[dict[str, Any]] = []
    page: dict[str, Any] = {"limit": 100}
    while True:
        answer = portal.client.get("/api/audit", params={**params, **page}, headers=OPERATOR)
        assert answer.status_code == 200, answer.text
        entries += answer.json()["items"]
        page["cursor"] = answer.json()["nextCursor"]
        if page["cursor"] is None:
            return entries


def test_what_a_stranger_is_refused_again_and_again_is_on_the_trail_once(portal: PortalServer):
    def refused(address: str, code: str = "asdo_no", **headers: str) -> None:
        headers = {"x-forwarded-for": address, "sec-fetch-site": headers.get("site", "same-origin")}
        assert portal.client.post("/api/take-over", json={"code": code}, headers=headers).status_code in {403, 422}

    before = len(trail(portal))
    for _ in range(3):
        refused("2001:db8:7::1")
        refused("2001:db8:7::2")  # the same network
        refused("2001:db8:7::1", site="cross-site")
        refused("2001:db8:8::1")

    new = trail(portal)[: len(trail(portal)) - before]
    assert sorted((each["address"], each["action"], each["code"]) for each in new) == [
        ("2001:db8:7::1", "take_over", "cross_site"),
        ("2001:db8:7::1", "take_over", "offer_invalid"),
        ("2001:db8:8::1", "take_over", "offer_invalid"),
    ]


def test_everything_that_is_done_to_a_stack_is_on_the_trail(portal: PortalServer):
    with browser(portal) as ada, browser(portal) as eve:
        name = ready(portal, ada)
        # From an address of which nothing else is on it.
        there = {"x-forwarded-for": "203.0.113.50"}
        eve.delete(f"/api/stack/{name}", headers=there)
        portal.client.post(f"/api/stack/{name}/offer", headers={**bearer("asd_wrong"), **there})
        ada.post(f"/api/stack/{name}/redeploy", headers={"sec-fetch-site": "cross-site", **there})
        portal.wait(ada.post(f"/api/stack/{name}/redeploy").json()["deploymentId"])
        ada.post(f"/api/stack/{name}/offer")
        deleted = portal.client.delete(f"/api/stack/{name}", headers=OPERATOR).json()

    lines = trail(portal, stack=name)

    assert [(each["action"], each["means"], each["outcome"], each["code"]) for each in reversed(lines)] == [
        ("deploy", "browser", "done", None),
        ("remove", "browser", "refused", "credential_wrong"),
        ("offer", "manage_key", "refused", "credential_wrong"),
        ("redeploy", "nothing", "refused", "cross_site"),
        ("redeploy", "browser", "done", None),
        ("offer", "browser", "done", None),
        ("remove", "admin_token", "done", None),
    ]
    assert [each["address"] for each in lines] == ["127.0.0.1"] * 3 + ["203.0.113.50"] * 3 + ["127.0.0.1"]
    assert lines[0]["deploymentId"] == deleted["deploymentId"]
    assert lines[0]["actor"] == {"id": "operator", "email": None, "role": "operator"}
    assert lines[-1]["actor"]["id"].startswith("browser:")


def test_a_cancellation_is_on_the_trail_once(servers: Servers):
    servers.emulator.fault("stuck")
    portal = servers.portal
    running = portal.deploy(new_name())
    key = bearer(running["manageKey"])
    portal.wait_for(running["deploymentId"], "progressed", what="container_running")
    for _ in range(3):
        assert portal.client.post(f"/api/deployments/{running['deploymentId']}/cancel", headers=key).status_code == 202
    servers.emulator.release()
    portal.wait(running["deploymentId"])

    lines = trail(portal, stack=running["stackName"])

    assert [each["action"] for each in lines] == ["cancel", "deploy"]


def test_the_trail_is_for_operators_and_holds_no_secret(portal: PortalServer):
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])
    with browser(portal) as ada:
        made = make(ada)
        for principal in (ada, portal.client):
            assert_problem(principal.get("/api/audit"), 401, "operator_only")
        assert_problem(portal.client.get("/api/audit", headers=bearer(made["token"])), 403, "scope_missing")
        cookie = ada.cookies["asd_browser"]

    exported = portal.client.get("/api/audit", headers={**OPERATOR, "accept": "application/x-ndjson"})

    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert len(lines) >= 3
    assert [each["at"] for each in lines] == sorted(each["at"] for each in lines)
    for secret in (made["token"], accepted["manageKey"], cookie):
        assert secret not in exported.text


@pytest.mark.parametrize("asked", ["stack", "actor"])
def test_what_nothing_on_the_trail_can_be_called(start_portal, any_database_url: str, asked: str):
    portal: PortalServer = start_portal(database_url=any_database_url, runs=False)
    portal.client.delete("/api/stack/ada", headers={"sec-fetch-site": "cross-site"})
    for text in ("a\0b", "\u202e", "' OR 1=1 --", "%"):
        assert trail(portal, **{asked: text}) == []
    assert len(trail(portal, stack="ada")) == 1


def test_the_trail_is_read_on_page_by_page(portal: PortalServer):
    for number in range(5):
        # Of the same address only the first is on the trail.
        headers = {"sec-fetch-site": "cross-site", "x-forwarded-for": f"203.0.113.{number}"}
        portal.client.delete(f"/api/stack/{new_name()}", headers=headers)
    newest = portal.client.get("/api/audit?limit=2", headers=OPERATOR).json()

    older = portal.client.get("/api/audit", params={"cursor": newest["nextCursor"]}, headers=OPERATOR).json()

    assert len(newest["items"]) == 2
    assert older["items"][0]["at"] <= newest["items"][-1]["at"]
    assert not {each["id"] for each in newest["items"]} & {each["id"] for each in older["items"]}
    assert_problem(portal.client.get("/api/audit?limit=0", headers=OPERATOR), 422, "request_invalid")
    assert_problem(portal.client.get("/api/audit?cursor=nobody", headers=OPERATOR), 400, "cursor_invalid")


def test_the_trail_is_narrowed_by_a_name_that_a_proxy_gives_in_place_of_an_address(start_portal):
    portal: PortalServer = start_portal(auth_mode="proxy", proxy_auth_addresses="127.0.0.1", runs=False)
    for who in ("alice", "ada@example.com"):
        headers = {**HERE, "remote-user": who, "remote-email": who}
        assert portal.client.post("/api/deploy", json={"name": new_name()}, headers=headers).status_code == 202

    for who in ("alice", "ada@example.com"):
        (entry,) = trail(portal, actor=who)
        assert entry["actor"]["email"] == who
        assert [each["id"] for each in trail(portal, actor=entry["actor"]["id"])] == [entry["id"]]


@pytest.mark.parametrize("path", ["/api/stacks", "/api/kept-files", "/api/tokens"])
def test_a_wrong_cursor_is_refused_where_a_caller_has_nothing_as_well(portal: PortalServer, path: str):
    assert portal.client.get(path).json()["items"] == []
    assert_problem(portal.client.get(f"{path}?cursor=nobody"), 400, "cursor_invalid")


# Found by whoever looked for a way around


def test_a_token_is_given_no_key_that_opens_more_than_it_may(portal: PortalServer):
    with browser(portal) as client:
        narrow = bearer(make(client, ["deploy:start", "stack:manage"])["token"])
        whole = bearer(make(client)["token"])

    assert portal.client.post("/api/deploy", json={"name": new_name()}, headers=narrow).json()["manageKey"] is None
    assert portal.client.post("/api/deploy", json={"name": new_name()}, headers=whole).json()["manageKey"]
    loose = portal.deploy(new_name())
    taken = portal.client.post("/api/take-over", json={"code": loose["manageKey"]}, headers=narrow)
    assert (taken.status_code, taken.json()["manageKey"]) == (200, None)


def test_tokens_that_were_made_with_the_operators_token_end_with_it(start_portal):
    before: PortalServer = start_portal()
    body = {"name": "ci", "scopes": ["admin"]}
    token = bearer(before.client.post("/api/tokens", json=body, headers=OPERATOR).json()["token"])
    with http_client(base_url=before.url, headers=HERE) as client:
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        other = bearer(client.post("/api/tokens", json=body).json()["token"])
    for each in (token, other):
        assert before.client.get("/api/overview", headers=each).status_code == 200
    before.stop()

    for admin_token in ("another-token-of-the-operator", None):
        after: PortalServer = start_portal(admin_token=admin_token)
        for each in (token, other):
            assert_problem(after.client.get("/api/overview", headers=each), 401, "token_revoked")
        after.stop()


@pytest.mark.parametrize(("days", "listed"), [(30, False), (90, True), (0, True)])
def test_a_token_that_is_over_stays_on_the_list_as_long_as_it_is_kept(
    start_portal: Callable[..., PortalServer], tmp_path: Path, days: int, listed: bool
):
    portal = start_portal(keep_tokens_days=days)
    portal.client.post("/sign-in", data={"token": ADMIN_TOKEN})
    for name in ("revoked", "expired", "good"):
        assert portal.client.post("/api/tokens", json={"name": name, "scopes": ["stack:read"]}).status_code == 201
    past = (datetime.now(UTC) - timedelta(days=60)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(tmp_path / "portal.db")) as store, store:
        store.execute("UPDATE token SET revoked_at = ? WHERE name = 'revoked'", [past])
        store.execute("UPDATE token SET expires_at = ? WHERE name = 'expired'", [past])

    found = {each["name"] for each in portal.client.get("/api/tokens").json()["items"]}

    assert found == ({"revoked", "expired", "good"} if listed else {"good"})


def test_a_browser_with_nothing_has_no_tokens_to_fill_the_store_with(portal: PortalServer):
    body = {"name": "x", "scopes": ["stack:read"]}
    assert_problem(portal.client.post("/api/tokens", json=body), 409, "nothing_yours")
    assert portal.client.post("/account/tokens", data={"name": "x", "stack:read": "on"}).status_code == 409


def test_the_operator_is_himself_on_the_trail_whatever_browser_he_sits_at(portal: PortalServer):
    name = new_name()
    with http_client(base_url=portal.url, headers=HERE) as client:
        client.post("/sign-in", data={"token": ADMIN_TOKEN})
        client.post("/deploy", data={"name": name})

    (line,) = trail(portal, stack=name)

    assert (line["actor"]["id"], line["actor"]["role"], line["means"]) == ("operator", "operator", "session")


def test_wrong_codes_are_guesses(start_portal):
    guarded: PortalServer = start_portal(wrong_credential_rate="10/minute")

    answers = [guarded.client.post("/api/take-over", json={"code": f"asdo_{n}"}).status_code for n in range(12)]

    assert answers == [422] * 10 + [429] * 2


def test_words_of_a_newer_portal_are_shown_as_they_are(start_portal):
    portal: PortalServer = start_portal()
    portal.deploy("ada")
    with sqlite3.connect(portal.database) as database:
        database.execute(
            "INSERT INTO audit (id, at, actor, role, means, action, outcome) "
            "VALUES ('01JD0000000000000000000000', '2026-01-01 00:00:00', 'x', 'agent', 'passkey', 'sleep', 'undone')"
        )
    database.close()

    line = trail(portal)[-1]

    assert (line["actor"]["role"], line["means"], line["action"], line["outcome"]) == (
        *("agent", "passkey", "sleep", "undone"),
    )
    page = portal.client.get("/operator/audit", headers={**OPERATOR, "accept": "text/html"})
    assert (page.status_code, "passkey" in page.text) == (200, True)
    exported = portal.client.get("/api/audit", headers={**OPERATOR, "accept": "application/x-ndjson"})
    assert len(exported.text.splitlines()) == 2
