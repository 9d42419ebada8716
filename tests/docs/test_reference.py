"""What is written out of the code is up to date and can be used."""

import re
from pathlib import Path

import pytest

from app.config.settings import load_settings, require_closed
from tests.docs.markdown import PAGES, blocks, read, section
from tests.docs.reference import FILES, REQUIRED

GIVEN = {
    "DOKPLOY_URL": "https://dokploy.example.com",
    "DOKPLOY_API_TOKEN": "a-key-of-dokploy",
    "STACK_DOMAIN_SUFFIX": "ai.example.com",
    "STACK_IMAGE": "ghcr.io/example/image:1",
    "SECRET_KEY": "a-key-that-is-only-for-tests",
}
SIGN_IN = [
    (page, body)
    for page in PAGES
    for _, body in blocks(read(page), "ini")
    if page.startswith("docs/how-to") and "AUTH_MODE=" in body
]


@pytest.mark.parametrize("name", FILES)
def test_what_is_generated_is_up_to_date(name: str):
    assert read(name) == FILES[name](), "run `make docs`"


def test_the_example_with_every_default_written_out_is_the_default(tmp_path: Path):
    assert set(GIVEN) == set(REQUIRED)
    text = re.sub(r"^#([A-Z][A-Z0-9_]*=)", r"\1", read(".env.example"), flags=re.MULTILINE)
    for name, value in GIVEN.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    written = tmp_path / "env"
    written.write_text(text)

    plain = {name.lower(): value for name, value in GIVEN.items()}
    assert load_settings(_env_file=written) == load_settings(_env_file=None, **plain)


def test_the_environment_for_dokploy_is_enough_to_start(monkeypatch: pytest.MonkeyPatch):
    ((_, example),) = blocks(section("DEPLOYMENT.md", "Set the environment"), "ini")
    for line in example.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    settings = load_settings(_env_file=None, dokploy_api_token="a-key")

    require_closed(settings)
    assert (settings.app_env, settings.allow_open_portal) == ("production", False)


def test_there_is_an_example_of_each_way_to_sign_in():
    assert {mode for _, body in SIGN_IN for mode in re.findall(r"AUTH_MODE=(\w+)", body)} == {"oidc", "proxy"}


@pytest.mark.parametrize(("page", "example"), SIGN_IN)
def test_each_example_of_a_sign_in_is_accepted(page: str, example: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    for line in example.splitlines():
        monkeypatch.setenv(*line.split("=", 1))

    load_settings(_env_file=None)
