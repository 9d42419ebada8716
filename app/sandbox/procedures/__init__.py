"""The procedures of the emulated API, one file for each of Dokploy's routers; importing this registers them all."""

from app.sandbox.procedures import (
    application,
    deployment,
    docker,
    domain,
    environment,
    lifecycle,
    mounts,
    project,
    settings,
    user,
)

__all__ = [
    "application",
    "deployment",
    "docker",
    "domain",
    "environment",
    "lifecycle",
    "mounts",
    "project",
    "settings",
    "user",
]
