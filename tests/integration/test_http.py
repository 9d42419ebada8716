"""The HTTP face for programs: shapes, statuses and headers, and one specification for everything that is refused."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

from app.i18n import LANGUAGES
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.servers import ADMIN_TOKEN, SUFFIX, Emulator, PortalServer, http_client

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
WRONG = {"authorization": "Bearer asd_this-is-not-the-key-of-anything"}
JSON = {"content-type": "application/json"}
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def key_of(accepted: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {accepted['manageKey']}"}


@pytest.fixture(scope="module")
def held(shared_servers: Servers) -> dict[str, Any]:
    """A stack that is there throughout; what was answered when it was deployed."""
    accepted = shared_servers.portal.deploy("held")
    assert shared_servers.portal.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    return accepted


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture(autouse=True)
def known_to_nobody(shared_servers: Servers) -> None:
    """What an earlier test's page has set as a cookie is not sent again."""
    shared_servers.portal.client.cookies.clear()


@pytest.fixture
def portal(shared_servers: Servers) -> PortalServer:
    """The module's portal; the emulator behind it keeps what it has."""
    return shared_servers.portal


# Whatever is refused is a problem document

PROBLEM = {"type", "title", "status", "detail", "code", "hint", "whoCanMend", "errors"}
MORE = {"suggestions", "leftovers", "statusUrl"}


