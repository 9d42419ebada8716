"""The check before a deployment, as an operator runs it: what it prints, its exit status, and what it must not print."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.providers import ScriptedProvider, serve_scripted_provider
from tests.servers import TOKEN, Emulator, PortalServer

SECRETS = {
    "SECRET_KEY": "hush-hush-the-key-of-cookies",
    "ADMIN_TOKEN": "hush-hush-the-operators-token",
    "STACK_REGISTRY_PASSWORD": "hush-hush-the-registry",
}
ITEMS = ["settings", "open", "store", "secrets", "dokploy", "token", "version", "calls", "registry", "dns"]


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    return {
        **SECRETS,
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_API_TOKEN": TOKEN,
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'data' / 'portal.db'}",
        "STACK_DOMAIN_SUFFIX": "ai.example.com",
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": "traefik:443",
        "ALLOW_OPEN_PORTAL": "true",
        "STACK_REGISTRY_URL": "https://ghcr.io",
        "STACK_REGISTRY_USERNAME": "robot",
    }


@pytest.fixture
def check(portal_command) -> Callable[..., tuple[int, list[list[str]]]]:
    """Run the check; gives the exit status, and for each line the result, the item and the words."""

    def run(**environment: str) -> tuple[int, list[list[str]]]:
        process = portal_command("check", **environment)
        status = process.wait()
        assert "hush-hush" not in process.output
        assert TOKEN not in process.output
        return status, [line.split(maxsplit=2) for line in process.output.splitlines()]

    return run


def told(lines: list[list[str]], *results: str) -> dict[str, str]:
    return {item: words for result, item, words in lines if result in results}


def test_a_check_of_what_is_well_finds_nothing_and_changes_nothing(check, environment, emulator: Emulator):
    status, lines = check(**environment)

    assert status == 0
    assert [item for _, item, _ in lines] == ITEMS
    assert set(told(lines, "ok")) == set(ITEMS) - {"dns"}
    assert told(lines, "skip").keys() == {"dns"}
    assert told(lines, "ok")["version"] == "v0.30.2"
    assert emulator.left() == {}, "it changes nothing"


def test_a_check_for_programs_is_json(portal_command, environment):
    process = portal_command("check", "--json", **environment)

    assert process.wait() == 0
    found = json.loads(process.output)
    assert [each["item"] for each in found] == ITEMS
    assert all(each.keys() == {"item", "result", "detail", "do"} for each in found)
    assert {each["result"] for each in found} == {"ok", "skip"}


def test_a_store_that_a_portal_uses_may_be_checked(check, environment, portal: PortalServer):
    status, lines = check(**{**environment, "DATABASE_URL": portal.settings.database_url})

    assert status == 0
    assert told(lines, "ok")["store"].startswith("SQLite can be written, and has schema ")
    assert told(lines, "ok")["stacks"] == "0 of 90"
    assert portal.client.get("/ready").status_code == 200


def test_a_wrong_token(check, environment):
    status, lines = check(**{**environment, "DOKPLOY_API_TOKEN": "hush-hush-another-token"})

    assert status == 1
    assert "rateLimitEnabled" in told(lines, "FAIL").pop("token")
    assert told(lines, "FAIL").keys() == {"token"}
    assert told(lines, "skip").keys() == {"version", "calls", "dns"}


def test_a_token_with_dokploys_default_limit(check, environment, emulator: Emulator):
    body = {"name": "portal", "metadata": {"organizationId": "any"}}
    made = httpx.post(f"{emulator.url}/api/user.createApiKey", json=body, headers={"x-api-key": TOKEN}, trust_env=False)

    status, lines = check(**{**environment, "DOKPLOY_API_TOKEN": made.json()["key"]})

    assert status == 1
    assert "it has a rate limit" in told(lines, "FAIL")["token"]
    assert told(lines, "FAIL").keys() == {"token"}


def test_dokploy_away(check, environment):
    status, lines = check(**{**environment, "DOKPLOY_URL": "http://127.0.0.1:9"})

    assert status == 1
    assert told(lines, "FAIL").keys() == {"dokploy"}
    assert "DOKPLOY_URL" in told(lines, "FAIL")["dokploy"]
    assert told(lines, "skip").keys() == {"token", "version", "calls", "dns"}


@pytest.mark.parametrize(
    ("kind", "more", "item", "says"),
    [
        ("html", {}, "dokploy", "login page"),
        ("status", {"status": 502}, "dokploy", "it answers 502"),
        ("status", {"status": 403}, "token", "admin"),
        ("database_down", {}, "dokploy", "dokploy-postgres"),
    ],
)
def test_dokploy_in_trouble(check, environment, emulator: Emulator, kind: str, more: dict[str, int], item: str, says):
    emulator.fault(kind, "*", times=-1, **more)

    status, lines = check(**environment)

    assert status == 1
    assert says in told(lines, "FAIL")[item]
    assert len(told(lines, "FAIL")) == 1


def test_calls_that_do_not_fit(check, environment, emulator: Emulator):
    emulator.fault("other_version")
    emulator.fault("renamed_call", "domain.create")
    emulator.fault("renamed_field", "application.deploy", field="title")

    status, lines = check(**environment)

    assert status == 1
    assert [words.partition(";")[0] for result, _, words in lines if result == "FAIL"] == [
        "application.deploy does not take title",
        "domain.create is not there",
    ]
    assert told(lines, "warn")["version"].startswith("v0.31.0")


def test_calls_that_cannot_be_compared(check, environment, emulator: Emulator):
    emulator.fault("status", "settings.getOpenApiDocument", status=500, times=-1)

    status, lines = check(**environment)

    assert status == 1
    assert "settings.getOpenApiDocument: it answers 500" in told(lines, "FAIL")["calls"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite+aiosqlite:////proc/nowhere/portal.db", "/proc/nowhere"),
        ("sqlite+aiosqlite:////dev/null", "SQLite cannot be written"),
        ("postgresql+asyncpg://portal:hush-hush-db@127.0.0.1:9/portal", "PostgreSQL cannot be written"),
    ],
)
def test_a_store_that_cannot_be_written(check, environment, url: str, says: str):
    status, lines = check(**{**environment, "DATABASE_URL": url})

    assert status == 1
    assert says in told(lines, "FAIL")["store"]
    assert told(lines, "FAIL").keys() == {"store"}


def test_a_portal_that_would_not_start_for_being_open(check, portal_command, environment):
    closed = {**environment, "ALLOW_OPEN_PORTAL": "false"}

    status, lines = check(**closed)

    assert status == 1
    assert told(lines, "FAIL").keys() == {"open"}
    serving = portal_command("serve", **closed)
    assert serving.wait() == 1
    assert serving.output.removeprefix("error: ").strip() in told(lines, "FAIL")["open"]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with serve_scripted_provider() as served:
        yield served


def with_provider(environment: dict[str, str], issuer: str) -> dict[str, str]:
    return {
        **environment,
        # In production the provider's address would have to be https.
        "APP_ENV": "development",
        "AUTH_MODE": "oidc",
        "PORTAL_URL": "https://portal.ai.example.com",
        "OIDC_ISSUER": issuer,
        "OIDC_CLIENT_ID": "portal",
        "OIDC_CLIENT_SECRET": "hush-hush-the-client",
        "ALLOWED_DOMAINS": "example.com",
    }


def test_a_provider_that_does_not_answer(check, environment):
    status, lines = check(**with_provider(environment, "http://127.0.0.1:9"))

    assert status == 1
    assert told(lines, "FAIL").keys() == {"provider"}
    assert told(lines, "FAIL")["provider"].startswith("http://127.0.0.1:9: no answer (ConnectError); ")
    assert told(lines, "ok")["open"] == "AUTH_MODE is oidc"


@pytest.mark.parametrize(
    ("description", "statuses", "says"),
    [
        ({"issuer": "https://id.example.com/"}, {}, "OIDC_ISSUER is not what the provider calls itself; "),
        ({"jwks_uri": None}, {}, "the provider's description cannot be read; "),
        ({}, {"/.well-known/openid-configuration": 404}, "the provider has no description of itself; "),
        ({}, {"/.well-known/openid-configuration": 503}, "no answer (503); "),
    ],
)
def test_a_provider_that_is_not_as_it_should_be(check, environment, provider, description, statuses, says: str):
    provider.description, provider.statuses = description, statuses

    status, lines = check(**with_provider(environment, provider.issuer))

    assert status == 1
    assert told(lines, "FAIL").keys() == {"provider"}
    assert told(lines, "FAIL")["provider"].startswith(f"{provider.issuer}: {says}")


def test_a_provider_that_answers(check, environment, provider: ScriptedProvider):
    status, lines = check(**with_provider(environment, provider.issuer))

    assert status == 0
    assert [item for _, item, _ in lines] == ["settings", "open", "provider", *ITEMS[2:]]
    assert told(lines, "ok")["provider"] == f"{provider.issuer} answers, and calls itself so"
    assert provider.paths() == ["/.well-known/openid-configuration"], "one question is enough"


def test_a_setting_that_is_missing(portal_command, environment):
    process = portal_command("check", **{**environment, "STACK_IMAGE": ""})
    assert process.wait() == 1
    assert process.output.startswith("FAIL  settings  STACK_IMAGE is not set; ")
    assert len(process.output.splitlines()) == 1

    process = portal_command("check", "--json", **{**environment, "ADMIN_TOKEN": "hush-hush"})
    assert process.wait() == 1
    assert [each["result"] for each in json.loads(process.output)] == ["fail"]
    assert "hush-hush" not in process.output
