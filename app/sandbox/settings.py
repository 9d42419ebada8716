"""Settings of the emulated server, read from `SANDBOX_...`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxSettings(BaseSettings):
    """Settings of the emulated Dokploy; every one has a default, so nothing must be set."""

    model_config = SettingsConfigDict(
        env_prefix="SANDBOX_", frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True
    )

    DEPLOY_SECONDS: float = Field(2.0, ge=0)
    """Seconds that a Dokploy deployment is `running`."""

    START_SECONDS: float = Field(0.2, ge=0)
    """Seconds from a finished deployment until its container runs."""

    LATENCY_MS: float = Field(0.0, ge=0)
    """Milliseconds before an API call is answered (a real server: about 40)."""

    CONCURRENCY: int = Field(1, ge=0)
    """Deployments that the server works on at once; 0 for no limit. Dokploy's own default is 1."""

    VOLUME_RELEASE_SECONDS: float = Field(2.0, ge=0)
    """Seconds that a volume stays in use after its application was deleted (a real server: about 16)."""

    API_TOKEN: SecretStr = SecretStr("sandbox-token")
    """The key that `x-api-key` must carry. It protects nothing real."""

    API_HOST: str = ""
    """Additional host name for the API. It always answers on localhost and IP addresses."""
