"""Who is let in: by which lists, by which addresses, and by nothing that only looks like one of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.settings import load_settings
from app.errors import PortalError
from app.identity import Allowlist, Claims

USER, OPERATOR, STRANGER = "user", "operator", "stranger"


def allowlist(auth_mode: str = "oidc", **lists: Any) -> Allowlist:
    return Allowlist(
        load_settings(
            _env_file=None,
            app_env="development",
            dokploy_url="http://dokploy:3000",
            dokploy_api_token="a-key",
            stack_domain_suffix="ai.example.com",
            stack_image="image:1",
            portal_url="https://deploy.example.com",
            oidc_issuer="https://id.example.com",
            oidc_client_id="portal",
            proxy_auth_addresses="127.0.0.1",
            auth_mode=auth_mode,
            **lists,
        )
    )


def who(
    lists: Allowlist, email: str | None = None, groups: tuple[str, ...] = (), *, verified: bool | None = True
) -> str:
    claims = Claims("https://id.example.com", "1", email=email, email_verified=verified, groups=groups)
    try:
        admitted = lists.admit(claims)
    except PortalError as error:
        return STRANGER if error.code == "not_admitted" else error.code
    return OPERATOR if admitted.is_operator else USER


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("ada@example.com", USER),
        ("ADA@Example.COM", USER),
        ("ada@evil-example.com", STRANGER),
        ("ada@example.com.evil", STRANGER),
        ("ada@sub.example.com", STRANGER),
        ("ada@example.com.", STRANGER),
        ("ada@example.co", STRANGER),
        ("ada@examplexcom", STRANGER),
        ("ada@evil.example@example.com", STRANGER),
        ("ada@example.com@evil.example", STRANGER),
        ("ada@@example.com", STRANGER),
        ("@example.com", STRANGER),
        ("example.com", STRANGER),
        ("ada@", STRANGER),
        ("@", STRANGER),
        ("", STRANGER),
        (None, STRANGER),
        ("ada@example.com\n", STRANGER),
        ("ada@ example.com", STRANGER),
        ("ada@e\u0445ample.com", STRANGER),  # a Cyrillic letter
        ("ada@example.com\u200b", STRANGER),
    ],
)
def test_a_domain_is_compared_whole(email: str | None, expected: str):
    assert who(allowlist(allowed_domains="Example.com"), email) == expected


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("mark@example.com", USER),
        ("MARK@example.com", USER),
        ("mar\u212a@example.com", STRANGER),  # the sign of Kelvin, which is a k in small
        ("mark@\u212aexample.com", STRANGER),
        ("xmark@example.com", STRANGER),
        ("mark@example.com.evil", STRANGER),
        ("mark", STRANGER),
    ],
)
def test_an_address_is_compared_whole(email: str, expected: str):
    assert who(allowlist(allowed_emails="Mark@Example.com"), email) == expected


@pytest.mark.parametrize(
    ("verified", "assumed", "expected"),
    [
        (True, False, OPERATOR),
        (True, True, OPERATOR),
        (None, False, STRANGER),
        (None, True, OPERATOR),
        (False, False, STRANGER),
        (False, True, STRANGER),
    ],
)
@pytest.mark.parametrize("others", [{}, {"allowed_domains": "example.com"}, {"allowed_emails": "ada@example.com"}])
def test_an_address_counts_only_if_it_is_verified(
    verified: bool | None, assumed: bool, expected: str, others: dict[str, str]
):
    lists = allowlist(operator_emails="ada@example.com", oidc_assume_email_verified=assumed, **others)

    assert who(lists, "ada@example.com", verified=verified) == expected


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (("developers",), USER),
        (("other", "developers"), USER),
        (("Developers",), STRANGER),
        (("developers ",), STRANGER),
        (("dev",), STRANGER),
        (("admins",), OPERATOR),
        (("developers", "admins"), OPERATOR),
        (("ada@example.com",), STRANGER),
        ((), STRANGER),
    ],
)
def test_groups_are_compared_letter_for_letter(groups: tuple[str, ...], expected: str):
    lists = allowlist(
        allowed_groups="developers", operator_groups="admins", allowed_emails="ada@example.com", oidc_groups_claim="x"
    )

    assert who(lists, groups=groups) == expected
    assert lists.asks_for_groups


def test_one_list_that_fits_is_enough():
    lists = allowlist(allowed_domains="example.com", allowed_emails="ada@other.example", allowed_groups="developers")

    assert who(lists, "grace@example.com") == USER
    assert who(lists, "ada@other.example") == USER
    assert who(lists, "eve@other.example") == STRANGER
    assert who(lists, "eve@other.example", ("developers",)) == USER


def test_operators_need_no_other_list():
    lists = allowlist(operator_emails="you@example.com", operator_groups="admins")

    assert who(lists, "You@example.com") == OPERATOR
    assert who(lists, "ada@example.com", ("admins",)) == OPERATOR
    assert who(lists, "ada@example.com") == STRANGER


def test_a_star_lets_in_whomever_the_provider_lets_in_and_makes_nobody_an_operator():
    lists = allowlist(allowed_domains="*", operator_emails="you@example.com")

    assert who(lists, None) == USER
    assert who(lists, "ada@anywhere.example", verified=False) == USER
    assert who(lists, "you@example.com", verified=False) == USER
    assert who(lists, "you@example.com") == OPERATOR
    assert not lists.asks_for_groups


def test_a_proxy_decides_unless_there_are_lists():
    assert who(allowlist("proxy"), None) == USER
    assert who(allowlist("proxy", operator_groups="admins"), None, ("admins",)) == OPERATOR
    assert who(allowlist("proxy", operator_groups="admins"), "ada@example.com") == USER
    assert who(allowlist("proxy", allowed_groups="developers"), "ada@example.com") == STRANGER
    assert who(allowlist("proxy", allowed_domains="example.com"), "ada@example.com") == USER


@given(st.text(max_size=40), st.sampled_from([True, False, None]))
def test_whatever_is_said_only_a_verified_address_of_the_domain_comes_in(text: str, verified: bool | None):
    lists = allowlist(allowed_domains="example.com")
    for email in (text, f"{text}@example.com", f"ada@{text}example.com", f"ada@example.com{text}"):
        local, _, domain = email.rpartition("@")
        fits = verified is True and local != "" and "@" not in local and domain.lower() == "example.com"
        # An address whose letters only become these in small is not this one.
        fits = fits and domain.isascii()
        assert (who(lists, email, verified=verified) == USER) == fits, email


@given(st.lists(st.text(max_size=12), max_size=5))
def test_whatever_groups_there_are_only_these_come_in(groups: list[str]):
    lists = allowlist(allowed_groups="developers", operator_groups="admins")
    expected = OPERATOR if "admins" in groups else USER if "developers" in groups else STRANGER

    assert who(lists, groups=tuple(groups)) == expected
