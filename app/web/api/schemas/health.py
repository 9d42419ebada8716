"""The JSON of health and readiness."""

from typing import Literal

from app.store.errors import Reason
from app.web.api.schemas.base import Answer


class HealthAnswer(Answer):
    """The process serves. What is known of Dokploy is remembered, not asked."""

    class Dokploy(Answer):
        """What is known of Dokploy."""

        reachable: bool | None
        version: str | None
        trouble: str | None
        last_answer: float | None
        circuit: Literal["closed", "open", "half_open"]
        incompatible: list[str] | None
        """Calls of the portal that this Dokploy would not take, and why; null while that is not known."""

    class Runner(Answer):
        """What runs here. enabled: whether this process runs deployments at all; active: whether it does now."""

        enabled: bool
        active: bool
        running: int
        watchers: int

    status: Literal["healthy"] = "healthy"
    version: str
    dokploy: Dokploy
    runner: Runner


class ReadyAnswer(Answer):
    """Whether the store can be written and has the right schema."""

    ready: bool
    store: bool
    schema_version: str | None
    trouble: Reason | Literal["schema"] | None
    """What is wrong: a word for programs, none while all is well."""
