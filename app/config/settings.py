"""All settings of the portal, from the environment or `.env`: one frozen class, each field documented below it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.config.auth import CommaList, WaysIn, comma_list, is_loopback
from app.config.secret_files import Secret, SecretFiles, may_come_from_file
from app.errors import SettingsError

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
# Docker refuses less than 6 MiB, and Dokploy passes a smaller number on to it unseen.
_SMALLEST_MEMORY = 6 * 2**20
# A hundred years: beyond that a date may not exist.
_LONGEST_KEPT = 36_500


class Settings(WaysIn):
    """The portal's settings; those about who may use it are in `app.config.auth`.

    Read once at the start by `load_settings`; a secret is a `SecretStr` and prints as stars. Lists are plain commas.
    What is marked as `Secret` may come from a file that `NAME_FILE` names.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        use_attribute_docstrings=True,
        # A value that does not fit may be a secret, so no message repeats it.
        hide_input_in_errors=True,
    )

    host: str = Field("0.0.0.0", examples=["0.0.0.0"])
    """Address the portal listens on."""

    port: int = Field(3000, ge=1, le=65535, examples=["3000"])
    """Port the portal listens on."""

    app_env: Literal["production", "development"] = Field("production", examples=["production"])
    """`production` sends cookies over HTTPS only. Use `development` on your own machine."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", examples=["info"])
    """How much is logged. Secrets are masked at every level."""

    default_language: Literal["en", "nl", "ar", "de", "fr", "es"] = Field("en", examples=["en"])
    """Language for visitors whose browser asks for none that the portal supports."""

    database_url: Secret[str] = Field(
        "sqlite+aiosqlite:///data/portal.db",
        pattern=r"^(sqlite\+aiosqlite|postgresql\+asyncpg)://",
        examples=["sqlite+aiosqlite:///data/portal.db", "postgresql+asyncpg://portal:secret@db/portal"],
        repr=False,
    )
    """Database: a SQLite file by default, or PostgreSQL for several portals."""

    secret_key: Secret[CommaList] = Field((), examples=["a-long-random-text"], repr=False)
    """Signs cookies and encrypts stack passwords; at least 16 characters. Generate one with `openssl rand -hex 32`. To
    rotate it, list several, newest first. Required in production and with PostgreSQL; otherwise generated once and
    stored beside the database."""

    admin_token: Secret[SecretStr | None] = Field(None, min_length=16, examples=["another-long-random-text"])
    """Token of the operator, to sign in with or to send as a Bearer token; at least 16 characters. It manages every
    stack, like the people in `OPERATOR_EMAILS` and `OPERATOR_GROUPS`."""

    dokploy_url: HttpUrl = Field(examples=["https://dokploy.example.com"])
    """Address of the Dokploy server, without `/api`."""

    dokploy_api_token: Secret[SecretStr] = Field(min_length=1, examples=["the key from Dokploy's profile page"])
    """Dokploy API key without a rate limit."""

    dokploy_timeout_seconds: float = Field(30.0, gt=0, le=300, examples=["30"])
    """Timeout of one call to Dokploy."""

    dokploy_max_concurrency: int = Field(8, ge=1, le=200, examples=["8"])
    """Maximum number of concurrent calls to Dokploy. A real server answers about 38 calls a second."""

    dokploy_patience_seconds: float = Field(300.0, gt=0, examples=["300"])
    """How long a running deployment waits while Dokploy does not answer."""

    dokploy_circuit_seconds: float = Field(5.0, gt=0, le=300, examples=["5"])
    """Pause in calls after five failures in a row. New deployments are refused with 503 meanwhile."""

    stack_domain_suffix: str = Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=200, examples=["ai.example.com"])
    """Stacks get the address `<name>.<suffix>`. A wildcard DNS record for it must lead to Dokploy's proxy."""

    stack_image: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$", max_length=500, examples=["ghcr.io/example/oh-my-opencode:1.0"]
    )
    """Container image of a stack."""

    stack_port: int = Field(8080, ge=1, le=65535, examples=["8080"])
    """Port the stack's container listens on."""

    stack_memory: str = Field("2g", pattern=r"^[0-9]{1,12}[kmg]?$", examples=["512m", "2g"])
    """Memory limit of a stack: bytes, or a number with `k`, `m` or `g`."""

    stack_cpus: float = Field(1.0, ge=0.01, le=256, examples=["0.5", "2"])
    """CPU limit of a stack."""

    stack_volume: str = Field(
        "portal-ai-workspace-{name}", pattern=r"^[A-Za-z0-9_.-]*\{name\}[A-Za-z0-9_.-]*$", examples=["workspace-{name}"]
    )
    """Name of a stack's volume; `{name}` is replaced by the stack's name."""

    stack_volume_path: str = Field("/workspace", pattern=r"^/[A-Za-z0-9_./-]+$", examples=["/workspace"])
    """Where the volume is mounted in the container."""

    stack_variables: Secret[Annotated[dict[str, str], NoDecode]] = Field(
        default_factory=dict, examples=['{"TZ": "Europe/Amsterdam"}'], repr=False
    )
    """Additional environment variables for every stack, as a JSON object."""

    stack_password_variable: str = Field(
        "OPENCODE_SERVER_PASSWORD", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["OPENCODE_SERVER_PASSWORD"]
    )
    """Environment variable that gives the container its generated password."""

    stack_probe_paths: CommaList = Field(("/", "/global/health"), examples=["/,/global/health"])
    """Paths that are asked when a stack is verified; the first that answers as expected is enough."""

    stack_probe_address: str | None = Field(
        None, pattern=r"^(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$", examples=["traefik:443"]
    )
    """`host:port` to connect to for verification, if the portal cannot reach the public address itself."""

    stack_public_port: int | None = Field(None, ge=1, le=65535, examples=["8443"])
    """Port in a stack's address. Unset: the standard port of HTTP or HTTPS."""

    certificate_mode: str = Field(
        "wildcard",
        pattern=r"^(wildcard|letsencrypt|none|resolver:[A-Za-z0-9_-]+)$",
        examples=["wildcard", "letsencrypt", "resolver:dns", "none"],
    )
    """Where the certificate comes from. `wildcard`: the proxy's entry point; `resolver:<name>`: a Traefik resolver;
    `letsencrypt`: one certificate per stack, at most 50 new ones a week per domain; `none`: plain HTTP."""

    stack_registry_url: str | None = Field(None, examples=["ghcr.io"])
    """Registry of the stack image, if the image is private."""

    stack_registry_username: str | None = Field(None, examples=["robot"])
    """User name for that registry."""

    stack_registry_password: Secret[SecretStr | None] = Field(None, examples=["a token that can only pull"])
    """Password or token for that registry."""

    reserved_names: CommaList = Field(
        ("admin", "api", "www", "root", "system", "test", "demo", "portal", "deploy"), examples=["admin,api,www"]
    )
    """Names that no stack can have."""

    max_stacks: int = Field(90, ge=0, le=100_000, examples=["90"])
    """Maximum number of stacks; 0 for no limit. The network of a Dokploy server has room for about 100 services, and a
    service beyond that waits forever without an error."""

    max_stacks_per_owner: int = Field(10, ge=0, le=100_000, examples=["10"])
    """Maximum number of stacks per owner; 0 for no limit. Does not apply to operators."""

    max_in_flight: int = Field(50, ge=0, le=100_000, examples=["50"])
    """Maximum number of running deployments, not counting deletions; 0 for no limit. Dokploy deploys one after another,
    about one a minute, so that the last of 50 still gets its turn within `QUEUE_TIMEOUT_SECONDS`."""

    max_in_flight_per_owner: int = Field(5, ge=0, le=100_000, examples=["5"])
    """Maximum number of running deployments per owner; 0 for no limit. Does not apply to operators."""

    rate_per_address: str = Field("600/minute", examples=["600/minute", "off"])
    """Requests per IP address; `off` for no limit. An IPv6 /64 network counts as one address. Static files and health
    checks do not count."""

    rate_per_actor: str = Field("600/minute", examples=["600/minute", "off"])
    """Requests per person, token or key, from any address; `off` for no limit."""

    deploy_rate_per_address: str = Field("30/hour", examples=["30/hour", "off"])
    """Requests to deploy per IP address; `off` for no limit."""

    deploy_rate_per_actor: str = Field("30/hour", examples=["30/hour", "off"])
    """Requests to deploy per person, token or key, from any address; `off` for no limit."""

    wrong_credential_rate: str = Field("10/minute", examples=["10/minute", "off"])
    """Wrong tokens and keys per IP address; `off` for no limit."""

    max_streams_per_address: int = Field(50, ge=0, le=100_000, examples=["50"])
    """Maximum number of open event streams per IP address and portal process; 0 for no limit. A page without a stream
    polls instead."""

    redis_url: Secret[SecretStr | None] = Field(
        None, examples=["redis://:password@redis:6379/0", "rediss://redis:6380"]
    )
    """Redis in which several portals count requests together. Without it, or while it is down, each counts its own."""

    request_timeout_seconds: float = Field(10.0, ge=0.1, le=300, examples=["10"])
    """How long a request may take to arrive, and how long a client may read nothing of a response, before the
    connection is closed."""

    runner_concurrency: int = Field(500, ge=1, le=5000, examples=["500"])
    """How many deployments one portal process runs at once. More wait in the queue."""

    runner_lease_seconds: float = Field(3.0, ge=1, le=300, examples=["3"])
    """How long a process that stops responding keeps its deployments before another one takes over."""

    deploy_appear_seconds: float = Field(240.0, gt=0, examples=["240"])
    """How long Dokploy may take to list a deployment, not counting its time in Dokploy's queue."""

    deploy_timeout_seconds: float = Field(600.0, gt=0, examples=["600"])
    """How long a Dokploy deployment may run once Dokploy has started it."""

    queue_timeout_seconds: float = Field(3600.0, gt=0, examples=["3600"])
    """How long a deployment may wait in Dokploy's queue."""

    verify_timeout_seconds: float = Field(180.0, gt=0, examples=["180"])
    """How long a stack may take to answer at its address after Dokploy reports `done`."""

    undo_timeout_seconds: float = Field(120.0, gt=0, examples=["120"])
    """How long removing one resource is retried before it is listed as left over. Docker holds a volume for about
    16 s."""

    leftovers_retry_seconds: float = Field(30.0, gt=0, examples=["30"])
    """Pause before leftover resources are removed again. It doubles with each attempt."""

    leftovers_attempts: int = Field(12, ge=1, le=30, examples=["12"])
    """How often the removal of a leftover resource may fail before it is left to an operator. With the default pause,
    12 attempts take about 17 hours."""

    sse_timeout_seconds: float = Field(255.0, gt=0, examples=["255"])
    """How long an event stream stays open before the client is asked to reconnect."""

    sse_heartbeat_seconds: float = Field(5.0, gt=0, le=10, examples=["5"])
    """Silence on an event stream after which a heartbeat is sent."""

    keep_events_days: int = Field(90, ge=0, le=_LONGEST_KEPT, examples=["90", "0"])
    """How many days the log of a deployment is kept after its end; 0 to keep it forever. Its result is kept."""

    keep_deployments_days: int = Field(365, ge=0, le=_LONGEST_KEPT, examples=["365", "0"])
    """How many days a deployment is kept after its end, and a deleted stack after its deletion; 0 to keep them forever.
    The first and the newest deployment of a stack are kept as long as the stack."""

    keep_audit_days: int = Field(365, ge=0, le=_LONGEST_KEPT, examples=["365", "0"])
    """How many days an entry of the audit trail is kept; 0 to keep it forever."""

    keep_tokens_days: int = Field(30, ge=0, le=_LONGEST_KEPT, examples=["30", "0"])
    """How many days an access token is kept after it expired or was revoked; 0 to keep it forever."""

    keep_accounts_days: int = Field(365, ge=0, le=_LONGEST_KEPT, examples=["365", "0"])
    """How many days the account of a person who has no stacks, tokens or sessions is kept after their last visit; 0 to
    keep it forever."""

    forwarded_allow_ips: str = Field("127.0.0.1", examples=["127.0.0.1", "10.0.1.5"])
    """Proxies whose `X-Forwarded-*` headers are trusted. Never list a network that stacks are on."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a folder of files under other names
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the first that has one: the caller, files, the environment, `.env`."""
        files = SecretFiles(settings_cls, env_settings, dotenv_settings)
        return init_settings, files, env_settings, dotenv_settings

    _split = field_validator("secret_key", "stack_probe_paths", "reserved_names", mode="before")(comma_list)

    @field_validator("stack_domain_suffix", mode="before")
    @classmethod
    def _fold_suffix(cls, value: Any) -> Any:
        return value.strip().strip(".").lower() if isinstance(value, str) else value

    @field_validator("dokploy_url")
    @classmethod
    def _no_api(cls, value: HttpUrl) -> HttpUrl:
        if (value.path or "/").rstrip("/").endswith("/api"):
            raise ValueError("must not end with /api")
        if value.username or value.password:
            raise ValueError("must not hold credentials")
        return value

    @field_validator("dokploy_api_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("must be one word of printable ASCII characters")
        return value

    @field_validator(
        "rate_per_address",
        "rate_per_actor",
        "deploy_rate_per_address",
        "deploy_rate_per_actor",
        "wrong_credential_rate",
    )
    @classmethod
    def _rate(cls, value: str) -> str:
        if value == "off":
            return value
        from limits import parse_many

        try:
            (rate,) = parse_many(value)
        except ValueError:  # none, or several
            raise ValueError("must be a number and a span of time, or off") from None
        if rate.amount < 1:
            raise ValueError("must allow one at least; off is for no limit")
        return value

    @field_validator("redis_url")
    @classmethod
    def _address_of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parts = urlsplit(value.get_secret_value())
                has_port = parts.port != 0
            except ValueError:
                has_port = False
            if not has_port or parts.scheme not in {"redis", "rediss"} or not parts.hostname:
                raise ValueError("must be an address such as redis://host:6379")
        return value

    @field_validator("stack_probe_address")
    @classmethod
    def _a_port(cls, value: str | None) -> str | None:
        if value is not None and not 1 <= int(value.rpartition(":")[2]) <= 65535:
            raise ValueError("must end with a port from 1 to 65535")
        return value

    @field_validator("stack_probe_paths")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or any(not re.fullmatch(r"/[A-Za-z0-9_./~-]*", path) for path in value):
            raise ValueError("must be paths that begin with a slash")
        return value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < 16 for key in value):
            raise ValueError("each key must have at least 16 characters")
        return value

    @field_validator("stack_memory")
    @classmethod
    def _enough_memory(cls, value: str) -> str:
        if _memory_bytes(value) < _SMALLEST_MEMORY:
            raise ValueError("must be at least 6m")
        return value

    @field_validator("stack_variables", mode="before")
    @classmethod
    def _json_object(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None

    @field_validator("stack_variables")
    @classmethod
    def _variable_names(cls, value: dict[str, str]) -> dict[str, str]:
        if any(not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) for name in value):
            raise ValueError("must have names of letters, digits and underscores")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        # One made by itself would be another on each machine.
        if not self.secret_key and (self.app_env == "production" or not self.database_url.startswith("sqlite")):
            raise ValueError("SECRET_KEY is not set; for example SECRET_KEY=$(openssl rand -hex 32)")
        if (self.stack_registry_username is None) != (self.stack_registry_password is None):
            raise ValueError(
                "STACK_REGISTRY_USERNAME and STACK_REGISTRY_PASSWORD belong together and one is not set; "
                "for example STACK_REGISTRY_USERNAME=robot"
            )
        if 0 < self.keep_deployments_days < (self.keep_events_days or self.keep_deployments_days):
            raise ValueError(
                "KEEP_DEPLOYMENTS_DAYS is less than KEEP_EVENTS_DAYS, and a log goes with its deployment; "
                f"for example KEEP_DEPLOYMENTS_DAYS={self.keep_events_days}"
            )
        self.check_ways_in(in_production=self.app_env == "production")
        return self

    @property
    def secret_values(self) -> tuple[str, ...]:
        """Every secret among the settings, for whoever takes them out of texts; of an address its password."""
        values: list[str] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name) if may_come_from_file(field) else None
            match value:
                case SecretStr():
                    values.append(value.get_secret_value())
                case dict():
                    values += value.values()
                case tuple():
                    values += value
                case str():
                    password = urlsplit(value).password or ""
                    values += {password, unquote(password)}
        return tuple(values)

    @property
    def memory_bytes(self) -> int:
        """`stack_memory` in bytes."""
        return _memory_bytes(self.stack_memory)

    @property
    def https(self) -> bool:
        """Whether a stack's address is https."""
        return self.certificate_mode != "none"

    @property
    def sqlite_path(self) -> Path | None:
        """File of the SQLite database; None with PostgreSQL or a database in memory."""
        scheme, _, path = self.database_url.partition(":///")
        return Path(path) if scheme.startswith("sqlite") and path and path != ":memory:" else None

    @property
    def dokploy_base(self) -> str:
        """`dokploy_url` without a slash at the end."""
        return str(self.dokploy_url).rstrip("/")

    @property
    def portal_is_tls(self) -> bool:
        """Whether browsers reach this portal over HTTPS, so that cookies can be kept to it."""
        return self.app_env == "production"


