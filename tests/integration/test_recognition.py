"""Who a request is from, in each mode, and what he may: sessions, tokens, accounts and the trail, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from app.audit import Action, Actor, AuditOutcome, Means, Role, Trail
from app.config.settings import Settings
from app.errors import PortalError
from app.identity import (
    EVERY_SCOPE,
    MAX_TOKENS,
    OWN_SCOPES,
    Accounts,
    Allowlist,
    Authentication,
    Claims,
    Ownership,
    Scope,
    Sessions,
    Shown,
    Tokens,
)
from app.security.vault import fingerprint
from app.store.engine import Database
from app.store.migrations import migrate
from app.store.paging import PageRequest
from app.store.schema import audit, token
from tests.servers import ADMIN_TOKEN, portal_settings

pytestmark = pytest.mark.anyio

ADA = Claims("https://id.example", "ada", "Ada", "ada@example.com", email_verified=True, groups=("dev",))
BOB = Claims("https://id.example", "bob", "Bob", "bob@elsewhere.example", email_verified=True)
ACTOR = Actor("account:x", Role.USER, Means.SESSION, address="192.0.2.1")
CLOSED: dict[str, Any] = {
    "auth_mode": "oidc",
    "oidc_issuer": "https://id.example",
    "oidc_client_id": "portal",
    "portal_url": "https://deploy.example.com",
    "allowed_domains": "example.com",
    "operator_groups": "operators",
}


@pytest.fixture
async def database(any_database_url: str) -> AsyncIterator[Database]:
    opened = Database(any_database_url)
    await migrate(opened)
    yield opened
    await opened.close()


class Door:
    """A portal's recognition, with the stores behind it."""

    def __init__(self, database: Database, **values: Any) -> None:
        settings: Settings = portal_settings("http://127.0.0.1:1", "sqlite+aiosqlite:///x.db", **values)
        self.accounts, self.tokens = Accounts(database), Tokens(database)
        self.sessions = Sessions(database, lives=timedelta(hours=12))
        self.trail = Trail(database)
        self.authentication = Authentication(settings, Allowlist(settings), self.accounts, self.sessions, self.tokens)

    async def signed_in(self, claims: Claims) -> str:
        account = await self.accounts.remember(claims)
        return await self.sessions.begin(ACTOR, account=account, bound_to=None, browser="Firefox")

    async def refused(self, shown: Shown) -> str:
        with pytest.raises(PortalError) as refused:
            await self.authentication.principal(shown)
        return refused.value.code


# Without accounts


async def test_without_accounts_a_browser_is_its_cookie_and_a_stranger_may_deploy(database: Database):
    door = Door(database)

    stranger = await door.authentication.principal(Shown(address="192.0.2.7"))
    browser = await door.authentication.principal(Shown(browser="browser:ada"))

    assert (stranger.actor.means, stranger.actor.address, stranger.owner) == (Means.NOTHING, "192.0.2.7", None)
    assert stranger.scopes == browser.scopes == OWN_SCOPES
    assert not stranger.has_credential
    assert browser.owns(Ownership("browser:ada", "x"))
    assert not browser.owns(Ownership("browser:bob", "x"))
    assert not browser.is_known


async def test_a_manage_key_opens_one_stack_and_a_wrong_one_none(database: Database):
    door = Door(database)

    principal = await door.authentication.principal(Shown(bearer="asd_the-key", browser="browser:ada", session="x"))

    assert principal.actor.means is Means.MANAGE_KEY
    assert principal.owns(Ownership("browser:bob", fingerprint("asd_the-key")))
    assert not principal.owns(Ownership("browser:ada", fingerprint("another"))), "a Bearer counts alone"
    assert not principal.is_operator


@pytest.mark.parametrize("bearer", ["", " ", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), "é"])
async def test_what_is_not_quite_the_operators_token(database: Database, bearer: str):
    door = Door(database)

    assert not (await door.authentication.principal(Shown(bearer=bearer))).is_operator
    assert (await door.authentication.principal(Shown(bearer=ADMIN_TOKEN))).is_operator
    nobody = Door(database, admin_token=None)
    assert not (await nobody.authentication.principal(Shown(bearer=ADMIN_TOKEN))).is_operator
    assert not (await nobody.authentication.principal(Shown(bearer="None"))).is_operator


