"""The command line as people meet it: in a process of its own, by its output, exit status and what it leaves behind."""

import re
import signal
import socket

import httpx
import pytest

from tests.acceptance.conftest import Started
from tests.ports import reserve_port, reserve_ports
from tests.servers import http_client
from tests.waiting import WAIT_SECONDS

REQUIRED = {
    "SECRET_KEY": "a-key-that-is-only-for-tests",
    "DOKPLOY_URL": "http://127.0.0.1:9",
    "DOKPLOY_API_TOKEN": "the-token-of-this-test",
    "STACK_DOMAIN_SUFFIX": "ai.example.com",
    "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
}
# On every address of this machine, as in a container.
PORTAL = {**REQUIRED, "ALLOW_OPEN_PORTAL": "true"}


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_missing_setting_ends_the_start_with_one_line(portal_command, missing: str):
    process = portal_command("serve", **{name: value for name, value in PORTAL.items() if name != missing})

    assert process.wait() == 1
    lines = process.output.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"error: {missing} is not set; for example {missing}=")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "many", "PORT"),
        ("PORT", "70000", "PORT"),
        ("DOKPLOY_URL", "https://dokploy.example.com/api", "DOKPLOY_URL must not end with /api"),
        ("STACK_DOMAIN_SUFFIX", "not a host", "STACK_DOMAIN_SUFFIX is malformed"),
        ("CERTIFICATE_MODE", "resolver:", "CERTIFICATE_MODE is malformed"),
        ("STACK_MEMORY", "1m", "STACK_MEMORY must be at least 6m"),
        ("STACK_VARIABLES", "TZ=UTC", "STACK_VARIABLES"),
        ("SECRET_KEY", "short-sec", "SECRET_KEY each key must have at least 16 characters"),
        ("DATABASE_URL", "mysql://portal:hunter2@db/portal", "DATABASE_URL is malformed"),
        ("STACK_REGISTRY_PASSWORD", "hunter2", "STACK_REGISTRY_USERNAME and STACK_REGISTRY_PASSWORD belong together"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(portal_command, name: str, value: str, says: str):
    process = portal_command("serve", **{**PORTAL, name: value})

    assert process.wait() == 1
    lines = process.output.splitlines()
    assert len(lines) == 1, lines
    assert says in lines[0]
    assert value not in lines[0]


def test_an_open_portal_in_production_is_a_decision(portal_command):
    process = portal_command("serve", **REQUIRED)

    assert process.wait() == 1
    (line,) = process.output.splitlines()
    assert line.startswith("error: AUTH_MODE is open and HOST is 0.0.0.0: whoever reaches this portal could deploy")
    assert "ALLOW_OPEN_PORTAL=true" in line


def test_serve_starts_without_dokploy_and_ends_on_sigterm(fresh_portal_command):
    port = reserve_port()
    process = fresh_portal_command("serve", "--port", str(port), **PORTAL)

    health = process.answers(f"http://127.0.0.1:{port}/health").json()

    assert health["status"] == "healthy"
    assert process.terminate() == 0
    assert REQUIRED["DOKPLOY_API_TOKEN"] not in process.output


def test_the_sandbox_needs_no_settings_and_leaves_nothing(fresh_portal_command, started: Started):
    port = reserve_ports(2)
    # The run cannot end by itself, and neither can its stream: the process ends in the middle of both.
    process = fresh_portal_command("sandbox", PORT=str(port), SANDBOX_DEPLOY_SECONDS="3600")
    process.answers(f"http://127.0.0.1:{port}/health")
    assert list(started.temporary.iterdir())

    with http_client(base_url=f"http://127.0.0.1:{port}") as client:
        accepted = client.post("/api/deploy", json={"name": "ada"}).json()
        with client.stream("GET", accepted["eventsUrl"]) as stream:
            next(stream.iter_lines())
            assert process.terminate() == 0

    assert list(started.temporary.iterdir()) == []
    assert "Traceback" not in process.output


def test_the_sandbox_says_where_its_operator_signs_in(portal_command):
    port = reserve_ports(2)
    process = portal_command("sandbox", PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    process.answers(f"{url}/health")

    assert f"Operator's page:  http://localhost:{port}/operator\n" in process.output
    found = re.search(r"^Operator's token: (\S{16,})$", process.output, re.MULTILINE)
    assert found, process.output
    headers = {"accept": "text/html"}
    with http_client(base_url=url, headers=headers, follow_redirects=True) as client:
        assert client.get("/operator").url.path == "/sign-in"
        assert client.post("/sign-in", data={"token": found[1]}).url.path == "/operator"


def test_the_sandbox_prints_no_token_that_is_somebodys(portal_command):
    port = reserve_ports(2)
    token = "the-token-of-this-operator"
    process = portal_command("sandbox", PORT=str(port), ADMIN_TOKEN=token)
    process.answers(f"http://127.0.0.1:{port}/health")

    assert token not in process.output
    assert "Operator's token" not in process.output
    answer = httpx.get(
        f"http://127.0.0.1:{port}/api/overview",
        headers={"authorization": f"Bearer {token}"},
        timeout=WAIT_SECONDS,
        trust_env=False,
    )
    assert answer.status_code == 200


def test_the_sandbox_ends_on_ctrl_c(portal_command, started: Started):
    port = reserve_ports(2)
    process = portal_command("sandbox", "--port", str(port))
    process.answers(f"http://127.0.0.1:{port}/health")

    assert process.terminate(signal.SIGINT) == 0

    assert list(started.temporary.iterdir()) == []


def test_the_emulator_serves_alone(fresh_portal_command):
    port = reserve_port()
    process = fresh_portal_command("emulator", "--port", str(port))

    assert process.answers(f"http://127.0.0.1:{port}/sandbox/state").json()["projects"] == []
    assert process.terminate() == 0


@pytest.mark.parametrize("command", ["serve", "sandbox", "emulator"])
def test_a_port_in_use_is_said_plainly(portal_command, started: Started, command: str):
    port = reserve_ports(2)
    environment = PORTAL if command == "serve" else {}
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", port))
        taken.listen()
        process = portal_command(command, PORT=str(port), **environment)
        assert process.wait() == 1
    assert f"error: cannot serve on 0.0.0.0 port {port}: it is in use" in process.output
    assert "Traceback" not in process.output
    assert list(started.temporary.iterdir()) == []


def test_the_emulators_port_in_use_ends_the_sandbox(portal_command):
    port = reserve_ports(2)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", port + 1))
        taken.listen()
        process = portal_command("sandbox", PORT=str(port))
        assert process.wait() == 1
    assert f"port {port + 1}" in process.output


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [("sandbox", "PORT", "many"), ("emulator", "PORT", "0"), ("sandbox", "SANDBOX_CONCURRENCY", "one")],
)
def test_the_sandbox_names_a_malformed_setting(portal_command, command: str, name: str, value: str):
    process = portal_command(command, **{name: value})

    assert process.wait() == 1
    assert len(process.output.splitlines()) == 1, process.output
    assert process.output.startswith(f"error: {name}")


def test_help_lists_the_commands(fresh_portal_command):
    process = fresh_portal_command("--help")

    assert process.wait() == 0
    for command in ("serve", "runner", "check-runner", "sandbox", "emulator"):
        assert command in process.output


def test_an_unknown_command_is_refused(portal_command):
    process = portal_command("fly")

    assert process.wait() == 2
    assert "fly" in process.output
