"""Settings: their exact names, and one line for each mistake that names the variable and never its value."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.config.settings import Settings, host_and_port, load_settings, require_closed
from app.errors import SettingsError
from app.observation.probe import Prober
from app.observation.retention import Keep

APP = Path(__file__).parents[2] / "app"

# As ASD-8 and ASD-9 name them, with a value to set and where it arrives.
NAMED = {
    "HOST": ("127.0.0.2", "host", "127.0.0.2"),
    "PORT": ("3456", "port", 3456),
    "DOKPLOY_URL": ("http://dokploy:3000/", "dokploy_base", "http://dokploy:3000"),
    "DOKPLOY_API_TOKEN": ("key-of-dokploy", "dokploy_api_token", SecretStr("key-of-dokploy")),
    "STACK_DOMAIN_SUFFIX": ("AI.Example.", "stack_domain_suffix", "ai.example"),
    "STACK_IMAGE": ("ghcr.io/x/y:1@sha256:ab", "stack_image", "ghcr.io/x/y:1@sha256:ab"),
    "RESERVED_NAMES": ("one, Two ,,three", "reserved_names", ("one", "Two", "three")),
    "APP_ENV": ("development", "app_env", "development"),
    "STACK_PORT": ("9000", "stack_port", 9000),
    "STACK_REGISTRY_URL": ("ghcr.io", "stack_registry_url", "ghcr.io"),
    "STACK_REGISTRY_USERNAME": ("robot", "stack_registry_username", "robot"),
    "STACK_REGISTRY_PASSWORD": ("pull-only", "stack_registry_password", SecretStr("pull-only")),
}
REQUIRED = {
    "DOKPLOY_URL": "http://dokploy:3000",
    "DOKPLOY_API_TOKEN": "key-of-dokploy",
    "STACK_DOMAIN_SUFFIX": "ai.example",
    "STACK_IMAGE": "ghcr.io/x/y:1",
    "APP_ENV": "development",
}
OIDC = {
    "OIDC_ISSUER": "https://id.example.com",
    "OIDC_CLIENT_ID": "portal",
    "PORTAL_URL": "https://deploy.example.com",
    "ALLOWED_DOMAINS": "example.com",
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No `.env` of the checkout is read."""
    monkeypatch.chdir(tmp_path)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def mistake(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> str:
    """Set variables, expect a mistake, and return the line about it."""
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    line = str(refused.value)
    assert "\n" not in line
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__, "a traceback would show the value"
    return line


def test_every_promised_name_is_read(monkeypatch: pytest.MonkeyPatch):
    for name, (value, _, _) in NAMED.items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    for name, (_, attribute, expected) in NAMED.items():
        assert getattr(settings, attribute) == expected, name


def test_what_is_not_set_has_the_promised_value():
    settings = load_settings()

    assert (settings.host, settings.port, settings.stack_port) == ("0.0.0.0", 3000, 8080)
    assert ",".join(settings.reserved_names) == "admin,api,www,root,system,test,demo,portal,deploy"
    assert settings.stack_volume.format(name="ada") == "portal-ai-workspace-ada"
    assert settings.stack_volume_path == "/workspace"
    assert settings.sse_timeout_seconds >= 255
    assert Settings.model_fields["app_env"].default == "production"


def test_every_setting_has_a_sentence_and_an_example():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.examples, name


def test_every_setting_is_read():
    text = "\n".join(path.read_text() for path in APP.rglob("*.py"))
    assert [name for name in Settings.model_fields if not re.search(rf"\.{name}\b", text)] == []


def test_examples_are_accepted(monkeypatch: pytest.MonkeyPatch):
    """An example in an error message must not lead to the next one."""
    together = {
        "stack_registry_username": {"STACK_REGISTRY_PASSWORD": "something"},
        "stack_registry_password": {"STACK_REGISTRY_USERNAME": "something"},
        "auth_mode": {**OIDC, "PROXY_AUTH_ADDRESSES": "10.0.1.5"},
    }
    for name, field in Settings.model_fields.items():
        if name == "dokploy_api_token":
            continue  # a description, not a key
        for example in field.examples or ():
            with monkeypatch.context() as patch:
                patch.setenv("SECRET_KEY", "a-key-that-is-only-for-tests")
                patch.setenv(name.upper(), str(example))
                for other, value in together.get(name, {}).items():
                    patch.setenv(other, value)
                load_settings()


@pytest.mark.parametrize("name", ["DOKPLOY_URL", "DOKPLOY_API_TOKEN", "STACK_DOMAIN_SUFFIX", "STACK_IMAGE"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_one_is_named_with_an_example(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None):
    line = mistake(monkeypatch, **{name: value})

    assert line.startswith(f"{name} is not set; for example {name}=")
    assert "more" not in line


def test_of_several_the_first_is_told_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch):
    line = mistake(monkeypatch, DOKPLOY_URL=None, STACK_IMAGE=None, PORT="none")

    assert line.startswith("PORT ")
    assert line.endswith("(2 more after this one)")


MALFORMED = [
    ("PORT", "0", "greater than or equal to 1"),
    ("PORT", "65536", "less than or equal to 65535"),
    ("PORT", "three", "integer"),
    ("APP_ENV", "staging", "'production' or 'development'"),
    ("LOG_LEVEL", "loud", "'debug'"),
    ("DEFAULT_LANGUAGE", "pt", "'en'"),
    ("DATABASE_URL", "postgres://portal:hush-hush@db/portal", "malformed"),
    ("SECRET_KEY", "hush-hush", "at least 16 characters"),
    ("SECRET_KEY", "a-long-enough-first-one,hush-hush", "at least 16 characters"),
    ("ADMIN_TOKEN", "hush-hush", "at least 16"),
    ("DOKPLOY_URL", "dokploy.example", "valid URL"),
    ("DOKPLOY_URL", "ftp://dokploy.example", "URL scheme should be 'http' or 'https'"),
    ("DOKPLOY_URL", "https://dokploy.example/api/", "must not end with /api"),
    ("DOKPLOY_URL", "https://me:hush-hush@dokploy.example", "must not hold credentials"),
    ("DOKPLOY_API_TOKEN", "hush-hush\n", "one word of printable ASCII"),
    ("DOKPLOY_API_TOKEN", "hush-hüsh", "one word of printable ASCII"),
    ("DOKPLOY_TIMEOUT_SECONDS", "0", "greater than 0"),
    ("DOKPLOY_MAX_CONCURRENCY", "0", "greater than or equal to 1"),
    ("STACK_DOMAIN_SUFFIX", "https://ai.example", "malformed"),
    ("STACK_DOMAIN_SUFFIX", "*.ai.example", "malformed"),
    ("STACK_DOMAIN_SUFFIX", "a_b.example", "malformed"),
    ("STACK_IMAGE", "image with blanks", "malformed"),
    ("STACK_PORT", "-1", "greater than or equal to 1"),
    ("STACK_MEMORY", "2 GB", "malformed"),
    ("STACK_MEMORY", "5m", "at least 6m"),
    ("STACK_CPUS", "0", "greater than or equal to 0.01"),
    ("STACK_CPUS", "nan", "less than or equal to 256"),
    ("STACK_VOLUME", "one-for-all", "malformed"),
    ("STACK_VOLUME", "{name}-{name.__class__}", "malformed"),
    ("STACK_VOLUME_PATH", "workspace", "malformed"),
    ("STACK_VARIABLES", "HUSH=hush-hush", "not JSON"),
    ("STACK_VARIABLES", '["hush-hush"]', "dictionary"),
    ("STACK_VARIABLES", '{"HUSH": {"hush-hush": 1}}', "string"),
    ("STACK_VARIABLES", '{"HUSH HUSH": "hush-hush"}', "names of letters"),
    ("STACK_VARIABLES", '{"X\\nHUSH": "hush-hush"}', "names of letters"),
    ("STACK_PASSWORD_VARIABLE", "1X", "malformed"),
    ("STACK_PROBE_PATHS", "health", "begin with a slash"),
    ("STACK_PROBE_PATHS", ",", "begin with a slash"),
    ("STACK_PROBE_ADDRESS", "traefik", "malformed"),
    ("STACK_PROBE_ADDRESS", "traefik:99999", "port from 1 to 65535"),
    ("STACK_PROBE_ADDRESS", "traefik:0", "port from 1 to 65535"),
    ("STACK_PUBLIC_PORT", "https", "integer"),
    ("CERTIFICATE_MODE", "resolver:", "malformed"),
    ("SSE_HEARTBEAT_SECONDS", "11", "less than or equal to 10"),
    ("AUTH_MODE", "closed", "'open'"),
    ("ALLOW_OPEN_PORTAL", "perhaps", "boolean"),
    ("PORTAL_URL", "deploy.example.com", "begins with https://"),
    ("PORTAL_URL", "https://deploy.example.com/portal", "must not have a path"),
    ("PORTAL_URL", "https://deploy.example.com?portal", "must not have a path"),
    ("PORTAL_URL", "https://me:hush-hush@deploy.example.com", "must hold neither credentials"),
    ("PORTAL_URL", "https://deploy.example.com:port", "begins with https://"),
    ("PORTAL_URL", "https://dep loy.example.com", "begins with https://"),
    ("SESSION_HOURS", "0", "greater than or equal to 1"),
    ("ALLOWED_DOMAINS", "ada@example.com", "must be domains"),
    ("ALLOWED_DOMAINS", "example.com,*.example.com", "must be domains"),
    ("ALLOWED_DOMAINS", "bücher.example", "must be domains"),
    ("ALLOWED_EMAILS", "example.com", "must be e-mail addresses"),
    ("ALLOWED_EMAILS", "ada@grace@example.com", "must be e-mail addresses"),
    ("OPERATOR_EMAILS", "ada", "must be e-mail addresses"),
    ("OIDC_ISSUER", "id.example.com", "begins with https://"),
    ("OIDC_ISSUER", "https://id.example.com/?realm=main", "must not have a query"),
    ("OIDC_ISSUER", "https://id.example.com/#main", "nor a fragment"),
    ("OIDC_CLIENT_ID", "two words", "malformed"),
    ("OIDC_SCOPES", "email profile", "`openid`"),
    ("OIDC_SCOPES", "openid  email", "malformed"),
    ("PROXY_AUTH_ADDRESSES", "traefik", "must be addresses or networks"),
    ("PROXY_AUTH_ADDRESSES", "10.0.0.0/33", "must be addresses or networks"),
    ("PROXY_AUTH_ADDRESSES", "10.0.1.5,0.0.0.0/0", "must not be everybody's"),
    ("PROXY_AUTH_ADDRESSES", "::/0", "must not be everybody's"),
    ("PROXY_AUTH_USER_HEADER", "Remote User", "malformed"),
]


@pytest.mark.parametrize(
    ("name", "value", "wrong"), MALFORMED, ids=[f"{name}={value!r}" for name, value, _ in MALFORMED]
)
def test_a_malformed_one_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, wrong: str):
    line = mistake(monkeypatch, **{name: value})

    assert line.startswith(f"{name} ")
    assert wrong in line
    assert f"; for example {name}=" in line
    for secret in ("hush-hush", "hush-hüsh", "HUSH", value if len(value) > 8 else "hush-hush"):
        assert secret not in line.replace(str((Settings.model_fields[name.lower()].examples or [""])[0]), "")


def test_production_asks_for_a_secret_key(monkeypatch: pytest.MonkeyPatch):
    line = mistake(monkeypatch, APP_ENV=None)
    assert line == "SECRET_KEY is not set; for example SECRET_KEY=$(openssl rand -hex 32)"
    assert mistake(monkeypatch, SECRET_KEY=" , ") == line

    monkeypatch.setenv("SECRET_KEY", "the-newer-key-of-two, the-older-key-of-two")
    monkeypatch.setenv("ALLOW_OPEN_PORTAL", "true")
    assert load_settings().secret_key == ("the-newer-key-of-two", "the-older-key-of-two")


@pytest.mark.parametrize("host", [None, "0.0.0.0", "192.0.2.1", "::", "portal.example"])
def test_an_open_portal_in_production_is_a_decision(monkeypatch: pytest.MonkeyPatch, host: str | None):
    monkeypatch.setenv("SECRET_KEY", "a-key-that-is-only-for-tests")
    if host:
        monkeypatch.setenv("HOST", host)
    monkeypatch.delenv("APP_ENV", raising=False)
    for allowed in (None, "false"):
        if allowed:
            monkeypatch.setenv("ALLOW_OPEN_PORTAL", allowed)
        with pytest.raises(SettingsError, match="AUTH_MODE is open") as refused:
            require_closed(load_settings())

        line = str(refused.value)
        assert line.startswith(
            f"AUTH_MODE is open and HOST is {host or '0.0.0.0'}: whoever reaches this portal could deploy"
        )
        assert "ALLOW_OPEN_PORTAL=true" in line
    monkeypatch.setenv("ALLOW_OPEN_PORTAL", "true")
    require_closed(load_settings())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_an_open_portal_that_only_its_own_machine_reaches_needs_none(host: str):
    secret_key = "a-key-that-is-only-for-tests"

    require_closed(load_settings(app_env="production", secret_key=secret_key, host=host))


@pytest.mark.parametrize("missing", ["OIDC_ISSUER", "OIDC_CLIENT_ID", "PORTAL_URL"])
def test_signing_in_needs_a_provider_and_an_address(monkeypatch: pytest.MonkeyPatch, missing: str):
    line = mistake(monkeypatch, AUTH_MODE="oidc", **{name: value for name, value in OIDC.items() if name != missing})

    assert line.startswith(f"{missing} is not set, and AUTH_MODE=oidc needs it; for example {missing}=")


def test_signing_in_that_lets_nobody_in_is_a_mistake(monkeypatch: pytest.MonkeyPatch):
    line = mistake(monkeypatch, AUTH_MODE="oidc", **{**OIDC, "ALLOWED_DOMAINS": ""})

    assert line.startswith("ALLOWED_DOMAINS, ALLOWED_EMAILS and ALLOWED_GROUPS are not set")
    assert "ALLOWED_DOMAINS=* lets everybody in" in line


@pytest.mark.parametrize("name", ["ALLOWED_EMAILS", "ALLOWED_GROUPS", "OPERATOR_EMAILS", "OPERATOR_GROUPS"])
def test_any_list_lets_somebody_in(monkeypatch: pytest.MonkeyPatch, name: str):
    for each, value in {**OIDC, "AUTH_MODE": "oidc", "ALLOWED_DOMAINS": "", name: "ada@example.com"}.items():
        monkeypatch.setenv(each, value)

    assert load_settings().lets_somebody_in


@pytest.mark.parametrize("name", ["OIDC_ISSUER", "PORTAL_URL"])
def test_signing_in_goes_over_https_in_production(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("SECRET_KEY", "a-key-that-is-only-for-tests")
    plain = {**OIDC, name: OIDC[name].replace("https", "http")}
    line = mistake(monkeypatch, APP_ENV=None, AUTH_MODE="oidc", **plain)

    assert line.startswith(f"{name} must begin with https:// in production; for example {name}=https://")
    monkeypatch.setenv("APP_ENV", "development")
    assert load_settings().auth_mode == "oidc"


def test_a_proxy_is_believed_by_its_address_alone(monkeypatch: pytest.MonkeyPatch):
    line = mistake(monkeypatch, AUTH_MODE="proxy")

    assert line.startswith("PROXY_AUTH_ADDRESSES is not set, and AUTH_MODE=proxy believes nobody else")
    monkeypatch.setenv("PROXY_AUTH_ADDRESSES", "10.0.1.5, 2001:db8::/64")
    assert load_settings().proxy_auth_addresses == ("10.0.1.5", "2001:db8::/64")


def test_an_address_of_the_portal_has_no_slash_at_its_end_and_an_issuer_stays_as_it_is():
    settings = load_settings(portal_url="https://deploy.example.com/", oidc_issuer="https://id.example.com/o/portal/")

    assert settings.portal_url == "https://deploy.example.com"
    assert settings.oidc_issuer == "https://id.example.com/o/portal/"
    assert load_settings(allowed_domains="Example.COM").allowed_domains == ("example.com",)


@pytest.mark.parametrize("name", ["STACK_REGISTRY_USERNAME", "STACK_REGISTRY_PASSWORD"])
def test_half_of_the_registrys_credentials_is_a_mistake(monkeypatch: pytest.MonkeyPatch, name: str):
    line = mistake(monkeypatch, **{name: "hush-hush"})

    assert "STACK_REGISTRY_USERNAME and STACK_REGISTRY_PASSWORD belong together" in line
    assert "hush-hush" not in line


def test_a_log_is_not_kept_longer_than_its_deployment(monkeypatch: pytest.MonkeyPatch):
    line = mistake(monkeypatch, KEEP_EVENTS_DAYS="90", KEEP_DEPLOYMENTS_DAYS="89")

    assert line == (
        "KEEP_DEPLOYMENTS_DAYS is less than KEEP_EVENTS_DAYS, and a log goes with its deployment; "
        "for example KEEP_DEPLOYMENTS_DAYS=90"
    )


@pytest.mark.parametrize(("events", "deployments"), [(90, 90), (0, 30), (90, 0), (0, 0)])
def test_what_is_kept_forever_is_in_nobodys_way(events: int, deployments: int):
    settings = load_settings(keep_events_days=events, keep_deployments_days=deployments)

    keep = Keep.of(settings)
    assert keep.events == (timedelta(days=events) or None)
    assert keep.deployments == (timedelta(days=deployments) or None)


@pytest.mark.parametrize("name", ["EVENTS", "DEPLOYMENTS", "AUDIT", "TOKENS", "ACCOUNTS"])
@pytest.mark.parametrize("days", ["-1", "36501", "a year"])
def test_days_are_a_number_of_less_than_a_century(monkeypatch: pytest.MonkeyPatch, name: str, days: str):
    assert mistake(monkeypatch, **{f"KEEP_{name}_DAYS": days}).startswith(f"KEEP_{name}_DAYS ")


def test_a_file_is_read_with_plain_commas_and_the_environment_beats_it(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
):
    (elsewhere / ".env").write_text(
        "RESERVED_NAMES=one,two\n"
        'SECRET_KEY="first-key-of-the-file,second-key-of-the-file"\n'
        "STACK_PROBE_PATHS=/,/health\n"
        'STACK_VARIABLES={"TZ": "Europe/Amsterdam"}\n'
        "PORT=4000\n"
        "SOMETHING_ELSE=1\n"
    )
    monkeypatch.setenv("PORT", "5000")

    settings = load_settings()

    assert settings.reserved_names == ("one", "two")
    assert settings.secret_key == ("first-key-of-the-file", "second-key-of-the-file")
    assert settings.stack_probe_paths == ("/", "/health")
    assert settings.stack_variables == {"TZ": "Europe/Amsterdam"}
    assert settings.port == 5000


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch):
    secrets = {
        "DOKPLOY_API_TOKEN": "hush-hush-1",
        "STACK_REGISTRY_PASSWORD": "hush-hush-2",
        "SECRET_KEY": "hush-hush-3-long-enough",
        "ADMIN_TOKEN": "hush-hush-4-long-enough",
        "DATABASE_URL": "postgresql+asyncpg://portal:hush-hush-5@db/portal",
        "STACK_VARIABLES": '{"KEY": "hush-hush-6"}',
        "OIDC_CLIENT_SECRET": "hush-hush-7",
    }
    for name, value in {**secrets, "STACK_REGISTRY_USERNAME": "robot"}.items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    assert "hush-hush" not in repr(settings) + str(settings)


def test_settings_are_frozen():
    settings: Any = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(("text", "amount"), [("6291456", 6 * 2**20), ("512m", 2**29), ("2g", 2**31), ("8192k", 2**23)])
def test_memory_in_bytes(text: str, amount: int):
    assert load_settings(stack_memory=text).memory_bytes == amount


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite+aiosqlite:///data/portal.db", Path("data/portal.db")),
        ("sqlite+aiosqlite:////srv/portal.db", Path("/srv/portal.db")),
        ("sqlite+aiosqlite:///:memory:", None),
        ("postgresql+asyncpg://a:b@c/d", None),
    ],
)
def test_where_sqlite_lives(url: str, path: Path | None):
    assert load_settings(database_url=url, secret_key="a-key-that-is-only-for-tests").sqlite_path == path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("traefik:443", "traefik", 443), ("10.0.0.1:80", "10.0.0.1", 80), ("[2001:db8::1]:8443", "2001:db8::1", 8443)],
)
def test_an_address_to_connect_to(text: str, host: str, port: int):
    assert host_and_port(text) == (host, port)
    assert load_settings(stack_probe_address=text).stack_probe_address == text
    Prober(text)


def test_tests_see_no_variable_of_ours(monkeypatch: pytest.MonkeyPatch):
    assert not {name for name in os.environ if name.lower() in Settings.model_fields} - set(REQUIRED)
