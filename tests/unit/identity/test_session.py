"""The operator's session: how long it counts, what ends it, and what its cookie does not tell."""

import base64
import time

import pytest

from app.identity import SESSION_SECONDS, Caller, Ownership, begin_session, is_session
from app.vault import Vault, fingerprint

KEY, TOKEN = "a-key-that-is-only-for-tests", "the-token-of-the-operator"
HOUR = 3600


def vault(*keys: str, ago: float = 0) -> Vault:
    """A portal's vault, as it was some seconds ago."""
    return Vault(keys or [KEY], clock=lambda: time.time() - ago)


def test_it_counts_for_twelve_hours():
    assert SESSION_SECONDS == 12 * HOUR
    assert is_session(vault(), TOKEN, begin_session(vault(), TOKEN))
    assert is_session(vault(), TOKEN, begin_session(vault(ago=12 * HOUR - 60), TOKEN))
    assert not is_session(vault(), TOKEN, begin_session(vault(ago=12 * HOUR + 1), TOKEN))
    assert not is_session(vault(), TOKEN, begin_session(vault(ago=1000 * HOUR), TOKEN))


def test_another_replica_whose_clock_is_behind_takes_it():
    assert is_session(vault(ago=30), TOKEN, begin_session(vault(), TOKEN))


def test_another_token_ends_it():
    assert not is_session(vault(), "another-token-of-his", begin_session(vault(), TOKEN))


def test_it_outlives_a_rotation_of_the_key_and_not_the_key_itself():
    signed = begin_session(vault(), TOKEN)

    assert is_session(vault("a-newer-key-of-the-tests", KEY), TOKEN, signed)
    assert not is_session(vault("a-newer-key-of-the-tests"), TOKEN, signed)


def test_the_cookie_tells_nothing_of_the_token():
    signed = begin_session(vault(), TOKEN)

    decoded = b"".join(base64.urlsafe_b64decode(part + "==") for part in signed.split("."))
    for secret in (TOKEN, fingerprint(TOKEN), KEY):
        assert secret not in signed
        assert secret.encode() not in decoded
        assert bytes.fromhex(fingerprint(TOKEN)) not in decoded


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "é", "." * 10_000, "operator", '"operator".AAAA.BBBB'])
def test_what_is_not_ours_is_no_session(cookie: str):
    assert not is_session(vault(), TOKEN, cookie)


def test_a_changed_cookie_is_no_session():
    signed = begin_session(vault(), TOKEN)
    for place in range(len(signed) - 1):
        changed = signed[:place] + ("A" if signed[place] != "A" else "B") + signed[place + 1 :]
        assert not is_session(vault(), TOKEN, changed)


def test_other_cookies_of_ours_are_no_session():
    assert not is_session(vault(), TOKEN, vault().sign("operator"))
    assert vault().unsign(begin_session(vault(), TOKEN)) is None
    assert not is_session(vault(), TOKEN, vault().sign_session("somebody", TOKEN))


def test_who_is_the_operator():
    stack = Ownership("browser:ada", fingerprint("the-manage-key"))

    assert Caller(in_session=True).is_operator
    assert Caller(in_session=True).manages(stack)
    assert Caller(in_session=True).has_credential
    assert Caller(in_session=True, owner="browser:bob").name == "operator"
    assert Caller(bearer=TOKEN, admin_token=TOKEN).is_operator
    assert not Caller(bearer="", admin_token=TOKEN).is_operator
    assert not Caller(admin_token=TOKEN).is_operator
    assert not Caller(owner="browser:ada").is_operator


def test_a_token_that_was_sent_counts_alone():
    stack = Ownership("browser:ada", fingerprint("the-manage-key"))

    for bearer in ("wrong", "the-manage-key"):
        caller = Caller(bearer=bearer, admin_token=TOKEN, in_session=True, owner="browser:ada")
        assert not caller.is_operator
        assert caller.manages(stack) == (bearer == "the-manage-key")
        assert caller.name == "key"
