"""The API's own description: every route is in it, with its failures, and the page made from it renders."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import PROBLEMS
from app.web.auth.authorization import RULES, Who
from app.web.problems import STATUSES
from tests.integration.conftest import Servers
from tests.integration.test_http import OPERATOR
from tests.servers import PortalServer

CALLS = {
    ("get", "/health"),
    ("get", "/ready"),
    ("get", "/api/check/{name}"),
    ("post", "/api/plan"),
    ("post", "/api/deploy"),
    ("get", "/api/deployments/{deployment_id}"),
    ("get", "/api/deployments/{deployment_id}/events"),
    ("post", "/api/deployments/{deployment_id}/cancel"),
    ("get", "/api/deployments"),
    ("get", "/api/stacks"),
    ("get", "/api/kept-files"),
    ("get", "/api/stack/{name}/deployments"),
    ("get", "/api/leftovers"),
    ("get", "/api/overview"),
    ("get", "/api/stack/{name}"),
    ("delete", "/api/stack/{name}"),
    ("post", "/api/stack/{name}/redeploy"),
    ("post", "/api/stack/{name}/password"),
    ("post", "/api/stack/{name}/offer"),
    ("post", "/api/take-over"),
    ("get", "/api/tokens"),
    ("post", "/api/tokens"),
    ("delete", "/api/tokens/{token_id}"),
    ("get", "/api/audit"),
}


@pytest.fixture
def document(servers: Servers) -> dict[str, Any]:
    answer = servers.portal.client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    return document


def test_every_list_is_read_by_cursor(document: dict[str, Any]):
    """Whatever answers an array of its own is a page of it: `items`, with `nextCursor`, by `limit` and `cursor`."""
    schemas = document["components"]["schemas"]
    lists = []
    for path, operations in document["paths"].items():
        answer = (
            operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        )
        if answer is None or "$ref" not in answer["schema"]:
            continue
        fields = schemas[answer["schema"]["$ref"].rpartition("/")[2]]["properties"]
        assert ("items" in fields) == ("nextCursor" in fields), path
        if "items" in fields:
            lists.append(path)
            parameters = {each["name"]: each["schema"] for each in operations["get"]["parameters"]}
            assert parameters["limit"] == {**parameters["limit"], "minimum": 1, "maximum": 100, "default": 20}, path
            assert "cursor" in parameters, path
            assert "400" in operations["get"]["responses"], path
    assert len(lists) == 7


def test_every_call_is_described(document: dict[str, Any]):
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}

    assert described == CALLS
    for path, method in ((path, method) for method, path in CALLS):
        operation = document["paths"][path][method]
        assert operation["description"]
        assert operation["tags"]
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, parameter)


def test_every_failure_is_described(document: dict[str, Any]):
    for method, path in CALLS:
        responses = document["paths"][path][method]["responses"]
        assert resolved(document, responses["default"])["content"].keys() == {"application/problem+json"}
        failures = {status: answer for status, answer in responses.items() if status[0] in "45" and path != "/ready"}
        for answer in failures.values():
            (content,) = answer["content"].items()
            assert content[0] == "application/problem+json"
            assert content[1]["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
    deploy = document["paths"]["/api/deploy"]["post"]
    assert {"202", "400", "403", "409", "413", "415", "422"} <= deploy["responses"].keys()
    assert deploy["requestBody"]["required"]
    for method, path in (
        ("delete", "/api/stack/{name}"),
        ("post", "/api/stack/{name}/redeploy"),
        ("post", "/api/stack/{name}/password"),
    ):
        assert {"202", "401", "403", "404", "409", "503"} <= document["paths"][path][method]["responses"].keys()


def test_every_call_says_who_may_make_it_as_the_table_has_it(document: dict[str, Any]):
    schemes = document["components"]["securitySchemes"]
    assert schemes["session"]["name"] == "asd_session"
    assert schemes["browser"]["name"] == "asd_browser"
    for route, rule in RULES.items():
        method, path = route.lower().replace(":text", "").split()
        if (method, path) not in CALLS:
            continue
        operation = document["paths"][path][method]
        ways = {name: scopes for way in operation["security"] for name, scopes in way.items()}
        assert ways.keys() <= schemes.keys()
        assert ("operatorToken" in ways) == (rule.who not in {Who.UNASKED, Who.EVERYBODY}), route
        assert ways.get("token", []) == ([rule.scope] if rule.scope else []), route
        if rule.scope is not None:
            assert operation["x-scope"] == rule.scope
            assert operation["description"].endswith(f"A token needs `{rule.scope}`.")
        assert {"401", "403"} <= operation["responses"].keys() or rule.who is Who.UNASKED, route
        assert ("404" in operation["responses"]) == (rule.of is not None or "{token_id}" in path), route
        assert ("429" in operation["responses"]) == (path not in {"/health", "/ready"}), route
    assert {} in document["paths"]["/api/deploy"]["post"]["security"]
    assert {} not in document["paths"]["/api/stack/{name}"]["delete"]["security"]


def test_what_has_to_be_shown_depends_on_how_people_come_in(start_portal: Callable[..., PortalServer]):
    portal = start_portal(
        auth_mode="proxy", proxy_auth_addresses="127.0.0.1", proxy_auth_user_header="X-User", app_env="production"
    )
    document = portal.client.get("/openapi.json").json()

    schemes = document["components"]["securitySchemes"]
    assert (schemes["proxy"]["in"], schemes["proxy"]["name"]) == ("header", "X-User")
    assert schemes["session"]["name"] == "__Host-asd_session"
    assert "browser" not in schemes
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {} not in operation["security"]


def test_bodies_are_described_with_an_example_that_is_taken(servers: Servers, document: dict[str, Any]):
    taken = {}
    for path, operations in document["paths"].items():
        if body := operations.get("post", {}).get("requestBody"):
            (content,) = body["content"].values()
            for field in resolved(document, content["schema"])["properties"].values():
                assert field["description"]
            answer = servers.portal.client.post(path, json=content["example"], headers=OPERATOR)
            taken[path] = answer.status_code

    assert taken == {"/api/plan": 200, "/api/deploy": 202, "/api/tokens": 201, "/api/take-over": 422}


def test_references_lead_somewhere(document: dict[str, Any]):
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [each for value in part.values() for each in references(value)]
        return [each for value in part for each in references(value)] if isinstance(part, list) else []

    found = references(document)
    assert found
    for reference in found:
        assert resolved(document, {"$ref": reference})


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    for name in part["$ref"].removeprefix("#/").split("/"):
        document = document[name]
    return document


def test_answers_are_as_they_are_described(servers: Servers, document: dict[str, Any]):
    """Nothing is said that the description lacks, and nothing it requires is left out."""
    portal = servers.portal
    accepted = portal.deploy("described")
    portal.wait(accepted["deploymentId"])
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    again = portal.client.post("/api/stack/described/redeploy", headers=key).json()
    portal.wait(again["deploymentId"])
    answers = {
        "FollowAnswer": again,
        "AcceptedAnswer": accepted,
        "DeploymentAnswer": portal.record(accepted["deploymentId"]),
        "EventAnswer": portal.events(accepted["deploymentId"])[0],
        "CheckAnswer": portal.client.get("/api/check/described").json(),
        "PlanAnswer": portal.client.post("/api/plan", json={"name": "described"}).json(),
        "StackAnswer": portal.client.get("/api/stack/described", headers=key).json(),
        "StacksAnswer": portal.client.get("/api/stacks", headers=key).json(),
        "ProblemDocument": portal.client.get("/api/stack/nobody").json(),
        "OverviewAnswer": portal.client.get("/api/overview", headers=OPERATOR).json(),
        "HealthAnswer": portal.client.get("/health").json(),
        "ReadyAnswer": portal.client.get("/ready").json(),
        "RemovalAnswer": portal.client.delete("/api/stack/described", headers=key).json(),
    }
    for name, answer in answers.items():
        schema = document["components"]["schemas"][name]
        assert answer.keys() <= schema["properties"].keys(), name
        assert set(schema.get("required", ())) <= answer.keys(), name


def test_the_page_of_it_renders(servers: Servers, document: dict[str, Any]):
    answer = servers.portal.client.get("/docs", headers={"accept": "text/html"})

    assert answer.status_code == 200
    for method, path in CALLS:
        assert f"{method.upper()} {path}" in answer.text
    # What a call reads, with an example, what a token needs for it, and what its answers are like.
    assert "3 to 30 letters, digits and hyphens. (string, required)" in re.sub(r"\s+", " ", answer.text)
    assert "&#34;name&#34;: &#34;ada-lovelace&#34;" in answer.text
    assert "A token needs <code>stack:delete</code>." in answer.text
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in answer.text
    for target in re.findall(r'href="#([^"]+)"', answer.text):
        assert f'id="{target}"' in answer.text, target
    # What a problem document's `type` leads to is there, for every code.
    assert set(re.findall(r'<dt id="([a-z_]+)">', answer.text)) == set(PROBLEMS)
    assert set(STATUSES) <= set(PROBLEMS)
