"""Planning: everything is decided before anything is done, and the plan holds no secret."""

import json
from typing import Any

import pytest

from app.config.settings import Settings
from app.errors import PortalError
from app.stacks.names import DeploymentRequest
from app.stacks.plan import Plan, declare, make_plan, registry_of, version_of
from app.stacks.templates import built_in_template
from tests.servers import portal_settings


def settings(**values: Any) -> Settings:
    defaults = {"certificate_mode": "wildcard", "stack_probe_address": None, "stack_domain_suffix": "ai.example"}
    return portal_settings("http://dokploy:3000", "sqlite+aiosqlite:///x.db", **{**defaults, **values})


def plan(request: DeploymentRequest | None = None, **values: Any) -> Plan:
    chosen = settings(**values)
    return make_plan(request or DeploymentRequest("ada"), built_in_template(chosen), chosen)


def test_every_name_follows_from_the_stacks():
    decided = plan()

    assert (decided.project, decided.application) == ("ada", "ada")
    assert (decided.host, decided.url) == ("ada.ai.example", "https://ada.ai.example")
    assert (decided.volume, decided.volume_path) == ("portal-ai-workspace-ada", "/workspace")
    assert decided.image == "ghcr.io/example/oh-my-opencode:1.0"
    assert decided.port == 8080
    assert decided.variables == ("OPENCODE_SERVER_PASSWORD",)
    assert decided.alive == {401}


@pytest.mark.parametrize(
    ("mode", "https", "kind", "resolver"),
    [
        ("wildcard", True, "none", None),
        ("letsencrypt", True, "letsencrypt", None),
        ("resolver:dns", True, "custom", "dns"),
        ("none", False, "none", None),
    ],
)
def test_certificates_in_dokploys_words(mode: str, https: bool, kind: str, resolver: str | None):
    decided = plan(certificate_mode=mode)

    assert (decided.https, decided.certificate_type, decided.certificate_resolver) == (https, kind, resolver)
    assert decided.url.startswith("https://" if https else "http://")
    assert decided.warnings == (() if https else ("plain_http",))


def test_a_port_of_its_own_is_part_of_the_address_but_not_of_the_host():
    decided = plan(stack_public_port=8443)

    assert (decided.host, decided.url) == ("ada.ai.example", "https://ada.ai.example:8443")


def test_limits_are_numbers():
    decided = plan(stack_memory="512m", stack_cpus=0.5)

    assert (decided.memory_bytes, decided.cpus) == (512 * 2**20, 0.5)


def test_the_volumes_pattern_is_configurable():
    assert plan(stack_volume="work.{name}.v1").volume == "work.ada.v1"


def test_only_the_names_of_variables_are_planned():
    decided = plan(stack_variables={"TOKEN": "hush-hush", "A": "1"})

    assert decided.variables == ("A", "OPENCODE_SERVER_PASSWORD", "TOKEN")
    assert "hush-hush" not in json.dumps(decided.to_json()) + repr(decided)


def test_no_password_of_the_registry_is_planned():
    chosen = settings(
        stack_registry_url="ghcr.io", stack_registry_username="robot", stack_registry_password="hush-hush"
    )
    decided = make_plan(DeploymentRequest("ada"), built_in_template(chosen), chosen)

    assert decided.registry_url == "ghcr.io"
    assert "hush-hush" not in json.dumps(decided.to_json())
    registry = registry_of(chosen)
    assert registry is not None
    assert (registry.url, registry.username, registry.password) == ("ghcr.io", "robot", "hush-hush")
    assert "hush-hush" not in repr(registry)
    assert registry_of(settings()) is None


def test_docker_hub_needs_no_url():
    registry = registry_of(settings(stack_registry_username="robot", stack_registry_password="hush-hush"))
    assert registry is not None
    assert registry.url == ""


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (DeploymentRequest("ada", template="wordpress"), "template_unknown", "template"),
        (DeploymentRequest("ada", inputs={"b": "1", "a": "2"}), "input_unknown", "inputs"),
    ],
)
def test_what_is_refused(request_: DeploymentRequest, code: str, field: str):
    with pytest.raises(PortalError) as refused:
        plan(request_)

    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_variable_that_cannot_be_said_is_refused_before_anything_is_made():
    with pytest.raises(PortalError) as refused:
        plan(stack_variables={"TOKEN": "${{project.X}}"})

    assert refused.value.code == "variable_unsayable"


def test_a_plan_survives_the_store():
    decided = plan(stack_variables={"A": "1"}, certificate_mode="resolver:dns", stack_probe_paths="/,/x")

    assert Plan.from_json(json.loads(json.dumps(decided.to_json()))) == decided


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("ghcr.io/example/opencode:0.6.4", "0.6.4"),
        ("opencode", "latest"),
        ("localhost:5000/opencode", "latest"),
        ("localhost:5000/opencode:1", "1"),
        ("ghcr.io/example/opencode@sha256:" + "9f2c" * 16, "sha256:9f2c9f2c9f2c"),
        ("ghcr.io/example/opencode:1@sha256:" + "9f2c" * 16, "sha256:9f2c9f2c9f2c"),
    ],
)
def test_which_version_an_image_is(image: str, version: str):
    assert version_of(image) == version


def test_what_is_declared_has_patterns_and_no_value():
    chosen = settings(stack_variables={"TOKEN": "hush-hush"}, stack_public_port=8443, certificate_mode="resolver:dns")
    request = DeploymentRequest("ada", inputs={"key": "hush-too"})

    declared = declare(request, built_in_template(chosen))

    assert (declared["name"], declared["inputs"]) == ("ada", ["key"])
    assert (declared["address"], declared["certificate"]) == ("https://{name}.ai.example:8443", "resolver:dns")
    assert (declared["volume"], declared["volume_path"]) == ("portal-ai-workspace-{name}", "/workspace")
    assert declared["variables"] == ["OPENCODE_SERVER_PASSWORD", "TOKEN"]
    assert "hush" not in json.dumps(declared)