async def test_accounts_of_another_mode_open_nothing(database: Database):
    """Whoever goes back to `open` lets in nobody by what a provider said before."""
    closed, reopened = Door(database, **CLOSED), Door(database)
    session = await closed.signed_in(replace(ADA, groups=("operators",)))
    account = await closed.accounts.remember(ADA)
    _, secret = await closed.tokens.make(ACTOR, owner=account.owner, name="ci", scopes=OWN_SCOPES, days=1)
    _, of_browser = await reopened.tokens.make(ACTOR, owner="browser:ada", name="ci", scopes=OWN_SCOPES, days=1)

    principal = await reopened.authentication.principal(Shown(session=session))

    assert (principal.actor.means, principal.session_ended, principal.is_operator) == (Means.NOTHING, True, False)
    assert await reopened.refused(Shown(bearer=secret)) == "token_revoked"
    assert (await reopened.authentication.principal(Shown(bearer=of_browser))).owner == "browser:ada"
    assert await closed.refused(Shown(bearer=of_browser)) == "token_revoked"
    stranger = await closed.authentication.principal(Shown(browser="browser:ada"))
    assert (stranger.owner, stranger.scopes) == (None, frozenset()), "nor does the cookie of a browser"


# Sessions


async def test_a_session_is_of_whoever_signed_in_until_it_ends(database: Database):
    door = Door(database, **CLOSED)
    secret, other = await door.signed_in(ADA), await door.signed_in(ADA)

    principal = await door.authentication.principal(Shown(session=secret, address="192.0.2.9"))

    assert principal.session is not None
    assert (principal.actor.email, principal.actor.role, principal.scopes) == ("ada@example.com", Role.USER, OWN_SCOPES)
    assert principal.owner == principal.actor.id == f"account:{(await door.accounts.remember(ADA)).id}"
    assert len(await door.sessions.of(principal.session.account)) == 2
    await door.sessions.end(principal.actor, principal.session)
    gone = await door.authentication.principal(Shown(session=secret))
    assert (gone.session, gone.session_ended, gone.has_credential) == (None, True, False)
    assert (await door.authentication.principal(Shown(session=other))).owner == principal.owner, (
        "the other browser stays"
    )


async def test_signing_out_everywhere_ends_every_session_of_one_person(database: Database):
    door = Door(database, **CLOSED, operator_emails="bob@elsewhere.example")
    secrets = [await door.signed_in(ADA) for _ in range(3)]
    bobs = await door.signed_in(BOB)
    ada = await door.authentication.principal(Shown(session=secrets[0]))
    assert ada.session is not None

    await door.sessions.end_all(ada.actor, ada.session.account)

    for secret in secrets:
        assert (await door.authentication.principal(Shown(session=secret))).session_ended
    assert (await door.authentication.principal(Shown(session=bobs))).is_operator


async def test_lists_that_have_changed_count_for_sessions_and_tokens_that_are_there(database: Database):
    before = Door(database, **CLOSED)
    session = await before.signed_in(ADA)
    account = await before.accounts.remember(ADA)
    _, secret = await before.tokens.make(ACTOR, owner=account.owner, name="ci", scopes=[Scope.ADMIN], days=1)
    assert not (await before.authentication.principal(Shown(bearer=secret))).is_operator, "its maker is none"

    raised = Door(database, **{**CLOSED, "operator_emails": "ADA@example.com"})
    assert (await raised.authentication.principal(Shown(session=session))).is_operator
    assert (await raised.authentication.principal(Shown(bearer=secret))).scopes == EVERY_SCOPE

    shut = Door(database, **{**CLOSED, "allowed_domains": "other.example"})
    assert (await shut.authentication.principal(Shown(session=session))).session_ended
    assert await shut.refused(Shown(bearer=secret)) == "token_revoked"


async def test_a_session_that_is_over_counts_no_more(database: Database):
    door = Door(database, **CLOSED)
    door.sessions.lives = timedelta(seconds=-1)
    over = await door.signed_in(ADA)

    assert (await door.authentication.principal(Shown(session=over))).session_ended


