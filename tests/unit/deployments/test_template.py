"""The built-in kind of stack, and its secrets on their way to the store and back."""

import pytest

from app.errors import SettingsError
from app.security.vault import Vault
from app.stacks.templates import StackSecrets, built_in_template
from tests.servers import portal_settings


def test_the_usual_stack_is_an_opencode_server_that_asks_for_a_password():
    template = built_in_template(portal_settings("http://dokploy:3000", "sqlite+aiosqlite:///x.db"))

    assert template.name == "opencode"
    assert (template.port, template.volume_path) == (8080, "/workspace")
    assert template.password_variable == "OPENCODE_SERVER_PASSWORD"
    assert template.probe_paths == ("/", "/global/health")
    assert template.alive == {401}


def test_plain_settings_make_it_another():
    template = built_in_template(
        portal_settings(
            "http://dokploy:3000",
            "sqlite+aiosqlite:///x.db",
            stack_port=9000,
            stack_memory="1g",
            stack_variables={"B": "2", "A": "1"},
        )
    )

    assert (template.port, template.memory_bytes) == (9000, 2**30)
    assert template.variables == (("A", "1"), ("B", "2"))


def test_secrets_are_sealed_for_the_store():
    vault = Vault(["one-key-of-the-portal"])
    secrets = StackSecrets("hush-hush", {"TOKEN": "also-hush-hush"})

    sealed = secrets.encrypt(vault)

    assert b"hush-hush" not in sealed
    assert StackSecrets.decrypt(sealed, vault) == secrets
    assert "hush-hush" not in repr(secrets)
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        StackSecrets.decrypt(sealed, Vault(["another-key-of-a-portal"]))
