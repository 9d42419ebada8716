"""What a provider says of itself: which addresses are followed."""

import pytest

from app.web.auth.provider import Description, loggable

AT = "https://id.example.com"


@pytest.mark.parametrize(
    ("issuer", "address", "safe"),
    [
        (AT, f"{AT}/token", True),
        (AT, "https://elsewhere.example.com/token", True),
        (AT, "http://id.example.com/token", False),
        ("http://localhost:9400", "http://localhost:9400/token", True),
        ("http://localhost:9400", f"{AT}/token", True),
        (AT, "HTTP://id.example.com/token", False),
        (AT, "//id.example.com/token", False),
        (AT, "/token", False),
        (AT, "ht\ntps://id.example.com/token", False),
        (AT, "javascript:alert(1)", False),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"],
)
def test_an_https_provider_leads_nowhere_else(name: str, issuer: str, address: str, safe: bool):
    usual = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), f"{AT}/usual")

    assert Description.model_validate({"issuer": issuer, **usual, name: address}).is_safe is safe


def test_what_is_logged_is_short_and_plain():
    assert loggable("a\x1b[31m\nb") == "a?[31m?b"
    assert len(loggable("a" * 10_000)) == 200
    assert loggable(None) == "None"