async def test_a_provider_that_renames_somebody_changes_no_owner(database: Database):
    door = Door(database, **CLOSED)
    first, again = await asyncio.gather(door.accounts.remember(ADA), door.accounts.remember(ADA))
    renamed = await door.accounts.remember(replace(ADA, email="ada@new.example", groups=("a", "b")))
    stranger = await door.accounts.remember(replace(ADA, issuer="https://evil.example"))

    assert first.id == again.id == renamed.id
    assert renamed.claims.email == "ada@new.example"
    assert stranger.id != first.id, "a subject is somebody at its issuer only"


# Tokens


async def test_a_token_reaches_what_its_maker_has_and_it_was_made_for(database: Database):
    door = Door(database)
    made, secret = await door.tokens.make(
        ACTOR, owner="browser:ada", name=" ci ", scopes=[Scope.STACK_READ, Scope.DEPLOY_READ], days=30
    )

    principal = await door.authentication.principal(Shown(bearer=secret, address="192.0.2.1"))

    assert (made.name, principal.owner, principal.actor.means) == ("ci", "browser:ada", Means.TOKEN)
    assert principal.scopes == {Scope.STACK_READ, Scope.DEPLOY_READ}
    with pytest.raises(PortalError, match="scope_missing"):
        principal.must(Scope.STACK_DELETE)
    (listed,) = (await door.tokens.of("browser:ada", PageRequest())).items
    assert listed.used_at is not None
    assert secret not in repr(listed)
    assert (await door.tokens.of("browser:bob", PageRequest())).items == []


async def test_admin_is_for_operators_tokens_only(database: Database):
    door = Door(database)
    _, of_ada = await door.tokens.make(ACTOR, owner="browser:ada", name="a", scopes=[Scope.ADMIN], days=1)
    _, of_operator = await door.tokens.make(ACTOR, owner="operator", name="b", scopes=[Scope.ADMIN], days=1)

    assert (await door.authentication.principal(Shown(bearer=of_ada))).scopes == frozenset()
    assert (await door.authentication.principal(Shown(bearer=of_operator))).scopes == EVERY_SCOPE


async def test_a_token_of_which_anything_was_changed_is_none(database: Database):
    door = Door(database)
    _, secret = await door.tokens.make(ACTOR, owner="operator", name="ci", scopes=EVERY_SCOPE, days=1)
    for place, letter in enumerate(secret):
        changed = secret[:place] + chr(ord(letter) ^ 1) + secret[place + 1 :]
        principal = await door.authentication.principal(Shown(bearer=changed))
        assert (principal.actor.means, principal.is_operator) == (Means.MANAGE_KEY, False)
    for other in (secret[:-1], secret + "=", secret.upper(), f" {secret}"):
        assert not (await door.authentication.principal(Shown(bearer=other))).is_operator


async def test_a_token_that_expired_or_was_revoked_says_so(database: Database):
    door = Door(database)
    made, secret = await door.tokens.make(ACTOR, owner="operator", name="ci", scopes=EVERY_SCOPE, days=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await database.write(lambda connection: connection.execute(update(token).values(expires_at=past)).close())
    assert await door.refused(Shown(bearer=secret)) == "token_expired"

    await door.tokens.revoke(ACTOR, made.id, owner="operator")
    assert await door.refused(Shown(bearer=secret)) == "token_revoked"
    await door.tokens.revoke(ACTOR, made.id, owner=None)
    noted = (await door.trail.entries(PageRequest())).items
    assert [(each.action, each.subject) for each in noted] == [
        (Action.REVOKE_TOKEN, "ci"),
        (Action.MAKE_TOKEN, "ci"),
    ], "what changed nothing is not noted"


async def test_nobody_revokes_somebody_elses_token(database: Database):
    door = Door(database)
    made, secret = await door.tokens.make(ACTOR, owner="browser:ada", name="ci", scopes=OWN_SCOPES, days=1)

    for token_id, owner in ((made.id, "browser:bob"), ("01JD0000000000000000000000", None)):
        with pytest.raises(PortalError, match="token_not_found"):
            await door.tokens.revoke(ACTOR, token_id, owner=owner)
    assert (await door.authentication.principal(Shown(bearer=secret))).owner == "browser:ada"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"name": ""}, "token_name_invalid"),
        ({"name": " \t"}, "token_name_invalid"),
        ({"name": "x" * 81}, "token_name_invalid"),
        ({"name": "a\r\nset-cookie: x"}, "token_name_invalid"),
        ({"name": "a\0"}, "token_name_invalid"),
        ({"days": 0}, "token_days_invalid"),
        ({"days": 367}, "token_days_invalid"),
        ({"days": -(10**12)}, "token_days_invalid"),
    ],
)
async def test_a_token_that_cannot_be_made(database: Database, values: dict[str, Any], code: str):
    door = Door(database)
    with pytest.raises(PortalError) as refused:
        await door.tokens.make(
            ACTOR, **{"owner": "browser:ada", "name": "ci", "scopes": OWN_SCOPES, "days": 1, **values}
        )

    assert refused.value.code == code
    assert (await door.tokens.of(None, PageRequest())).items == []


