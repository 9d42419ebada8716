"""Secrets: rotation, and the key that is made once however many processes start."""

import base64
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.config.settings import Settings, load_settings
from app.errors import SettingsError
from app.security.vault import Vault, fingerprint, load_keys, new_manage_key, new_password
from tests.together import run_together

OLD, NEW = "the-older-key-of-two", "the-newer-key-of-two"


def settings(folder: Path, secret_key: str = "") -> Settings:
    return load_settings(
        _env_file=None,
        app_env="development",
        secret_key=secret_key,
        database_url=f"sqlite+aiosqlite:///{folder / 'portal.db'}",
        dokploy_url="http://dokploy:3000",
        dokploy_api_token="x",
        stack_domain_suffix="ai.example",
        stack_image="x",
    )


def test_what_is_encrypted_is_read_back_and_not_readable():
    vault = Vault([OLD])
    token = vault.encrypt("hush-hush é")

    assert b"hush" not in token
    assert vault.encrypt("hush-hush é") != token
    assert vault.decrypt(token) == "hush-hush é"


def test_after_rotation_both_are_read_and_the_newer_writes():
    before, during, after = Vault([OLD]), Vault([NEW, OLD]), Vault([NEW])
    sealed, cookie = before.encrypt("x"), before.sign("x", "asd_browser")

    assert (during.decrypt(sealed), during.unsign(cookie, "asd_browser")) == ("x", "x")
    assert after.decrypt(during.encrypt("y")) == "y"
    assert after.unsign(during.sign("y", "asd_browser"), "asd_browser") == "y"
    assert after.unsign(cookie, "asd_browser") is None
    with pytest.raises(SettingsError, match="SECRET_KEY lacks") as refused:
        after.decrypt(sealed)
    assert NEW not in str(refused.value)


@pytest.mark.parametrize("signed", ["", "x", "x.y", "é", '"x".AAAA', "." * 10_000])
def test_a_cookie_that_is_not_ours_says_nothing(signed: str):
    assert Vault([OLD]).unsign(signed, "asd_browser") is None


def test_a_changed_cookie_says_nothing():
    vault = Vault([OLD])
    signed = vault.sign("browser:ada", "asd_browser")
    for place in range(len(signed) - 1):
        changed = signed[:place] + ("A" if signed[place] != "A" else "B") + signed[place + 1 :]
        assert vault.unsign(changed, "asd_browser") is None


def test_what_one_cookie_holds_is_nothing_in_another():
    vault = Vault([OLD])
    assert vault.unsign(vault.sign("x", "asd_session"), "asd_browser") is None
    assert vault.unsign(vault.sign("x", "asd_browser"), "asd_session") is None


def test_a_signed_value_that_is_no_text_says_nothing():
    vault = Vault([OLD])
    assert vault.unsign(str(vault._signer("asd_browser").dumps(["a", "list"])), "asd_browser") is None


def test_encrypting_and_signing_use_keys_of_their_own():
    vault = Vault([OLD])
    assert vault.unsign(vault.encrypt("x").decode(), "asd_browser") is None
    with pytest.raises(SettingsError):
        vault.decrypt(vault.sign("x", "asd_browser").encode())


def test_generated_secrets_are_long_and_never_the_same():
    keys = {new_manage_key() for _ in range(100)}
    passwords = {new_password() for _ in range(100)}

    assert len(keys) == len(passwords) == 100
    assert all(key.startswith("asd_") and len(key) == 36 for key in keys)
    assert all(len(password) >= 24 and password.replace("-", "").replace("_", "").isalnum() for password in passwords)


def test_a_fingerprint_recognises_and_does_not_tell():
    key = new_manage_key()
    stored = fingerprint(key)

    assert len(stored) == 64
    assert key not in stored
    assert fingerprint(key) == stored
    assert fingerprint(key + "x") != stored


def test_a_key_that_is_set_makes_no_file(tmp_path: Path):
    assert load_keys(settings(tmp_path, f"{NEW},{OLD}")) == (NEW, OLD)
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_made_once_for_the_portal_only(tmp_path: Path):
    keys = load_keys(settings(tmp_path / "data"))

    file = tmp_path / "data" / "secret.key"
    assert len(keys[0]) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"], "no draft is left"
    assert load_keys(settings(tmp_path / "data")) == keys


def test_whatever_the_umask(tmp_path: Path):
    script = "import os; os.umask(0); from tests.unit.test_vault import *; load_keys(settings(Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])

    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path):
    keys = run_together(load_keys_together, str(tmp_path), times=3)

    assert keys[0] == keys[1] == keys[2]
    assert all(len(key[0]) >= 32 for key in keys)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def load_keys_together(begin: Callable[[], None], folder: str) -> Sequence[str]:
    chosen = settings(Path(folder))
    begin()
    return load_keys(chosen)


def test_what_is_sealed_cannot_be_read_and_counts_for_a_while():
    now = 1_000_000.0
    vault = Vault(["a-key-that-is-only-for-tests"], clock=lambda: now)
    sealed = vault.seal("the state", "signing in")

    assert b"the state" not in base64.urlsafe_b64decode(sealed)
    assert vault.unseal(sealed, "signing in", seconds=600) == "the state"
    now += 600
    assert vault.unseal(sealed, "signing in", seconds=600) == "the state"
    now += 1
    assert vault.unseal(sealed, "signing in", seconds=600) is None


def test_what_is_sealed_is_for_one_purpose_and_one_portal():
    old, new = "the-old-key-of-this-test", "the-new-key-of-this-test"
    sealed = Vault([old]).seal("the state", "signing in")

    assert Vault([new, old]).unseal(sealed, "signing in", seconds=600) == "the state"
    assert Vault([new]).unseal(sealed, "signing in", seconds=600) is None
    assert Vault([old]).unseal(sealed, "another", seconds=600) is None
    assert Vault([old]).unseal(Vault([old]).encrypt("the state").decode(), "signing in", seconds=600) is None
    for place in range(0, len(sealed), 7):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        assert Vault([old]).unseal(changed, "signing in", seconds=600) is None
    for junk in ("", "é", "x" * 5000):
        assert Vault([old]).unseal(junk, "signing in", seconds=600) is None
