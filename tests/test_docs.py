"""The documents are held to the code: what they name exists, what exists is named, and what they show really happens."""

import ast
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from fastapi.routing import APIRoute
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy.exc import DBAPIError
from starlette.routing import Mount, Route

from app.audit import COMMAND_LINE, Action, Trail
from app.cli import build_app
from app.config.secret_files import may_come_from_file
from app.config.settings import Settings, load_settings, require_closed
from app.deployments.events import Event
from app.errors import PROBLEMS
from app.identity import SCOPE_LABELS, Scope
from app.main import create_app
from app.sandbox import SandboxSettings
from app.store.engine import Database
from app.store.errors import Reason
from app.store.migrations import migrate
from app.web.auth.authorization import RULES
from app.web.effects import Effect
from app.web.problems import STORE_CODES
from tests import check_dockerfile
from tests.ports import reserve_ports
from tests.programs import need_program
from tests.providers import serve_scripted_provider
from tests.servers import TOKEN, Emulator, PortalServer, http_client, portal_settings
from tests.waiting import WAIT_SECONDS, wait_until

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ("docs/screenshot.png", "docs/screenshot-ar.png")
DOCUMENTS = ("README.md", "DEPLOYMENT.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def section(document: str, heading: str) -> str:
    """The text of a section, down to the next heading of its rank or above."""
    text = read(document)
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, flags=re.MULTILINE)
    assert found, f"{document} has no section {heading!r}"
    rest = text[found.end() :]
    end = re.search(
        rf"^#{{1,{len(found[1])}}} ",
        re.sub(r"```.*?```", lambda block: "x" * len(block[0]), rest, flags=re.DOTALL),
        flags=re.MULTILINE,
    )
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table's rows, without heads."""
    lines = text.splitlines()
    rules = {number for number, line in enumerate(lines) if line.startswith("| ---")}
    heads = {number - 1 for number in rules}
    found = [line for number, line in enumerate(lines) if line.startswith("| ") and number not in rules | heads]
    return [[cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" | ")] for line in found]


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks: language and content."""
    return [
        (language, body)
        for _, language, body in re.findall(r"^( *)```(\w+)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    ]


def code(text: str) -> str:
    """What stands in blocks and between backticks."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([body for _, body in blocks(text)] + spans)


# Settings


def default_of(field: FieldInfo) -> str:
    """A setting's default as an operator would write it; empty where there is none."""
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


FIELDS: dict[str, FieldInfo] = {
    **{name.upper(): field for name, field in Settings.model_fields.items()},
    **{f"SANDBOX_{name}": field for name, field in SandboxSettings.model_fields.items()},
}


SECRETS = {name for name, field in FIELDS.items() if may_come_from_file(field)}


def sentence(name: str) -> str:
    return re.sub(r"\s+", " ", FIELDS[name].description or "")


def test_the_table_of_settings_is_complete_and_true():
    table = {cells[0].strip("`"): cells[1:] for cells in rows(section("DEPLOYMENT.md", "Settings"))}

    assert sorted(table) == sorted(FIELDS)
    for name, (default, meaning) in table.items():
        expected = default_of(FIELDS[name])
        shown = f"`{expected}`" if expected else ("required" if FIELDS[name].is_required() else "none")
        assert (name, default) == (name, shown)
        assert meaning == sentence(name), name


def test_the_example_of_an_environment_is_complete_and_true():
    text = read(".env.example")
    lines = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, flags=re.MULTILINE))
    words = re.sub(r"\s+", " ", re.sub(r"^# ", "", text, flags=re.MULTILINE))

    assert sorted(lines) == sorted(FIELDS)
    for name, value in lines.items():
        assert (name, value) == (name, default_of(FIELDS[name]))
        assert sentence(name) in words, f"{name} is not explained as in the code"
        wanted = FIELDS[name].is_required() or name in {"SECRET_KEY", "ALLOW_OPEN_PORTAL"}
        assert bool(re.search(rf"^{name}=", text, flags=re.MULTILINE)) == wanted, (
            f"{name}: only what must be decided is set"
        )