def assert_problem(answer: httpx.Response, status: int, code: str, lang: str = "en") -> dict[str, Any]:
    """The one specification of a problem document (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-language"] == lang
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    document: dict[str, Any] = answer.json()
    assert document.keys() >= PROBLEM
    assert document.keys() <= PROBLEM | MORE
    assert (document["status"], document["code"], document["type"]) == (status, code, f"/docs#{code}")
    assert document["whoCanMend"] in {"user", "operator", "provider"}
    for words in (document["title"], document["detail"], document["hint"]):
        assert words
        assert not re.search(r"[{}]|%\(", words), "a placeholder was not filled"
    for error in document["errors"]:
        assert error.keys() == {"field", "code", "message"}
        assert all(isinstance(value, str) and value for value in error.values())
    return document


Refusal = tuple[str, str, dict[str, Any], int, str]


def deploying(body: Any, **headers: str) -> tuple[str, str, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "POST", "/api/deploy", {"content": content, "headers": {**JSON, **headers}}


REFUSALS: dict[str, Refusal] = {
    "nothing there": ("GET", "/nothing", {}, 404, "not_found"),
    "nothing in the API": ("GET", "/api/nothing", {}, 404, "not_found"),
    "a path within a name": ("GET", "/api/stack/a/b", {}, 404, "not_found"),
    "a slash at the end": ("POST", "/api/deploy/", {}, 404, "not_found"),
    "not that method": ("DELETE", "/api/deploy", {}, 405, "method_not_allowed"),
    "no body": (*deploying(b""), 400, "body_not_json"),
    "not JSON": (*deploying(b"{"), 400, "body_not_json"),
    "not UTF-8": (*deploying(b'{"name": "\xff\xfe"}'), 400, "body_not_json"),
    "half a character": (*deploying(b'{"name": "\\ud800"}'), 400, "body_not_json"),
    "deep nesting": (*deploying(b'{"name":' + b"[" * 30_000 + b"]" * 30_000 + b"}"), 400, "body_not_json"),
    "plain text": ("POST", "/api/deploy", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, ""),
    "no content type": ("POST", "/api/deploy", {"content": b"{}"}, 415, "media_type_unsupported"),
    "a form": ("POST", "/api/deploy", {"data": {"name": "ada"}}, 415, "media_type_unsupported"),
    "two megabytes": (*deploying(b'{"name": "' + b"a" * 2_000_000 + b'"}'), 413, "body_too_large"),
    "a list": (*deploying([]), 422, "request_invalid"),
    "a number": (*deploying(7), 422, "request_invalid"),
    "an unknown field": (*deploying({"name": "ada", "colour": "red"}), 422, "request_invalid"),
    "a template of the wrong type": (*deploying({"name": "ada", "template": 7}), 422, "request_invalid"),
    "a template without end": (*deploying({"name": "ada", "template": "a" * 61}), 422, "request_invalid"),
    "inputs of the wrong type": (*deploying({"name": "ada", "inputs": []}), 422, "request_invalid"),
    "an input of the wrong type": (*deploying({"name": "ada", "inputs": {"a": 7}}), 422, "request_invalid"),
    "an unknown template": (*deploying({"name": "ada", "template": "nope"}), 422, "template_unknown"),
    "NUL in a template": (*deploying({"name": "ada", "template": "a\0b"}), 422, "template_unknown"),
    "an unknown input": (*deploying({"name": "ada", "inputs": {"a": "b"}}), 422, "input_unknown"),
    "NUL in a name": (*deploying({"name": "a\0b"}), 422, "name_characters"),
    "a name that is held": (*deploying({"name": "held"}), 409, "name_taken"),
    "a short key": (*deploying({"name": "ada"}, **{"idempotency-key": "short"}), 400, "idempotency_key_invalid"),
    "a long key": (*deploying({"name": "ada"}, **{"idempotency-key": "k" * 256}), 400, "idempotency_key_invalid"),
    "a key with a blank": (*deploying({"name": "ada"}, **{"idempotency-key": "a b" * 8}), 400, "idempotency_key_invalid"),
    "another site": (*deploying({"name": "ada"}, **{"sec-fetch-site": "cross-site"}), 403, "cross_site"),
    "a plan that is not JSON": ("POST", "/api/plan", {"content": b"{", "headers": JSON}, 400, "body_not_json"),
    "a plan without a type": ("POST", "/api/plan", {"content": b"{}"}, 415, "media_type_unsupported"),
    "an unknown deployment": ("GET", f"/api/deployments/{NOBODY}", {}, 404, "deployment_not_found"),
    "an impossible deployment": ("GET", f"/api/deployments/{'a' * 3000}", {}, 404, "deployment_not_found"),
    "NUL in a deployment": ("GET", "/api/deployments/a%00b", {}, 404, "deployment_not_found"),
    "events of nothing": ("GET", f"/api/deployments/{NOBODY}/events", {}, 404, "deployment_not_found"),
    "cancelling nothing": ("POST", f"/api/deployments/{NOBODY}/cancel", {}, 404, "deployment_not_found"),
    "cancelling without a key": ("POST", "/api/deployments/{held}/cancel", {}, 401, "credential_missing"),
    "cancelling with another key": ("POST", "/api/deployments/{held}/cancel", {"headers": WRONG}, 403, "credential_wrong"),
    "cancelling what is over": ("POST", "/api/deployments/{held}/cancel", {"headers": OPERATOR}, 409, "deployment_over"),
    "an unknown stack": ("GET", "/api/stack/nobody", {"headers": OPERATOR}, 404, "stack_not_found"),
    "an impossible stack": ("GET", f"/api/stack/{'a' * 3000}", {"headers": OPERATOR}, 404, "stack_not_found"),
    "NUL in a stack": ("GET", "/api/stack/a%00b", {"headers": OPERATOR}, 404, "stack_not_found"),
    "a stack without a key": ("GET", "/api/stack/held", {}, 404, "stack_not_found"),
    "a stack with another key": ("GET", "/api/stack/held", {"headers": WRONG}, 404, "stack_not_found"),
    "deleting nothing": ("DELETE", "/api/stack/nobody", {"headers": OPERATOR}, 404, "stack_not_found"),
    "deleting NUL": ("DELETE", "/api/stack/a%00b", {"headers": OPERATOR}, 404, "stack_not_found"),
    "deleting without a key": ("DELETE", "/api/stack/held", {}, 401, "credential_missing"),
    "deleting with another key": ("DELETE", "/api/stack/held", {"headers": WRONG}, 403, "credential_wrong"),
    "deleting from another site": (
        "DELETE",
        "/api/stack/held",
        {"headers": {"origin": "https://evil.example"}},
        403,
        "cross_site",
    ),
    "redeploying nothing": ("POST", "/api/stack/nobody/redeploy", {"headers": OPERATOR}, 404, "stack_not_found"),
    "redeploying NUL": ("POST", "/api/stack/a%00b/redeploy", {"headers": OPERATOR}, 404, "stack_not_found"),
    "redeploying without a key": ("POST", "/api/stack/held/redeploy", {}, 401, "credential_missing"),
    "redeploying with another key": ("POST", "/api/stack/held/redeploy", {"headers": WRONG}, 403, "credential_wrong"),
    "waiting for ever": (
        "DELETE",
        "/api/stack/held",
        {"headers": {**OPERATOR, "prefer": "wait=301"}},
        400,
        "prefer_invalid",
    ),
    "waiting for a word": (
        "DELETE",
        "/api/stack/held",
        {"headers": {**OPERATOR, "prefer": "wait=long"}},
        400,
        "prefer_invalid",
    ),
    "another choice of volume": ("DELETE", "/api/stack/held?volume=burn", {"headers": OPERATOR}, 422, "request_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("lang", list(LANGUAGES))
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_a_problem_document(portal: PortalServer, held: dict[str, Any], refusal: str, lang: str):
    method, path, request, status, code = REFUSALS[refusal]
    path = path.replace("{held}", held["deploymentId"])

    def ask(language: str) -> httpx.Response:
        headers = {**request.get("headers", {}), "accept-language": language}
        return portal.client.request(method, path, **{**request, "headers": headers})

    document = assert_problem(ask(lang), status, code or "media_type_unsupported", lang)

    if lang != "en":
        english = ask("en").json()
        assert document["title"] != english["title"]
        assert document["hint"] != english["hint"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body"}),
        ({"name": "ada", "colour": "red", "template": 7}, {"colour", "template"}),
        ({"name": "ada", "inputs": {"a": 7}}, {"inputs.a"}),
        ({"name": "a b"}, {"name"}),
        ({"name": "ada", "template": "nope"}, {"template"}),
        ({"name": "held"}, {"name"}),
    ],
)
def test_a_problem_names_the_fields(portal: PortalServer, held: dict[str, Any], body: Any, fields: set[str]):
    answer = portal.client.post("/api/deploy", json=body)

    assert {error["field"] for error in answer.json()["errors"]} == fields


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/deploy", {"POST"}),
        ("DELETE", "/health", {"GET"}),
        ("PUT", "/api/stack/held", {"GET", "DELETE"}),
        ("GET", "/api/stack/held/redeploy", {"POST"}),
        ("PUT", "/stacks/held/delete", {"GET", "POST"}),
        ("POST", "/api/deployments/x/events", {"GET"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(portal: PortalServer, method: str, path: str, allowed: set[str]):
    answer = portal.client.request(method, path)

    assert_problem(answer, 405, "method_not_allowed")
    assert {word.strip() for word in answer.headers["allow"].split(",")} == allowed


def test_a_missing_credential_is_asked_for(portal: PortalServer, held: dict[str, Any]):
    answer = portal.client.delete("/api/stack/held")

    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_held_name_comes_with_others_that_are_free(portal: PortalServer, held: dict[str, Any]):
    suggestions = portal.client.post("/api/deploy", json={"name": "held"}).json()["suggestions"]

    assert 1 <= len(suggestions) <= 3
    assert all(portal.client.get(f"/api/check/{name}").json()["available"] for name in suggestions)


def test_bad_requests_on_postgresql(start_portal, any_database_url: str):
    """PostgreSQL takes no NUL, and would call what is none of its business an outage."""
    portal = start_portal(database_url=any_database_url)

    for path in (
        "/api/deployments/a%00b",
        "/api/deployments/a%00b/events",
        "/api/stack/a%00b",
        "/deployments/a%00b",
        "/deployments/a%00b/record",
        "/stacks/a%00b",
        "/stacks/a%00b/redeploy",
    ):
        assert portal.client.get(path, headers=OPERATOR).status_code == 404, path
    assert portal.client.get("/stacks?cursor=a%00b", headers=OPERATOR).status_code == 400
    assert portal.client.delete("/api/stack/a%00b", headers=OPERATOR).status_code == 404
    assert portal.client.delete("/api/tokens/a%00b", headers=OPERATOR).status_code == 404
    for query in ("stack", "actor"):
        answer = portal.client.get("/api/audit", params={query: "a\0b"}, headers=OPERATOR)
        assert (answer.status_code, answer.json()["items"]) == (200, []), query
    assert portal.client.get("/stacks/a%00b/delete").status_code == 404
    assert portal.client.post("/stacks/a%00b/delete").status_code == 404


# Names

NAMES: list[tuple[Any, str]] = [
    (None, "name_missing"),
    ("", "name_missing"),
    ("   \t\n", "name_missing"),
    (7, "name_not_text"),
    (True, "name_not_text"),
    (["ada"], "name_not_text"),
    ({"ada": 1}, "name_not_text"),
    ("ab", "name_too_short"),
    ("a" * 31, "name_too_long"),
    ("a" * 10_240, "name_too_long"),
    ("a b", "name_blank_inside"),
    ("a\tb", "name_blank_inside"),
    ("a_b", "name_underscore"),
    ("-ada", "name_hyphen_start"),
    ("ada-", "name_hyphen_end"),
    ("---", "name_hyphen_start"),
    ("ada\U0001f600", "name_not_ascii"),
    ("أمير", "name_not_ascii"),
    ("adä", "name_not_ascii"),
    ("\uff11\uff12\uff13", "name_not_ascii"),  # full-width digits
    ("\u0661\u0662\u0663", "name_not_ascii"),  # Arabic digits
    ("\u212aelvin", "name_not_ascii"),  # the sign for kelvin, which folds to a k
    ("ada\u200b", "name_not_ascii"),  # ends in a space of no width
    ("xn--abc", "name_punycode"),
    ("XN--ABC", "name_punycode"),
    ("admin", "name_reserved"),
    ("ADMIN", "name_reserved"),
    (" Portal ", "name_reserved"),
    ("a\0b", "name_characters"),
    ("a.b", "name_characters"),
    ("../etc", "name_characters"),
    ("a/b", "name_characters"),
    ("<b>ada</b>", "name_characters"),
    ("{name}", "name_characters"),
    ("%s%n", "name_characters"),
    ("ada;drop", "name_characters"),
]


@pytest.mark.parametrize(("name", "code"), NAMES, ids=[repr(name)[:20] for name, _ in NAMES])
def test_a_name_that_cannot_be(portal: PortalServer, name: Any, code: str):
    answer = portal.client.post("/api/deploy", json={"name": name})

    document = assert_problem(answer, 422, code)
    assert [(error["field"], error["code"]) for error in document["errors"]] == [("name", code)]
    if isinstance(name, str):
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        checked = portal.client.get(f"/api/check/{quoted}")
        assert (checked.status_code, checked.json()["code"]) == (200, code)
        assert (checked.json()["valid"], checked.json()["available"]) == (False, False)


def test_a_name_that_is_missing(portal: PortalServer):
    assert_problem(portal.client.post("/api/deploy", json={}), 422, "name_missing")


@pytest.mark.parametrize(
    ("name", "normalized"),
    [("abc", "abc"), ("a" * 30, "a" * 30), ("  Ada-2 ", "ada-2"), ("123", "123"), ("a--b", "a--b")],
)
def test_a_name_that_can_be(portal: PortalServer, name: str, normalized: str):
    answer = portal.client.get("/api/check/" + name.replace(" ", "%20"))

    assert answer.json() == {
        "name": name,
        "normalized": normalized,
        "valid": True,
        "available": True,
        "filesKept": False,
        "code": None,
        "message": f"{normalized}.{SUFFIX} is free.",
        "suggestions": [],
    }


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/check/", "name_missing"),
        ("/api/check/%20", "name_missing"),
        ("/api/check/a%2Fb", "name_characters"),
        ("/api/check/a/b/c", "name_characters"),
        ("/api/check/%2e%2e%2fetc", "name_characters"),
        ("/api/check/%00", "name_characters"),
        ("/api/check/a%0Ab%0D", "name_blank_inside"),
        ("/api/check/%ff%fe", "name_not_ascii"),
        ("/api/check/%F0%9F%98%80", "name_not_ascii"),
        ("/api/check/ada?lang=xx", None),
        ("/api/check/" + "a" * 5000, "name_too_long"),
    ],
)
def test_check_answers_200_whatever_it_is_asked(portal: PortalServer, path: str, code: str | None):
    answer = portal.client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (200, code)
    assert len(answer.content) < 2000


def test_check_speaks_the_readers_language_and_never_asks_dokploy(servers: Servers, held: dict[str, Any]):
    messages = {
        servers.portal.client.get("/api/check/held", params={"lang": lang}).json()["message"] for lang in LANGUAGES
    }

    assert len(messages) == len(LANGUAGES)
    assert calls(servers.emulator) == {}


def calls(emulator: Emulator) -> dict[str, int]:
    """What Dokploy was asked, but for the question whether it is there."""
    return {name: count for name, count in emulator.state()["calls"].items() if name != "settings.getDokployVersion"}


# The preview


def test_a_plan_says_everything_and_changes_nothing(servers: Servers):
    answer = servers.portal.client.post("/api/plan", json={"name": "Planned"})

    assert answer.status_code == 200
    assert answer.json()["blocked"] == []
    assert answer.json()["plan"] == {
        "name": "planned",
        "template": "opencode",
        "url": f"http://planned.{SUFFIX}",
        "image": "ghcr.io/example/oh-my-opencode:1.0",
        "port": 8080,
        "memoryBytes": 2 * 2**30,
        "cpus": 1.0,
        "variables": ["OPENCODE_SERVER_PASSWORD"],
        "volume": "portal-ai-workspace-planned",
        "volumePath": "/workspace",
        "certificate": "plain http",
        "healthCheck": "GET / answers 401",
    }
    assert len(answer.json()["sentences"]) == 4
    assert "ghcr.io/example/oh-my-opencode:1.0" in answer.json()["sentences"][1]
    assert calls(servers.emulator) == {}
    assert servers.portal.client.get("/api/check/planned").json()["available"]
    assert "planned" not in {each["name"] for each in listed(servers.portal, OPERATOR)}


@pytest.mark.parametrize(
    ("body", "code", "field", "planned"),
    [
        ({"name": "admin"}, "name_reserved", "name", False),
        ({"name": "a_b"}, "name_underscore", "name", False),
        ({"name": "held"}, "name_taken", "name", True),
        ({"name": "ada", "template": "nope"}, "template_unknown", "template", False),
        ({"name": "ada", "inputs": {"a": "b"}}, "input_unknown", "inputs", False),
    ],
)
def test_a_plan_says_why_it_would_be_refused(
    portal: PortalServer, held: dict[str, Any], body: Any, code: str, field: str, planned: bool
):
    answer = portal.client.post("/api/plan", json=body)

    assert answer.status_code == 200
    (blocked,) = answer.json()["blocked"]
    assert (blocked["phase"], blocked["code"], blocked["field"]) == ("plan", code, field)
    assert blocked["title"]
    assert blocked["detail"]
    assert blocked["hint"]
    assert (answer.json()["plan"] is not None) is planned


# Health, the record, the lists


def test_health_and_readiness(portal: PortalServer, held: dict[str, Any]):
    health = portal.client.get("/health").json()
    ready = portal.client.get("/ready").json()

    assert health["status"] == "healthy"
    assert (health["dokploy"]["reachable"], health["dokploy"]["trouble"]) == (True, None)
    assert health["dokploy"]["version"].startswith("v0.30")
    assert health["dokploy"]["incompatible"] == []
    assert health["runner"] == {"enabled": True, "active": True, "running": 0, "watchers": 0}
    assert (ready["ready"], ready["store"]) == (True, True)


def test_the_answer_to_a_deployment(servers: Servers):
    name = new_name()
    answer = servers.portal.client.post("/api/deploy", json={"name": f" {name.upper()} "})
    accepted = answer.json()
    deployment_id = accepted["deploymentId"]

    assert answer.status_code == 202
    assert answer.headers["location"] == accepted["statusUrl"] == f"/api/deployments/{deployment_id}"
    assert answer.headers["cache-control"] == "no-store"
    assert accepted == {
        "success": True,
        "deploymentId": deployment_id,
        "stackName": name,
        "url": f"http://{name}.{SUFFIX}",
        "statusUrl": f"/api/deployments/{deployment_id}",
        "eventsUrl": f"/api/deployments/{deployment_id}/events",
        "manageKey": accepted["manageKey"],
    }
    assert re.fullmatch(r"asd_[A-Za-z0-9_-]{32}", accepted["manageKey"])

    record = servers.portal.wait(deployment_id)
    assert {"id", "stack", "status", "currentPhase", "sourceSummary", "recoveryHint"} <= record.keys()
    assert (record["id"], record["stack"], record["kind"], record["trigger"]) == (deployment_id, name, "create", "api")
    assert (record["status"], record["currentPhase"], record["undoing"]) == ("completed", "verify", False)
    assert record["sourceSummary"] == "ghcr.io/example/oh-my-opencode:1.0"
    assert [step["state"] for step in record["steps"]] == ["succeeded"] * 7
    moments = [datetime.fromisoformat(record[moment]) for moment in ("createdAt", "startedAt", "concludedAt")]
    assert moments == sorted(moments)
    assert all(moment.tzinfo for moment in moments)
    labels = servers.portal.client.get(record["eventsUrl"].removesuffix("/events"), params={"lang": "nl"}).json()[
        "steps"
    ]
    assert [step["label"] for step in labels] != [step["label"] for step in record["steps"]]


def listed(portal: PortalServer, headers: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    answer = portal.client.get("/api/stacks", headers=headers, **more)
    assert answer.status_code == 200
    stacks: list[dict[str, Any]] = answer.json()["items"]
    return stacks


# Who may


@pytest.fixture
def browser(portal: PortalServer) -> Iterator[httpx.Client]:
    with http_client(base_url=portal.url, headers={"origin": portal.url}) as client:
        yield client


def test_who_may_see_and_change_a_stack(servers: Servers, browser: httpx.Client):
    portal, name = servers.portal, new_name()
    page = browser.post("/deploy", data={"name": name})
    portal.wait(page.headers["location"].rpartition("/")[2])
    signed = browser.cookies["asd_browser"]
    other = portal.deploy(new_name())
    portal.wait(other["deploymentId"])
    cookies = {
        "its own": signed,
        # Not the last letter, of which base64 reads four bits only.
        "changed": signed[:-2] + ("A" if signed[-2] != "A" else "B") + signed[-1],
        "forged": "browser:ada.c2lnbmF0dXJl",
        "empty": "",
    }
    allowed = [{"cookie": f"asd_browser={signed}"}, OPERATOR]
    hidden = [
        {},
        WRONG,
        key_of(other),
        *({"cookie": f"asd_browser={cookies[each]}"} for each in ("changed", "forged", "empty")),
    ]

    for headers in allowed:
        stack = portal.client.get(f"/api/stack/{name}", headers=headers).json()
        assert (stack["name"], stack["state"], stack["userName"]) == (name, "running", "opencode")
        assert len(stack["password"]) >= 20
        assert name in {each["name"] for each in listed(portal, headers)}
        assert all(each["password"] is None for each in listed(portal, headers))
    for headers in hidden:
        assert_problem(portal.client.get(f"/api/stack/{name}", headers=headers), 404, "stack_not_found")
        if headers is WRONG:
            assert_problem(portal.client.get("/api/stacks", headers=headers), 401, "credential_unknown")
        else:
            assert name not in {each["name"] for each in listed(portal, headers)}
        refused = portal.client.delete(f"/api/stack/{name}", headers=headers)
        shown = "authorization" in headers
        assert_problem(refused, 403 if shown else 401, "credential_wrong" if shown else "credential_missing")
    assert [each["name"] for each in listed(portal, key_of(other))] == [other["stackName"]]
    assert listed(portal, {}) == []
    # A token, where one was sent, counts alone: a wrong one is not made good by a cookie.
    assert browser.delete(f"/api/stack/{name}", headers=WRONG).status_code == 403
    assert browser.delete(f"/api/stack/{name}").json()["removed"]


def test_without_an_admin_token_nobody_is_the_operator(start_portal):
    portal = start_portal(admin_token=None)
    accepted = portal.deploy("ada")

    for token in (ADMIN_TOKEN, "None", "null"):
        headers = {"authorization": f"Bearer {token}"}
        assert portal.client.get("/api/stack/ada", headers=headers).status_code == 404
    assert portal.client.get("/api/stack/ada", headers=key_of(accepted)).status_code == 200


FROM_ELSEWHERE = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "http://[::1"},
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
@pytest.mark.parametrize(
    "path",
    [
        "/deploy",
        "/api/deploy",
        "/api/stack/held/redeploy",
        "/deployments/{id}/cancel",
        "/stacks/held/delete",
        "/stacks/held/redeploy",
        "/theme",
        "/sign-in",
        "/sign-out",
    ],
)
def test_what_another_site_sends_is_refused(
    portal: PortalServer, held: dict[str, Any], path: str, headers: dict[str, str]
):
    path = path.replace("{id}", held["deploymentId"])
    body: dict[str, Any] = {"json": {"name": "cross"}} if path.startswith("/api") else {"data": {"name": "cross"}}

    answer = portal.client.post(path, headers=headers, **body)

    assert_problem(answer, 403, "cross_site")
    assert portal.client.get("/api/check/cross").json()["available"]


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "{own}"}]
)
def test_what_this_site_sends_is_taken(servers: Servers, headers: dict[str, str]):
    headers = {name: value.replace("{own}", servers.portal.url) for name, value in headers.items()}

    answer = servers.portal.client.post("/deploy", data={"name": new_name()}, headers=headers)

    assert answer.status_code == 303
    servers.portal.wait(answer.headers["location"].rpartition("/")[2])


# The same thing at once


def at_once(count: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_one_name_twenty_times_at_once(start_portal, emulator: Emulator, any_database_url: str):
    portal = start_portal(database_url=any_database_url)

    answers = at_once(20, lambda _: portal.client.post("/api/deploy", json={"name": "ada"}))

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name_taken"}
    (accepted,) = (answer.json() for answer in answers if answer.status_code == 202)
    assert portal.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    assert len(emulator.state()["projects"]) == 1
    assert emulator.state()["calls"]["project.create"] == 1


def test_one_key_twenty_times_at_once(start_portal, emulator: Emulator, any_database_url: str):
    portal = start_portal(database_url=any_database_url)
    key = {"idempotency-key": "the-same-for-all-of-them"}

    answers = at_once(20, lambda _: portal.client.post("/api/deploy", json={"name": "ada"}, headers=key))

    assert [answer.status_code for answer in answers] == [202] * 20
    assert len({answer.text for answer in answers}) == 1
    accepted = answers[0].json()
    assert portal.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    assert emulator.state()["calls"]["project.create"] == 1
    # Later too, however the same thing is written, and whatever has become of it.
    again = portal.client.post("/api/deploy", json={"inputs": {}, "name": " ADA "}, headers=key)
    assert again.json() == accepted
    assert portal.client.delete("/api/stack/ada", headers=key_of(accepted)).status_code == 200
    assert portal.client.post("/api/deploy", json={"name": "ada"}, headers=key).json() == accepted
    reused = portal.client.post("/api/deploy", json={"name": "bob"}, headers=key)
    assert_problem(reused, 422, "idempotency_key_reused")
    assert portal.client.get("/api/check/bob").json()["available"]


def test_deletes_at_once_are_one_removal(start_portal, emulator: Emulator, any_database_url: str):
    """Also those that come when it is just over: the name, and its volume, may be somebody else's by then."""
    portal = start_portal(database_url=any_database_url)
    accepted = portal.deploy("ada")
    portal.wait(accepted["deploymentId"])

    def delete_until_it_is_gone(_: int) -> set[str]:
        removals = set()
        while (answer := delete(portal, accepted, "ada", wait="0")).status_code != 404:
            assert answer.status_code in {200, 202}, answer.text
            removals.add(answer.json()["deploymentId"])
        return removals

    with ThreadPoolExecutor(16) as pool:
        removals = set().union(*pool.map(delete_until_it_is_gone, range(16)))

    assert len(removals) == 1
    assert emulator.left() == {}


