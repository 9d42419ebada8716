"""Authentication: finds the principal by a request's token, session, proxy headers or cookie."""

import hmac
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.audit import Actor, Means, Role
from app.config.settings import Settings
from app.errors import PortalError
from app.identity.accounts import ACCOUNT, Account, Accounts
from app.identity.allowlist import Allowlist, Claims
from app.identity.principal import Principal, nobody
from app.identity.scopes import EVERY_SCOPE, OWN_SCOPES, Scope
from app.identity.sessions import Session, Sessions
from app.identity.tokens import Token, Tokens
from app.security.vault import fingerprint

OPERATOR = "operator"
# Who tells of accounts where a proxy does.
PROXY = "proxy"


@dataclass(frozen=True)
class Shown:
    """What a request shows of whoever sent it, as far as the web side has read and believed it.

    bearer: the token of an Authorization header; session: the secret in a session's cookie; browser: the owner in a
    browser's cookie; claims: what a trusted proxy tells; address: where the request came from.
    """

    bearer: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    browser: str | None = None
    claims: Claims | None = None
    address: str | None = None


class Authentication:
    """Recognises callers in the portal's AUTH_MODE."""

    def __init__(
        self, settings: Settings, allowlist: Allowlist, accounts: Accounts, sessions: Sessions, tokens: Tokens
    ) -> None:
        self._is_open = settings.auth_mode == "open"
        # Whose word counts: accounts that somebody else told of open nothing.
        self._issuer = {"open": None, "oidc": settings.oidc_issuer, "proxy": PROXY}[settings.auth_mode]
        admin = settings.admin_token
        self._admin_token = admin.get_secret_value() if admin else None
        self._seen_within = timedelta(days=settings.token_owner_days)
        self._allowlist = allowlist
        self._accounts = accounts
        self._sessions = sessions
        self._tokens = tokens

    async def principal(self, shown: Shown) -> Principal:
        """Recognise whoever sent a request. A Bearer, where one was sent, counts alone.

        Raises PortalError: `token_expired`, `token_revoked`, `not_admitted`.
        """
        if shown.bearer is not None:
            return await self._by_bearer(shown.bearer, shown.address)
        session = await self._session(shown.session) if shown.session else None
        if session is not None:
            return self._in_session(session, shown)
        ended = shown.session is not None
        if shown.claims is not None:
            self._allowlist.admit(shown.claims)
            account = await self._accounts.remember(shown.claims)
            return self._person(account, Means.PROXY, shown.address)
        if self._is_open and shown.browser is not None:
            actor = Actor(shown.browser, Role.USER, Means.BROWSER, address=shown.address)
            return Principal(actor, shown.browser, OWN_SCOPES, session_ended=ended)
        # Without accounts anybody may deploy; what that makes is his who gets its manage key.
        scopes = OWN_SCOPES if self._is_open else frozenset()
        return replace(nobody(shown.address), scopes=scopes, session_ended=ended)

    # A Bearer

    async def _by_bearer(self, bearer: str, address: str | None) -> Principal:
        if self.is_admin_token(bearer):
            return operator(Means.ADMIN_TOKEN, address)
        token = await self._tokens.find(bearer)
        if token is not None:
            return await self._by_token(token, address)
        actor = Actor("key", Role.USER, Means.MANAGE_KEY, address=address)
        return Principal(actor, scopes=OWN_SCOPES, key_hash=fingerprint(bearer))

    async def _by_token(self, token: Token, address: str | None) -> Principal:
        if token.revoked_at is not None:
            raise PortalError("token_revoked")
        if token.is_over:
            raise PortalError("token_expired")
        if token.owner == OPERATOR:
            # One that was made with ADMIN_TOKEN ends with it, as sessions do.
            is_bound = token.bound_to is None or token.bound_to == self.admin_binding
            maker: Principal | None = operator(Means.TOKEN, address) if is_bound else None
        elif token.owner.startswith(ACCOUNT):
            account = await self._accounts.find(token.owner.removeprefix(ACCOUNT))
            let_in = account is not None and self._is_admitted(account) and self._was_seen(account)
            maker = self._person(account, Means.TOKEN, address) if account and let_in else None
        elif self._is_open:
            maker = Principal(Actor(token.owner, Role.USER, Means.TOKEN, address=address), token.owner, OWN_SCOPES)
        else:
            maker = None
        if maker is None:
            raise PortalError("token_revoked")
        # A token never reaches further than its maker does now, whatever he was when he made it.
        scopes = maker.scopes if Scope.ADMIN in token.scopes & maker.scopes else token.scopes & maker.scopes
        role = Role.OPERATOR if Scope.ADMIN in scopes else Role.USER
        actor = Actor(maker.actor.id, role, Means.TOKEN, maker.actor.email, address)
        return Principal(actor, maker.owner, scopes)

    def _was_seen(self, account: Account) -> bool:
        """Whether somebody was there lately: of one who has left, nobody tells the portal."""
        return datetime.now(UTC) - account.seen_at < self._seen_within

    def is_admin_token(self, text: str) -> bool:
        """Whether this is the operator's token."""
        return self._admin_token is not None and hmac.compare_digest(text.encode(), self._admin_token.encode())

    # A session

    @property
    def admin_binding(self) -> str | None:
        """What an operator's session is bound to, so that another token of his ends it."""
        return fingerprint(self._admin_token) if self._admin_token else None

    async def _session(self, secret: str) -> Session | None:
        session = await self._sessions.find(secret)
        if session is None:
            return None
        if session.account is None:
            binding = self.admin_binding
            is_good = bool(binding and session.bound_to and hmac.compare_digest(session.bound_to, binding))
        else:
            is_good = self._is_admitted(session.account)
        return session if is_good else None

    def _is_admitted(self, account: Account) -> bool:
        """Whether somebody is let in by the lists as they are now, whatever they were when he signed in."""
        if account.claims.issuer != self._issuer:
            return False
        try:
            self._allowlist.admit(account.claims)
        except PortalError:
            return False
        return True

    def _in_session(self, session: Session, shown: Shown) -> Principal:
        if session.account is None:
            # Without accounts what he deploys on a page stays his browser's when he signs out.
            owner = shown.browser if self._is_open else OPERATOR
            return operator(Means.SESSION, shown.address, owner=owner, session=session)
        return self._person(session.account, Means.SESSION, shown.address, session=session)

    async def admit(self, claims: Claims, address: str | None) -> tuple[Actor, Account]:
        """Let in somebody who has signed in at the provider; strangers are not kept.

        Raises PortalError `not_admitted`.
        """
        self._allowlist.admit(claims)
        account = await self._accounts.remember(claims)
        return self._person(account, Means.SESSION, address).actor, account

    def _person(
        self, account: Account, means: Means, address: str | None, *, session: Session | None = None
    ) -> Principal:
        """Say what somebody with an account may do. Raises PortalError `not_admitted`."""
        admitted = self._allowlist.admit(account.claims)
        role = Role.OPERATOR if admitted.is_operator else Role.USER
        return Principal(
            Actor(account.owner, role, means, account.claims.email, address),
            account.owner,
            EVERY_SCOPE if admitted.is_operator else OWN_SCOPES,
            session=session,
        )


def operator(
    means: Means, address: str | None, *, owner: str | None = OPERATOR, session: Session | None = None
) -> Principal:
    """Return the operator, known by ADMIN_TOKEN or from the command line."""
    actor = Actor(OPERATOR, Role.OPERATOR, means, address=address)
    return Principal(actor, owner, EVERY_SCOPE, session=session)


def new_browser_owner() -> str:
    """Make the owner under which a browser's stacks are kept."""
    return f"browser:{secrets.token_urlsafe(18)}"