def test_the_example_with_every_default_written_out_is_the_default(tmp_path: Path):
    required = {
        "DOKPLOY_URL": "https://dokploy.example.com",
        "DOKPLOY_API_TOKEN": "a-key-of-dokploy",
        "STACK_DOMAIN_SUFFIX": "ai.example.com",
        "STACK_IMAGE": "ghcr.io/example/image:1",
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "ALLOW_OPEN_PORTAL": "true",
    }
    text = re.sub(r"^#([A-Z][A-Z0-9_]*=)", r"\1", read(".env.example"), flags=re.MULTILINE)
    for name, value in required.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    written = tmp_path / "env"
    written.write_text(text)

    plain = {name.lower(): value for name, value in required.items()}
    assert load_settings(_env_file=written) == load_settings(_env_file=None, **plain)


def test_each_documented_way_in_is_accepted(monkeypatch: pytest.MonkeyPatch):
    ways = [body for language, body in blocks(section("DEPLOYMENT.md", "Who may use the portal")) if language == "ini"]
    assert {re.match(r"AUTH_MODE=(\w+)\n", way)[1] for way in ways} == {"oidc", "proxy"}  # type: ignore[index]
    for way in ways:
        given = dict(line.split("=", 1) for line in way.splitlines())
        given |= {"DOKPLOY_URL": "http://dokploy:3000", "DOKPLOY_API_TOKEN": "a-key", "STACK_IMAGE": "image:1"}
        given |= {"STACK_DOMAIN_SUFFIX": "ai.example.com", "SECRET_KEY": "a-key-that-is-only-for-tests"}
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            load_settings(_env_file=None)


def test_the_portal_has_one_address_in_the_documents():
    """The lists beside each other are for one portal, and its redirect address must be that of its route."""
    text = read("DEPLOYMENT.md")
    named = set(re.findall(r"^ *PORTAL_URL=https://(\S+)$", text, flags=re.MULTILINE))
    named |= set(re.findall(r"Host\(`([^`]+)`\)", text)) | set(re.findall(r"`https://([^/`]+)/sign-in/callback`", text))

    assert len(named) == 1
    assert f"Add a domain: `{named.pop()}`" in text


def test_what_inside_dokploy_needs_is_enough_to_start(monkeypatch: pytest.MonkeyPatch):
    (example,) = (
        body for language, body in blocks(section("DEPLOYMENT.md", "Inside Dokploy (recommended)")) if language == "ini"
    )
    for line in example.splitlines():
        monkeypatch.setenv(*line.strip().split("=", 1))
    settings = load_settings(_env_file=None, dokploy_api_token="a-key")

    require_closed(settings)
    assert (settings.app_env, settings.allow_open_portal) == ("production", False)


def test_variables_in_the_documents_exist():
    of_scripts = {"ANSWER", "ID", "KEY", "PASSWORD", "PWD", "ORGANIZATION", "TOKEN"}
    of_tests = {"CONTRACT_IMAGE", "PYTEST_ARGS", "MATRIX_ARGS", "BENCH_ARGS", "ANYWHERE_ARGS"}
    of_tests |= {"TEST_KEEP_FOLDER", "TEST_LEAVES_NOTHING", "TEST_WAIT_SECONDS"}
    of_others = {"OPENCODE_SERVER_PASSWORD", "POSTGRES_PASSWORD"}
    known = set(FIELDS) | {f"{name}_FILE" for name in SECRETS} | of_scripts | of_tests | of_others
    for document in DOCUMENTS:
        named = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", code(read(document))))
        named |= set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b", read(document)))
        assert named - known == set(), document


def test_every_secret_that_may_come_from_a_file_is_named():
    text = section("DEPLOYMENT.md", "Secrets from files").strip().partition("\n\n")[0]

    assert {name.removesuffix("_FILE") for name in re.findall(r"`([A-Z][A-Z_]+)[`=]", text)} == SECRETS


# Commands


def test_every_target_of_the_makefile_is_described_and_every_one_described_exists():
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), flags=re.MULTILINE)) | {"help"}
    table = {
        found[1]
        for cells in rows(section("CONTRIBUTING.md", "Commands"))
        if (found := re.match(r"`make ([\w-]+)`", cells[0]))
    }

    assert table == targets
    for document in (*DOCUMENTS, "docker-compose.yml", ".ci/run"):
        text = code(read(document)) if document.endswith(".md") else read(document)
        for line in re.findall(r"(?:^|[`&;|] *|=\S+ )make ((?:[a-z-]+ ?)+)(?=$|[\s`#&;P])", text, flags=re.MULTILINE):
            for word in line.split():
                assert word in targets, f"{document}: make {word}"


