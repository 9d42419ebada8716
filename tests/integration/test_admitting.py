"""Tokens and the audit trail at the command line of the portal's own machine."""

import json

import pytest
from typer.testing import CliRunner, Result

from app.cli import build_app
from tests.integration.test_http import assert_problem
from tests.servers import PortalServer


@pytest.fixture(autouse=True)
def beside(portal: PortalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the portal that runs."""
    settings = portal.settings
    for name, value in {
        "APP_ENV": "development",
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": settings.secret_key[0],
        "DOKPLOY_URL": settings.dokploy_base,
        "DOKPLOY_API_TOKEN": "x",
        "STACK_DOMAIN_SUFFIX": settings.stack_domain_suffix,
        "STACK_IMAGE": settings.stack_image,
    }.items():
        monkeypatch.setenv(name, value)


def run(*words: str) -> Result:
    return CliRunner().invoke(build_app(), list(words))


def test_a_token_is_made_listed_and_revoked(portal: PortalServer):
    assert run("tokens").stdout == "There are no tokens.\n"
    made = run("make-token", "the pipeline", "--scope", "deploy:start", "--scope", "deploy:read", "--days", "7")
    assert made.exit_code == 0, made.output
    token = {"authorization": f"Bearer {made.stdout.strip()}"}
    assert portal.client.post("/api/deploy", json={"name": "ada"}, headers=token).status_code == 202

    listed = run("tokens").stdout
    (row,) = json.loads(run("tokens", "--json").stdout)

    assert "the pipeline" in listed
    assert made.stdout.strip() not in listed
    assert (row["owner"], row["scopes"], row["good"]) == ("operator", ["deploy:read", "deploy:start"], True)
    assert row["used"] is not None
    assert run("revoke-token", row["id"]).stdout == "Revoked.\n"
    assert_problem(portal.client.get("/api/stacks", headers=token), 401, "token_revoked")
    assert "no longer" in run("tokens").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("make-token", "x", "--scope", "root"), "A token is made for one thing or more"),
        (("make-token", "\t", "--scope", "admin"), "A token's name has 1 to 80 characters."),
        (("revoke-token", "nobody's"), "There is no token with this id"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], says: str):
    result = run(*words)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {says}")
    assert len(result.stderr.splitlines()) == 1


def test_the_trail_comes_as_json_lines(portal: PortalServer):
    run("make-token", "ci", "--scope", "admin")
    portal.wait(portal.deploy("ada")["deploymentId"])

    lines = [json.loads(line) for line in run("audit").stdout.splitlines()]

    assert [(each["action"], each["means"]) for each in lines] == [
        ("make_token", "command_line"),
        ("deploy", "nothing"),
    ]
    assert lines[1]["address"] == "127.0.0.1"
