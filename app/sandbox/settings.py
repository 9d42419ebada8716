"""What an operator may turn on the emulated server, read from `SANDBOX_...`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxSettings(BaseSettings):
    """Settings of the emulated Dokploy; every one has a default, so nothing must be set."""

    model_config = SettingsConfigDict(
        env_prefix="SANDBOX_", frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True
    )

    DEPLOY_SECONDS: float = Field(2.0, ge=0)
    """Seconds a Dokploy deployment is `running` before it ends."""

    START_SECONDS: float = Field(0.2, ge=0)
    """Seconds a container needs from a finished deployment until it runs."""

    LATENCY_MS: float = Field(0.0, ge=0)
    """Milliseconds every API call waits before it is answered (a real server: about 40)."""

    CONCURRENCY: int = Field(1, ge=0)
    """Deployments worked on at once for the whole server, as Dokploy's own default is 1; 0 is unlimited."""

    VOLUME_RELEASE_SECONDS: float = Field(2.0, ge=0)
    """Seconds a volume stays in use after its application was deleted (a real server: about 16)."""

    API_TOKEN: SecretStr = SecretStr("sandbox-token")
    """The key that `x-api-key` must carry; a plain word, because nothing real stands behind it."""

    API_HOST: str = ""
    """One more host name under which the API, not a stack, is reached; localhost and IP addresses always are."""