def test_every_command_is_described_and_every_one_described_exists():
    commands = {
        command.name or command.callback.__name__ for command in build_app().registered_commands if command.callback
    }
    table = {
        found[1]
        for cells in rows(section("CONTRIBUTING.md", "Commands"))
        if (found := re.match(r"`python -m app ([\w-]+)`", cells[0]))
    }

    assert table == commands
    for document in (*DOCUMENTS, "Dockerfile", "Makefile"):
        for word in re.findall(r"(?:-m app|ai-stack-deployer) ([a-z][a-z-]{3,})", read(document)):
            if document.endswith(".md") or "-m app" in read(document):
                assert word in commands | {"python"}, f"{document}: {word}"


def test_every_scope_is_described_and_every_one_described_exists():
    described = {cells[0].strip("`"): cells[1] for cells in rows(section("DEPLOYMENT.md", "Tokens for programs"))}

    assert list(described) == list(Scope)
    assert described == SCOPE_LABELS


def test_a_scope_that_nothing_needs_is_told_as_such():
    needed = {rule.scope for rule in RULES.values()} | {Scope.ADMIN}  # what is for operators asks who one is

    unused = re.findall(r"No call needs `([^`]+)` yet", section("DEPLOYMENT.md", "Tokens for programs"))
    assert unused == [scope for scope in Scope if scope not in needed]


# Routes, events, codes, rooms, layers


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("docs")
    return create_app(portal_settings("http://127.0.0.1:9", f"sqlite+aiosqlite:///{folder / 'portal.db'}"))


def routes_of(holder: Any) -> Iterator[str]:
    for route in holder.routes:
        if hasattr(route, "original_router"):  # how FastAPI keeps a router that was included
            yield from routes_of(route.original_router)
        elif isinstance(route, Mount):
            yield f"GET {route.path}"
        elif isinstance(route, Route | APIRoute):
            for method in (route.methods or set()) - {"HEAD"}:
                yield f"{method} {route.path_format}"


def test_every_route_is_in_the_architecture_and_every_one_there_exists(application):
    described = {cells[0].strip("`") for cells in rows(section("ARCHITECTURE.md", "The HTTP face"))}

    assert described == set(routes_of(application))


def all_events(of: type[Event] = Event) -> Iterator[type[Event]]:
    for event in of.__subclasses__():
        yield event
        yield from all_events(event)


def test_every_event_is_in_the_architecture_with_its_parameters():
    described = {cells[0].strip("`"): cells[2:] for cells in rows(section("ARCHITECTURE.md", "The event stream"))}
    events = {event.type: event for event in all_events()}

    assert set(described) == set(events) | {"heartbeat", "waiting", "gap", "pause"}
    for name, event in events.items():
        parameters = set(re.findall(r"`(\w+)`", " ".join(described[name])))
        assert parameters == {field.name for field in fields(event)}, name


def test_every_effect_is_in_the_architecture_with_its_fields():
    described = {cells[0].strip("`"): cells[1] for cells in rows(section("ARCHITECTURE.md", "Effects"))}
    effects = {kind.__dataclass_fields__["effect"].default: kind for kind in get_args(Effect)}

    assert set(described) == set(effects)
    for name, kind in effects.items():
        assert re.findall(r"`(\w+)`", described[name]) == [each.name for each in fields(kind)[1:]], name


def test_the_codes_are_served_by_the_portal_and_linked(application):
    assert "GET /docs" in routes_of(application)
    for document in ("README.md", "DEPLOYMENT.md", "ARCHITECTURE.md"):
        assert "`/docs`" in read(document), document


def test_troubleshooting_has_every_code_that_an_operator_mends_and_no_other_that_does_not_exist():
    described = [cells[0].strip("`") for cells in rows(section("DEPLOYMENT.md", "Troubleshooting"))]

    assert len(described) == len(set(described))
    assert set(described) <= set(PROBLEMS)
    assert {name for name, problem in PROBLEMS.items() if problem.who == "operator"} <= set(described)


def test_every_trouble_of_the_store_is_described_with_its_code():
    table = [cells[:2] for cells in rows(section("DEPLOYMENT.md", "When the store fails")) if len(cells) == 4]

    codes = {reason: f"`{STORE_CODES.get(reason, 'store_unavailable')}`" for reason in get_args(Reason)}
    assert {trouble.strip("`"): code for trouble, code in table} == {**codes, "schema": "none"}


def modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / "app").rglob("*.py"))


def test_every_room_is_in_the_architecture_and_every_one_there_exists():
    described = [cells[0].strip("`") for cells in rows(section("ARCHITECTURE.md", "Rooms"))]

    assert sorted(described) == [str(path) for path in modules() if path.name != "__init__.py"]
    for folder in {path.parent for path in modules() if path.name != "__init__.py"} - {Path("app")}:
        assert f"`{folder}/`" in section("ARCHITECTURE.md", "Rooms")


@pytest.mark.parametrize("path", modules(), ids=str)
def test_every_module_says_first_what_it_is_for(path: Path):
    text = (ROOT / path).read_text()

    assert text.startswith('"""'), f"{path} does not begin with its docstring"
    assert (ast.get_docstring(ast.parse(text)) or "").strip()


def test_the_layers_are_those_that_are_checked():
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = ["\n".join(each["layers"]) + "\n" for each in contracts if each["type"] == "layers"]

    assert [body for _, body in blocks(section("ARCHITECTURE.md", "Layers"))] == layers


# Links and style


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str):
    text = re.sub(r"```.*?```", "", read(document), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, place = target.partition("#")
        assert not path or (ROOT / path).exists(), f"{document}: {target}"
        if place:
            headings = re.findall(
                r"^#+ (.+)$", re.sub(r"```.*?```", "", read(path or document), flags=re.DOTALL), flags=re.MULTILINE
            )
            assert place in {anchor(heading) for heading in headings}, f"{document}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_are_plain(document: str):
    prose = re.sub(r"```.*?```|`[^`\n]*`|!\[", "", read(document), flags=re.DOTALL)
    assert "!" not in prose, "no exclamation marks"


# Containers


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
    override = yaml.safe_load(head + services + (re.sub(r"^( +)# ", r"\1", rest, flags=re.M) if everything else rest))
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


def test_ci_runs_what_a_person_runs():
    script = read(".ci/run")

    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "set -euo pipefail" in script
    assert re.findall(r"^(?:CI=true )?make [\w-]+$", script, flags=re.MULTILINE) == [
        "make check",
        "CI=true make test-all",
    ]
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True, timeout=WAIT_SECONDS)
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert {"run": ".ci/run"} in workflow["jobs"]["check-and-test"]["steps"]
    assert {"run": "make audit"} in workflow["jobs"]["audit"]["steps"]


def test_hooks_are_local_and_each_is_a_part_of_make_check():
    config = yaml.safe_load(read(".pre-commit-config.yaml"))
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", read("Makefile"), flags=re.MULTILINE)
    assert check
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in check[1].splitlines()]

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    assert len(entries) == len(commands)
    for entry in entries:
        assert any(command.startswith(entry) for command in commands), entry


