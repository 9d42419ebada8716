"""Settings of authentication: the part of the settings about who may use the portal."""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.config.secret_files import Secret

# What a header may be called, and what a host may be.
_HEADER = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"
_DOMAIN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+"

CommaList = Annotated[tuple[str, ...], NoDecode]


def comma_list(value: Any) -> Any:
    """Take a list apart that is written with plain commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class WaysIn(BaseSettings):
    """Who may use the portal, and how they show who they are; `Settings` has these fields among its own."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    auth_mode: Literal["open", "oidc", "proxy"] = Field("open", examples=["oidc", "proxy"])
    """`open`: no accounts, everyone who reaches the portal can deploy; `oidc`: people sign in with an OpenID Connect
    provider; `proxy`: a proxy in front signs people in and names them in headers."""

    allow_open_portal: bool = Field(False, examples=["true"])
    """Allows `AUTH_MODE=open` in production on an address that others can reach."""

    portal_url: str | None = Field(None, max_length=300, examples=["https://portal.ai.example.com"])
    """Public address of the portal, without a path. Required with `AUTH_MODE=oidc`."""

    session_hours: int = Field(12, ge=1, le=720, examples=["12"])
    """How long a person stays signed in."""

    token_owner_days: int = Field(90, ge=1, le=3650, examples=["90"])
    """How long an account's access tokens keep working after its owner last signed in or was seen behind the proxy."""

    allowed_domains: CommaList = Field((), examples=["example.com", "*"])
    """People with a verified email address in one of these domains can use the portal. `*` admits everyone whom the
    provider admits."""

    allowed_emails: CommaList = Field((), examples=["ada@example.com"])
    """People with one of these verified email addresses can use the portal."""

    allowed_groups: CommaList = Field((), examples=["developers"])
    """Members of these groups can use the portal."""

    operator_emails: CommaList = Field((), examples=["you@example.com"])
    """People with one of these verified email addresses can manage every stack."""

    operator_groups: CommaList = Field((), examples=["operators"])
    """Members of these groups can manage every stack."""

    oidc_issuer: str | None = Field(None, max_length=300, examples=["https://id.example.com/realms/main"])
    """The provider's issuer, exactly as the provider writes it. Everything else is discovered from there."""

    oidc_client_id: str | None = Field(None, pattern=r"^[!-~]{1,300}$", examples=["ai-stack-deployer"])
    """Client ID of the portal at the provider."""

    oidc_client_secret: Secret[SecretStr | None] = Field(
        None, min_length=1, examples=["what the provider shows beside the name"]
    )
    """Client secret of the portal at the provider; unset for a public client."""

    oidc_scopes: str = Field(
        "openid email profile", pattern=r"^[!-~]+( [!-~]+)*$", examples=["openid email profile groups"]
    )
    """Scopes to request; `openid` must be among them."""

    oidc_groups_claim: str = Field("groups", pattern=r"^[!-~]{1,200}$", examples=["groups", "roles"])
    """Claim in which the provider lists a person's groups."""

    oidc_assume_email_verified: bool = Field(False, examples=["true"])
    """Treats an email address as verified if the provider does not say whether it is. Only for providers where people
    cannot choose their own address."""

    oidc_timeout_seconds: float = Field(5.0, gt=0, le=60, examples=["5"])
    """Timeout of one call to the provider."""

    proxy_auth_addresses: CommaList = Field((), examples=["10.0.1.5", "10.0.1.5,10.0.1.6"])
    """Addresses and networks of the proxy. Identity headers from anywhere else are ignored. Required with
    `AUTH_MODE=proxy`."""

    proxy_auth_user_header: str = Field("Remote-User", pattern=_HEADER, examples=["X-Auth-Request-User"])
    """Header with the person's ID, which must never change."""

    proxy_auth_email_header: str = Field("Remote-Email", pattern=_HEADER, examples=["X-Auth-Request-Email"])
    """Header with the email address."""

    proxy_auth_name_header: str = Field("Remote-Name", pattern=_HEADER, examples=["X-Auth-Request-Preferred-Username"])
    """Header with the display name."""

    proxy_auth_groups_header: str = Field("Remote-Groups", pattern=_HEADER, examples=["X-Auth-Request-Groups"])
    """Header with the groups, separated by commas."""

    _split_ways_in = field_validator(
        "allowed_domains",
        "allowed_emails",
        "allowed_groups",
        "operator_emails",
        "operator_groups",
        "proxy_auth_addresses",
        mode="before",
    )(comma_list)

    @field_validator("portal_url")
    @classmethod
    def _an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = _web_address(value)
        if parts.path not in {"", "/"} or parts.query:
            raise ValueError("must not have a path")
        return value.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _an_issuer(cls, value: str | None) -> str | None:
        if value is not None and _web_address(value).query:
            raise ValueError("must not have a query")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must have `openid` among them")
        return value

    @field_validator("allowed_domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        folded = tuple(domain.lower() for domain in value)
        if any(domain != "*" and not re.fullmatch(_DOMAIN, domain) for domain in folded):
            raise ValueError("must be domains, or * for everybody")
        return folded

    @field_validator("allowed_emails", "operator_emails")
    @classmethod
    def _emails(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch(r"[^@\s]+@[^@\s]+", email) for email in value):
            raise ValueError("must be e-mail addresses")
        return value

    @field_validator("proxy_auth_addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            networks = [ipaddress.ip_network(address, strict=False) for address in value]
        except ValueError:
            raise ValueError("must be addresses or networks") from None
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("must not be everybody's: whoever reached the portal could say who he is")
        return value

    @property
    def lets_somebody_in(self) -> bool:
        """Whether any list names anybody."""
        lists = (self.allowed_domains, self.allowed_emails, self.allowed_groups)
        return any((*lists, self.operator_emails, self.operator_groups))

    def check_ways_in(self, *, in_production: bool) -> None:
        """Raise ValueError with one line where what is set about ways in does not go together."""
        if self.auth_mode == "oidc":
            self._check_oidc(in_production=in_production)
        elif self.auth_mode == "proxy" and not self.proxy_auth_addresses:
            raise ValueError(
                "PROXY_AUTH_ADDRESSES is not set, and AUTH_MODE=proxy believes nobody else; "
                "for example PROXY_AUTH_ADDRESSES=10.0.1.5"
            )

    def _check_oidc(self, *, in_production: bool) -> None:
        needed = {
            "OIDC_ISSUER": (self.oidc_issuer, "https://id.example.com/realms/main"),
            "OIDC_CLIENT_ID": (self.oidc_client_id, "ai-stack-deployer"),
            "PORTAL_URL": (self.portal_url, "https://portal.ai.example.com"),
        }
        for name, (value, example) in needed.items():
            if value is None:
                raise ValueError(f"{name} is not set, and AUTH_MODE=oidc needs it; for example {name}={example}")
        for name in ("OIDC_ISSUER", "PORTAL_URL"):
            value, example = needed[name]
            if in_production and value is not None and not value.startswith("https://"):
                raise ValueError(f"{name} must begin with https:// in production; for example {name}={example}")
        if not self.lets_somebody_in:
            raise ValueError(
                "ALLOWED_DOMAINS, ALLOWED_EMAILS and ALLOWED_GROUPS are not set, so nobody could sign in; "
                "for example ALLOWED_DOMAINS=example.com, and ALLOWED_DOMAINS=* lets everybody in"
            )


def _web_address(value: str) -> SplitResult:
    """Take an address of the web apart. Raises ValueError for any other."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", value) or "\\" in value:
        raise ValueError("must be an address that begins with https://")
    if parts.username is not None or parts.fragment:
        raise ValueError("must hold neither credentials nor a fragment")
    return parts


def is_loopback(host: str) -> bool:
    """Whether only its own machine reaches a host that is listened on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