def _memory_bytes(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1] in _UNITS else int(text)


def load_settings(**values: Any) -> Settings:
    """Read the settings; `values` beat the environment.

    Raises SettingsError with one line that names the variable, what was wrong and an example.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None


def require_closed(settings: Settings) -> None:
    """Raise SettingsError where strangers could deploy on the server and nobody has said that this is meant."""
    is_reached = settings.app_env == "production" and not is_loopback(settings.host)
    if settings.auth_mode == "open" and is_reached and not settings.allow_open_portal:
        raise SettingsError(
            f"AUTH_MODE is open and HOST is {settings.host}: whoever reaches this portal could deploy on the server. "
            "Set AUTH_MODE=oidc or AUTH_MODE=proxy, or ALLOW_OPEN_PORTAL=true where that is meant"
        )


def require_postgresql(settings: Settings, command: str) -> None:
    """Raise SettingsError unless the store is PostgreSQL: processes on SQLite tell each other nothing."""
    if settings.database_url.startswith("sqlite"):
        raise SettingsError(
            f"`{command}` needs PostgreSQL, over which its processes tell each other what there is to do; "
            "for example DATABASE_URL=postgresql+asyncpg://portal:secret@db/portal"
        )


def explain(error: ValidationError, of: type[BaseSettings]) -> str:
    """One line for the first mistake: the variable, what is wrong and an example; never the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0])
    field = of.model_fields[name]
    wrong = "is not set" if first["type"] == "missing" else _in_words(first["msg"])
    examples = " or ".join(str(example) for example in (field.examples or (field.default,))[:2])
    more = f" ({error.error_count() - 1} more after this one)" if error.error_count() > 1 else ""
    variable = f"{of.model_config.get('env_prefix', '')}{name}".upper()
    return f"{variable} {wrong}; for example {variable}={examples}{more}"


def _in_words(message: str) -> str:
    message = message.removeprefix("Value error, ")
    if message.startswith("String should match pattern"):
        return "is malformed"
    return message if message.startswith("URL") else message[0].lower() + message[1:]


def host_and_port(address: str) -> tuple[str, int]:
    """Take `host:port` apart; an IPv6 host stands in brackets."""
    parts = urlsplit(f"//{address}")
    return parts.hostname or "", parts.port or 0