def test_nothing_private_is_named():
    if not (ROOT / ".git").exists():
        pytest.skip("private names in the tracked files: run the tests in a clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Put together here, so that this file does not name them either.
    words = (
        "../" + "shared",
        "/work" + "/shared",
        "/work" + "/main",
        "pypi" + ".org",
        "python" + "hosted",
        "registry" + ".npmjs",
    )
    private = re.compile("|".join(re.escape(word) for word in words))
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.suffix not in {".png", ".woff2"} and path.exists():
            assert not private.search(path.read_text()), name


# What the documents show, done


def run_walk(portal_port: int, commands: list[str], folder: Path) -> list[str]:
    """Run blocks of commands in one shell, as a reader would type them, and give what each printed."""
    mark = "=== the next block ==="
    script = f"\nprintf '\\n{mark}\\n'\n".join(commands)
    script = script.replace("localhost:3000", f"localhost:{portal_port}").replace(
        "localhost:3001", f"localhost:{portal_port + 1}"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-u"],
        input=script,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * WAIT_SECONDS,  # all of its commands together
        check=False,
    )
    assert done.stderr == ""
    return [part.strip("\n") for part in done.stdout.split(f"\n{mark}\n")]


def settled(text: str, port: int) -> list[str]:
    """Lines in which whatever differs from run to run is the same, in one order: two steps run side by side."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    text = re.sub(r"asd_[\w-]{32}", "KEY", text)
    text = text.replace(f"localhost:{port + 1}", "localhost:3001")
    # The emulator may be a moment faster or slower than the portal asks. The log of one that is slower is read.
    passing = ("The container is starting.", "In Dokploy's line", "Pulling ")
    return sorted(line for line in text.splitlines() if not line.startswith(passing))


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[int]:
    """A sandbox as `make demo` starts it, and its port."""
    need_program("curl")
    port = reserve_ports(2)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "sandbox"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def reaches_dokploy() -> bool:
        assert process.poll() is None
        with suppress(httpx.TransportError):
            return bool(client.get(f"http://127.0.0.1:{port}/health").json()["dokploy"]["reachable"])
        return False

    try:
        with http_client() as client:
            wait_until(reaches_dokploy, pause=0.05)
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def test_the_walk_of_the_readme_does_what_it_says(sandbox: int, tmp_path: Path):
    walk = blocks(section("README.md", "A walk through the API"))
    commands = [body for language, body in walk if language == "sh"]
    expected = [body for language, body in walk if language != "sh"]
    assert [language == "sh" for language, _ in walk] == [True, False] * len(commands)

    shown = run_walk(sandbox, commands, tmp_path)

    assert len(shown) == len(expected)
    for command, said, promised in zip(commands, shown, expected, strict=True):
        assert settled(said, sandbox) == settled(promised, 3000), command


@pytest.mark.parametrize("picture", SCREENSHOTS)
def test_a_screenshot_is_a_picture(picture: str):
    assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
    assert f"]({picture})" in read("README.md")


def test_the_first_screen_names_what_there_is():
    first = read("README.md")[:1500]

    for word in ("make demo", "make test", "docker compose up", "docs/screenshot.png", "Python 3.11"):
        assert word in first


def test_a_key_is_made_as_the_document_says_and_works(
    emulator: Emulator, start_portal: Callable[..., PortalServer], tmp_path: Path
):
    command = next(
        body for _, body in blocks(section("DEPLOYMENT.md", "Before the first start")) if "createApiKey" in body
    )
    # The emulator knows no cookies; "an existing key can make one as well".
    command = command.replace("-b dokploy.cookies", '-H "x-api-key: sandbox-token"')
    need_program("curl")
    environment = {"PATH": os.environ["PATH"], "DOKPLOY_URL": emulator.url}
    done = subprocess.run(
        ["bash", "-eu"],
        input=command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    found = re.fullmatch(r'"key":"([^"]+)"\n', done.stdout)
    assert found, done.stdout

    portal = start_portal(dokploy_api_token=found[1])
    for name in ("ada", "bob"):  # more calls than a limited key allows
        assert portal.wait(portal.deploy(name)["deploymentId"])["conclusion"] == "succeeded"


def test_the_check_prints_what_the_document_shows(emulator: Emulator, tmp_path: Path):
    (shown,) = (body for language, body in blocks(section("DEPLOYMENT.md", "The check")) if language == "text")
    (example,) = (
        body for language, body in blocks(section("DEPLOYMENT.md", "Inside Dokploy (recommended)")) if language == "ini"
    )
    given = dict(line.strip().split("=", 1) for line in example.splitlines())
    issuer = given["OIDC_ISSUER"]
    with serve_scripted_provider() as provider:
        given |= {"DOKPLOY_URL": emulator.url, "DOKPLOY_API_TOKEN": TOKEN, "OIDC_ISSUER": provider.issuer}
        # In production the provider's address would have to be https.
        given |= {"APP_ENV": "development"}
        done = subprocess.run(
            [sys.executable, "-m", "app", "check"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=True,
        )

    assert done.stdout == shown.replace("http://dokploy:3000", emulator.url).replace(issuer, provider.issuer)
    assert done.stderr == ""


def test_dokploys_token_can_be_changed(emulator: Emulator, start_portal: Callable[..., PortalServer]):
    body = {"name": "portal", "rateLimitEnabled": False, "metadata": {"organizationId": "any"}}
    made = httpx.post(
        f"{emulator.url}/api/user.createApiKey",
        json=body,
        headers={"x-api-key": TOKEN},
        timeout=WAIT_SECONDS,
        trust_env=False,
    )
    before = start_portal()
    key = before.deploy("ada")["manageKey"]
    before.stop()

    after = start_portal(dokploy_api_token=made.json()["key"])

    answer = after.client.delete("/api/stack/ada", headers={"authorization": f"Bearer {key}"})
    assert answer.json()["removed"]


def test_a_wrong_token_is_told_in_health(start_portal: Callable[..., PortalServer]):
    portal = start_portal(dokploy_api_token="not-the-token")

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert record["problem"]["code"] == "dokploy_key_refused"
    assert portal.client.get("/health").json()["dokploy"]["trouble"] == "key_refused"


def test_a_backup_made_as_the_document_says_is_the_whole_record(
    start_portal: Callable[..., PortalServer], tmp_path: Path
):
    text = section("DEPLOYMENT.md", "Backup and restore")
    found = re.search(r'python -c "(import sqlite3; .+)"\n', text)
    assert found
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    portal = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/one/portal.db")
    accepted = portal.deploy("ada")
    portal.wait(accepted["deploymentId"])
    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    password = portal.client.get("/api/stack/ada", headers=headers).json()["password"]

    subprocess.run(
        [sys.executable, "-c", found[1].replace("/data/", f"{tmp_path}/one/")], check=True, timeout=WAIT_SECONDS
    )
    portal.stop()
    (tmp_path / "one" / "backup.db").rename(tmp_path / "two" / "portal.db")

    with sqlite3.connect(tmp_path / "two" / "portal.db") as restored:
        assert restored.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    restored.close()
    again = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/two/portal.db")
    assert again.client.get("/api/stack/ada", headers=headers).json()["password"] == password
    assert again.client.delete("/api/stack/ada", headers=headers).json()["removed"]


def test_a_token_is_made_and_used_as_the_document_says(start_portal: Callable[..., PortalServer], tmp_path: Path):
    need_program("curl")
    make, use, *_ = (body for language, body in blocks(section("DEPLOYMENT.md", "Tokens for programs")))
    portal = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/portal.db")
    settings = {"DATABASE_URL": portal.settings.database_url, "SECRET_KEY": portal.settings.secret_key[0]}
    settings |= {"DOKPLOY_URL": portal.settings.dokploy_base, "DOKPLOY_API_TOKEN": TOKEN}
    settings |= {"STACK_DOMAIN_SUFFIX": "localhost", "STACK_IMAGE": portal.settings.stack_image}
    start, follow = use.replace("https://portal.ai.example.com", str(portal.client.base_url).rstrip("/")).splitlines()
    script = [
        "TOKEN=$(" + make.strip().replace("docker exec ai-stack-deployer python", shlex.quote(sys.executable)) + ")",
        f'ID=$({start} | sed -E \'s/.*"deploymentId":"([^"]+)".*/\\1/\')',
        follow,
    ]

    done = subprocess.run(
        ["bash", "-eu"],
        input="\n".join(script),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("ada is ready" in event.get("message", "") for event in events)


@pytest.mark.anyio
async def test_what_is_old_on_the_trail_is_taken_out_as_the_document_says(any_database_url: str):
    scripts = [body for language, body in blocks(section("DEPLOYMENT.md", "The audit trail")) if language == "sql"]
    script = scripts[0 if any_database_url.startswith("sqlite") else 1]
    database = Database(any_database_url)
    await migrate(database)
    trail = Trail(database)

    async def run(statements: str) -> None:
        await database.write(lambda connection: [connection.exec_driver_sql(each) for each in statements.splitlines()])

    await trail.refused(COMMAND_LINE, Action.DEPLOY, "sign_in_needed")
    await run(script.replace("2026-01-01", "2000-01-01"))
    assert len(await trail.entries(limit=10)) == 1, "it is not as old as that"
    await run(script.replace("2026-01-01", "9999-01-01"))
    assert await trail.entries(limit=10) == []

    await trail.refused(COMMAND_LINE, Action.DEPLOY, "sign_in_needed")
    with pytest.raises(DBAPIError, match="the audit trail is only added to"):
        await run("DELETE FROM audit")
    assert len(await trail.entries(limit=10)) == 1
    await database.close()


def test_a_secret_key_can_be_changed_while_the_old_one_is_kept(start_portal: Callable[..., PortalServer]):
    old, new = "the-old-key-of-this-test", "the-new-key-of-this-test"
    before = start_portal(secret_key=old)
    accepted = before.deploy("ada")
    before.wait(accepted["deploymentId"])
    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    password = before.client.get("/api/stack/ada", headers=headers).json()["password"]
    before.stop()

    after = start_portal(secret_key=f"{new},{old}")

    assert after.client.get("/api/stack/ada", headers=headers).json()["password"] == password
    assert after.client.delete("/api/stack/ada", headers=headers).json()["removed"]