# Deleting


def delete(
    portal: PortalServer, accepted: dict[str, Any], name: str, *, wait: str | None = None, **query: str
) -> httpx.Response:
    prefer = {"prefer": f"wait={wait}"} if wait is not None else {}
    return portal.client.delete(f"/api/stack/{name}", headers={**key_of(accepted), **prefer}, params=query)


def test_a_delete_waits_until_it_is_over(servers: Servers):
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait(accepted["deploymentId"])

    answer = delete(servers.portal, accepted, accepted["stackName"])

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    gone = answer.json()
    assert gone["removed"] is True
    assert set(gone["resources"]) == {"project", "application", "mount", "domain", "volume"}
    record = servers.portal.record(gone["deploymentId"])
    assert (record["kind"], record["conclusion"]) == ("remove", "succeeded")
    assert [step["state"] for step in record["steps"]] == ["succeeded"] * 5
    assert servers.emulator.left() == {}
    again = delete(servers.portal, accepted, accepted["stackName"])
    assert_problem(again, 404, "stack_not_found")


def test_a_delete_that_does_not_wait(servers: Servers):
    portal, emulator = servers.portal, servers.emulator
    accepted = portal.deploy(new_name())
    portal.wait(accepted["deploymentId"])
    emulator.fault("hold", "dockerVolume.removeVolume")

    first = delete(portal, accepted, accepted["stackName"], wait="0")
    second = delete(portal, accepted, accepted["stackName"].upper(), wait="0")
    stack = portal.client.get(f"/api/stack/{accepted['stackName']}", headers=key_of(accepted)).json()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(delete, portal, accepted, accepted["stackName"], wait="300")
        portal.wait_for_watchers(1)
        emulator.release()
        third = waiting.result()

    assert (first.status_code, first.json()["removed"], first.json()["resources"]) == (202, False, [])
    assert first.headers["location"] == first.json()["statusUrl"]
    assert (second.status_code, second.json()["statusUrl"]) == (202, first.json()["statusUrl"])
    assert (stack["state"], stack["deploymentId"]) == ("removing", first.json()["deploymentId"])
    assert (third.status_code, third.json()["deploymentId"]) == (200, first.json()["deploymentId"])
    assert emulator.left() == {}


