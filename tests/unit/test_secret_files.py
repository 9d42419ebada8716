"""Secrets from files: read as they stand, and one line for each way in which that cannot be done."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.serve import sandbox_settings
from app.config.secret_files import may_come_from_file
from app.config.settings import Settings, load_settings
from app.errors import SettingsError

REQUIRED = {
    "DOKPLOY_URL": "http://dokploy:3000",
    "DOKPLOY_API_TOKEN": "key-of-dokploy",
    "STACK_DOMAIN_SUFFIX": "ai.example",
    "STACK_IMAGE": "ghcr.io/x/y:1",
    "APP_ENV": "development",
}
# A value that fits each, and what arrives.
VALUES: dict[str, tuple[str, Any]] = {
    "database_url": ("postgresql+asyncpg://portal:hush@db/portal", "postgresql+asyncpg://portal:hush@db/portal"),
    "secret_key": ("the-newer-key-of-two,the-older-key-of-two", ("the-newer-key-of-two", "the-older-key-of-two")),
    "admin_token": ("the-token-of-the-operator", "the-token-of-the-operator"),
    "dokploy_api_token": ("another-key-of-dokploy", "another-key-of-dokploy"),
    "stack_variables": ('{"KEY": "hush"}', {"KEY": "hush"}),
    "stack_registry_password": (" pull only ", " pull only "),
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def refused(**values: Any) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(**values)
    line = str(error.value)
    assert "\n" not in line
    assert "hush" not in line
    assert error.value.__cause__ is None
    return line


def plain(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_what_is_printed_as_stars_or_not_at_all_may_come_from_a_file():
    marked = {name for name, field in Settings.model_fields.items() if may_come_from_file(field)}
    hidden = {
        name for name, field in Settings.model_fields.items() if not field.repr or "SecretStr" in str(field.annotation)
    }

    assert marked == hidden
    assert marked >= VALUES.keys()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_holds_the_value(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, name: str, end: str):
    given, expected = VALUES[name]
    (elsewhere / "secret").write_bytes((given + end).encode())
    monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(f"{name.upper()}_FILE", str(elsewhere / "secret"))
    if name == "stack_registry_password":
        monkeypatch.setenv("STACK_REGISTRY_USERNAME", "robot")
    if name == "database_url":
        monkeypatch.setenv("SECRET_KEY", "a-key-that-is-only-for-tests")

    settings = load_settings()

    assert plain(getattr(settings, name)) == expected
    assert "hush" not in repr(settings)


def test_only_one_newline_is_cut(monkeypatch: pytest.MonkeyPatch, elsewhere: Path):
    (elsewhere / "secret").write_text("the-token-of-the-operator \n\n")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")

    assert plain(load_settings().admin_token) == "the-token-of-the-operator \n"


def test_a_file_named_in_env_counts_and_the_environment_names_another(monkeypatch: pytest.MonkeyPatch, elsewhere: Path):
    for number in ("one", "two"):
        (elsewhere / number).write_text(f"the-token-of-operator-{number}\n")
    (elsewhere / ".env").write_text("ADMIN_TOKEN_FILE=one\n")

    assert plain(load_settings().admin_token) == "the-token-of-operator-one"
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "two")
    assert plain(load_settings().admin_token) == "the-token-of-operator-two"


@pytest.mark.parametrize("where", ["environment", "file"])
def test_both_ways_are_one_too_many(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, where: str):
    (elsewhere / "secret").write_text("hush-hush-long-enough")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")
    if where == "environment":
        monkeypatch.setenv("ADMIN_TOKEN", "hush-hush-also-long-enough")
    else:
        (elsewhere / ".env").write_text("ADMIN_TOKEN=hush-hush-also-long-enough\n")

    assert refused() == "ADMIN_TOKEN and ADMIN_TOKEN_FILE are both set; leave one of them out"


@pytest.mark.parametrize("empty", ["ADMIN_TOKEN", "ADMIN_TOKEN_FILE"])
def test_an_empty_one_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, empty: str):
    """As Compose hands on what nobody has set."""
    (elsewhere / "secret").write_text("the-token-of-the-operator")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")
    monkeypatch.setenv("ADMIN_TOKEN", "the-token-of-the-operator")
    monkeypatch.setenv(empty, "")

    assert plain(load_settings().admin_token) == "the-token-of-the-operator"


def _fifo(path: Path) -> None:
    os.mkfifo(path)


# What stands where the file should be -> what the line says.
MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "cannot be read: No such file or directory"),
    "a folder": (Path.mkdir, "cannot be read: Is a directory"),
    "empty": (Path.touch, "is empty"),
    "a newline": (lambda path: path.write_text("\n"), "is empty"),
    "too large": (lambda path: path.write_bytes(b"x" * (64 * 1024 + 1)), "is larger than 64 kB"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfehush"), "is no text"),
    "a pipe": (_fifo, "names a folder or a device, and no file"),
    "without end": (lambda path: path.symlink_to("/dev/zero"), "names a folder or a device, and no file"),
    "a circle": (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_repeats_nothing(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, mistake: str):
    put, said = MISTAKES[mistake]
    put(elsewhere / "hush-hush")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", str(elsewhere / "hush-hush"))

    line = refused()

    assert line.startswith("ADMIN_TOKEN_FILE names a f")
    assert said in line
    assert line.endswith("; for example ADMIN_TOKEN_FILE=/run/secrets/admin_token")


def test_a_file_that_the_portal_may_not_read(monkeypatch: pytest.MonkeyPatch, elsewhere: Path):
    (elsewhere / "secret").write_text("the-token-of-the-operator")
    (elsewhere / "secret").chmod(0)
    if os.access(elsewhere / "secret", os.R_OK):
        pytest.skip("a secret's file that may not be read: root may, so run the tests as another user")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")

    assert "cannot be read: Permission denied" in refused()


def test_a_secret_where_its_file_should_be_named_is_not_repeated(monkeypatch: pytest.MonkeyPatch):
    for value in ("hush-hush-long-enough", "hush/hush", "hush" * 2000):
        monkeypatch.setenv("ADMIN_TOKEN_FILE", value)
        refused()


def test_what_is_read_is_held_to_the_same_rules(monkeypatch: pytest.MonkeyPatch, elsewhere: Path):
    (elsewhere / "secret").write_text("hush")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")

    line = refused()

    assert line.startswith("ADMIN_TOKEN ")
    assert "at least 16" in line


@pytest.mark.parametrize(
    "name",
    sorted(
        name for name, field in Settings.model_fields.items() if name not in VALUES and not may_come_from_file(field)
    ),
)
def test_what_is_no_secret_comes_from_no_file(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, name: str):
    before = load_settings()
    monkeypatch.setenv(f"{name.upper()}_FILE", str(elsewhere / "missing"))

    assert load_settings() == before


def test_the_sandbox_takes_an_operators_token_from_a_file(monkeypatch: pytest.MonkeyPatch, elsewhere: Path):
    (elsewhere / "secret").write_text("the-token-of-the-operator")
    monkeypatch.setenv("ADMIN_TOKEN_FILE", "secret")

    assert plain(sandbox_settings(3000, elsewhere).admin_token) == "the-token-of-the-operator"