async def test_tokens_are_bounded_and_those_that_are_over_do_not_count(database: Database):
    door = Door(database)
    made = [
        (await door.tokens.make(ACTOR, owner="browser:ada", name=f"{n}", scopes=OWN_SCOPES, days=1))[0]
        for n in range(MAX_TOKENS)
    ]
    with pytest.raises(PortalError, match="tokens_full"):
        await door.tokens.make(ACTOR, owner="browser:ada", name="one more", scopes=OWN_SCOPES, days=1)
    await door.tokens.make(ACTOR, owner="browser:bob", name="his", scopes=OWN_SCOPES, days=1)

    await door.tokens.revoke(ACTOR, made[0].id, owner="browser:ada")

    await door.tokens.make(ACTOR, owner="browser:ada", name="one more", scopes=OWN_SCOPES, days=1)


# A proxy's word


async def test_a_proxys_word_is_somebody_at_every_request_and_no_longer(database: Database):
    door = Door(database, auth_mode="proxy", proxy_auth_addresses="192.0.2.1", operator_groups="operators")
    claims = Claims("proxy", "ada", email="ada@example.com", email_verified=True)

    principal = await door.authentication.principal(Shown(claims=claims))
    raised = await door.authentication.principal(Shown(claims=replace(claims, groups=("operators",))))

    assert (principal.actor.means, principal.is_operator, principal.session) == (Means.PROXY, False, None)
    assert (raised.owner, raised.is_operator) == (principal.owner, True)
    assert not (await door.authentication.principal(Shown())).has_credential
    picky = Door(database, auth_mode="proxy", proxy_auth_addresses="192.0.2.1", allowed_groups="developers")
    assert await picky.refused(Shown(claims=claims)) == "not_admitted"


# The trail


async def test_the_trail_is_only_added_to(database: Database):
    door = Door(database)
    await door.trail.refused(ACTOR, Action.REMOVE, "credential_wrong", stack="ada")

    with pytest.raises(DBAPIError, match="only added to"):
        await database.write(lambda connection: connection.execute(update(audit).values(actor="x")).close())
    with pytest.raises(DBAPIError, match="only added to"):
        await database.write(lambda connection: connection.execute(delete(audit)).close())
    if not database.is_sqlite:
        with pytest.raises(DBAPIError, match="only added to"):
            await database.write(lambda connection: connection.execute(text("TRUNCATE audit")).close())

    (entry,) = (await door.trail.entries(PageRequest())).items
    assert (entry.actor, entry.outcome, entry.code) == (ACTOR, AuditOutcome.REFUSED, "credential_wrong")


async def test_what_came_from_outside_is_bounded_in_the_trail(database: Database):
    door = Door(database)

    await door.trail.refused(ACTOR, Action.REMOVE, "cross_site", stack="\0\x1b[31m" + "x" * 10_000_000)

    (entry,) = (await door.trail.entries(PageRequest())).items
    assert entry.stack is not None
    assert len(entry.stack) <= 80
    assert entry.stack.isprintable()


async def test_the_trail_is_read_in_pages_either_way(database: Database):
    door = Door(database)
    for number in range(7):
        await door.trail.refused(ACTOR, Action.REMOVE, "cross_site", stack=f"stack-{number % 2}")

    newest = await door.trail.entries(PageRequest(3))
    older = await door.trail.entries(PageRequest(10, newest.next_cursor))
    exported = [entry async for entry in door.trail.export()]

    assert [entry.id for entry in (*newest.items, *older.items)] == [entry.id for entry in reversed(exported)]
    assert len(exported) == 7
    assert {entry.stack for entry in (await door.trail.entries(PageRequest(), stack="stack-1")).items} == {"stack-1"}
    assert (await door.trail.entries(PageRequest(), actor="nobody")).items == []