def test_a_delete_that_waits_too_short(servers: Servers):
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait(accepted["deploymentId"])
    servers.emulator.fault("volume_in_use", times=-1)

    answer = delete(servers.portal, accepted, accepted["stackName"], wait="1")

    assert answer.status_code == 202
    servers.emulator.clear_faults()
    assert servers.portal.wait(answer.json()["deploymentId"])["conclusion"] == "succeeded"


def test_a_longer_name_is_another_name(servers: Servers):
    """Nothing may be cut off a name on its way to a delete."""
    accepted = servers.portal.deploy("b" * 30)
    servers.portal.wait(accepted["deploymentId"])

    for name in ("b" * 31, "b" * 30 + "%20b", "b" * 29):
        assert_problem(delete(servers.portal, accepted, name), 404, "stack_not_found")
        assert servers.portal.client.get(f"/api/stack/{name}", headers=key_of(accepted)).status_code == 404

    assert delete(servers.portal, accepted, "b" * 30).json()["removed"]


@pytest.mark.parametrize(("wait", "status"), [("0", 202), ("300", 200)])
def test_a_delete_during_the_creation_cancels_it(servers: Servers, wait: str, status: int):
    servers.emulator.fault("stuck")
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait_for(accepted["deploymentId"], "progressed", what="container_running")

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(delete, servers.portal, accepted, accepted["stackName"], wait=wait)
        servers.portal.wait_for(accepted["deploymentId"], "progressed", what="undo_waiting")
        servers.emulator.release()
        answer = deleting.result()

    assert answer.status_code == status
    assert answer.json()["deploymentId"] == accepted["deploymentId"]
    assert servers.portal.wait(accepted["deploymentId"])["conclusion"] == "canceled"
    assert servers.emulator.left() == {}
    assert servers.portal.client.get(f"/api/check/{accepted['stackName']}").json()["available"]


def test_a_delete_keeps_the_volume_where_it_is_asked_to(servers: Servers):
    accepted = servers.portal.deploy(new_name())
    servers.portal.wait(accepted["deploymentId"])

    answer = delete(servers.portal, accepted, accepted["stackName"], volume="keep")

    assert set(answer.json()["resources"]) == {"project", "application", "mount", "domain"}
    assert servers.emulator.left().keys() == {"volumes"}
    volumes = [each["name"] for each in servers.emulator.left()["volumes"]]
    assert volumes == [f"portal-ai-workspace-{accepted['stackName']}"]
