"""The Dockerfile and the Compose files: they are well formed, and hand every setting to the portal."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config.settings import Settings, load_settings
from tests import check_dockerfile
from tests.docs.markdown import ROOT, read
from tests.docs.reference import SECRETS
from tests.programs import need_program
from tests.waiting import WAIT_SECONDS


def test_the_dockerfile_is_clean():
    assert check_dockerfile.problems() == []


def test_a_mistake_in_a_dockerfile_is_told_with_its_line(tmp_path: Path):
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM debian\nRUN cd /tmp\n")

    assert check_dockerfile.problems(wrong)[0].startswith("Dockerfile:1: DL3006 warning: ")
    assert check_dockerfile.problems(tmp_path / "none") == ["none is missing"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return loaded


def test_compose_up_is_the_sandbox_alone(compose):
    default = [name for name, service in compose["services"].items() if not service.get("profiles")]

    assert default == ["sandbox"]
    sandbox = compose["services"]["sandbox"]
    assert sandbox["command"] == ["sandbox"]
    assert sandbox["ports"] == ["3000:3000", "3001:3001"]
    assert sandbox["environment"]["DATABASE_URL"].startswith("sqlite+aiosqlite:////tmp/"), (
        "it forgets with its emulator"
    )


def test_compose_services_do_not_fight_for_ports(compose):
    published = [
        port.rpartition(":")[0].rpartition(":")[2]
        for service in compose["services"].values()
        for port in service.get("ports", ())
    ]

    assert len(published) == len(set(published))
    assert {profile for service in compose["services"].values() for profile in service.get("profiles", ())} == {
        "dokploy",
        "postgres",
        "replicas",
        "apart",
    }
    assert compose["services"]["postgres"]["image"].startswith("postgres:17")
    assert "ports" not in compose["services"]["postgres"]


def test_compose_publishes_a_portal_for_its_own_machine_alone(compose):
    """It speaks plain http: what is published on every address is there beside the proxy, without TLS."""
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert name == "sandbox" or port.startswith("127.0.0.1:"), name


def test_compose_has_replicas_and_the_two_sides_apart(compose):
    services = compose["services"]
    of_postgres = [name for name, service in services.items() if "postgres" in service.get("depends_on", ())]

    assert of_postgres == ["portal-pg", "portal-replicas", "portal-web", "portal-runner"]
    for name in of_postgres:
        assert services[name]["environment"] == services["portal-pg"]["environment"]
        assert set(services[name]["profiles"]) <= set(services["postgres"]["profiles"]), "they start together"
    first, last = map(int, services["portal-replicas"]["ports"][0].split(":")[1].split("-"))
    assert last - first + 1 == services["portal-replicas"]["deploy"]["replicas"] == 2
    assert services["portal-web"]["command"] == ["serve", "--web-only"]
    assert services["portal-runner"]["command"] == ["runner"]
    assert "ports" not in services["portal-runner"]
    assert services["portal-runner"]["healthcheck"]["test"] == ["CMD", "python", "-m", "app", "check-runner"]


def test_compose_hands_on_every_setting_and_an_empty_one_counts_as_not_set(compose, monkeypatch: pytest.MonkeyPatch):
    handed = compose["services"]["portal"]["environment"]

    assert set(handed) == {name.upper() for name in Settings.model_fields} - {"HOST", "DATABASE_URL"}
    assert compose["services"]["portal-pg"]["environment"].keys() - handed.keys() == {"DATABASE_URL"}
    required = {
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "DOKPLOY_URL": "http://dokploy:3000",
        "DOKPLOY_API_TOKEN": "a-key",
    }
    required |= {"STACK_DOMAIN_SUFFIX": "ai.example.com", "STACK_IMAGE": "image:1", "ALLOW_OPEN_PORTAL": "true"}
    for name, value in handed.items():
        assert value in {f"${{{name}:-}}", "3000"}
        monkeypatch.setenv(name, required.get(name, "3000" if name == "PORT" else ""))
    assert load_settings(_env_file=None) == load_settings(
        _env_file=None, **{name.lower(): value for name, value in required.items()}
    )


@pytest.mark.parametrize("everything", [False, True])
def test_compose_with_secrets_in_files(compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool):
    """The second file, on top of the first, is enough beside what is no secret; with its comments taken out, too."""
    text = read("docker-compose.secrets.yml")
    head, services, rest = text.partition("services:\n")
    override = yaml.safe_load(
        head + services + (re.sub(r"^( +)# ", r"\1", rest, flags=re.MULTILINE) if everything else rest)
    )
    (name,) = override["services"]
    given = override["services"][name]["environment"]
    values = {"SECRET_KEY": "a-key-that-is-only-for-tests", "DOKPLOY_API_TOKEN": "a-key", "REDIS_URL": "redis://redis"}

    assert {variable.removesuffix("_FILE") for variable in given} <= SECRETS
    assert set(given.values()) == {f"/run/secrets/{secret}" for secret in override["secrets"]}
    assert override["services"][name]["secrets"] == list(override["secrets"])
    for secret, kept in override["secrets"].items():
        assert kept == {"file": f"./secrets/{secret}"}
        (tmp_path / secret).write_text(values.get(secret.upper(), "another-long-random-text") + "\n")
    for variable in compose["services"][name]["environment"]:
        monkeypatch.setenv(variable, "")
    for variable, path in given.items():
        monkeypatch.setenv(variable, str(tmp_path / Path(path).name))
    settings = load_settings(
        _env_file=None, dokploy_url="http://dokploy:3000", stack_domain_suffix="ai.example", stack_image="x", port=1
    )
    assert (settings.app_env, settings.secret_key) == ("production", (values["SECRET_KEY"],))
    assert settings.dokploy_api_token.get_secret_value() == values["DOKPLOY_API_TOKEN"]
    assert (settings.redis_url is not None, settings.oidc_client_secret is not None) == (everything, everything)


def test_compose_itself_accepts_the_files():
    docker = shutil.which("docker")
    is_plugin = (
        docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    )
    compose = [str(docker), "compose"] if is_plugin else [need_program("docker-compose")]
    both = ["-f", "docker-compose.yml", "-f", "docker-compose.secrets.yml"]
    for files in ([], both):
        command = [*compose, *files, "--profile", "*", "config", "--quiet"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=WAIT_SECONDS)
