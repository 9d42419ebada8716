"""Health and readiness."""

from fastapi import APIRouter, Response

from app.web.api.schemas.health import HealthAnswer, ReadyAnswer
from app.web.deps import (
    PortalDep,
)

router = APIRouter()


@router.get("/health", tags=["health"])
async def health(portal: PortalDep) -> HealthAnswer:
    """Return whether the process serves, and what it knows of Dokploy. Always 200 while it serves."""
    known = portal.health.now
    return HealthAnswer(
        version=portal.version,
        dokploy=HealthAnswer.Dokploy(
            reachable=known.reachable,
            version=known.version,
            trouble=known.trouble,
            last_answer=known.last_answer,
            circuit=known.circuit,
            incompatible=None if known.incompatible is None else [str(misfit) for misfit in known.incompatible],
        ),
        runner=HealthAnswer.Runner(
            enabled=portal.runner.is_started,
            active=portal.runner.is_active,
            running=portal.runner.running,
            watchers=portal.broker.watchers,
        ),
    )


@router.get("/ready", tags=["health"], responses={503: {"model": ReadyAnswer}})
async def ready(portal: PortalDep, response: Response) -> ReadyAnswer:
    """Return whether the portal can accept requests: it can write to its database, and knows the schema."""
    state = await portal.readiness.look()
    response.status_code = 200 if state.trouble is None else 503
    response.headers["Cache-Control"] = "no-store"
    return ReadyAnswer(
        ready=state.trouble is None,
        store=state.trouble in {None, "schema"},
        schema_version=state.revision,
        trouble=state.trouble,
    )
