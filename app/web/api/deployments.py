"""Deployments: planned, requested, read, followed and canceled."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from app.errors import PortalError
from app.stacks.availability import NAME_REFUSED
from app.stacks.names import MAX_KEY, MIN_KEY, parse_idempotency_key
from app.web import stream
from app.web.api.openapi import LANG, LOCATION, body, parameter, problems
from app.web.api.schemas.deployments import (
    AcceptedAnswer,
    DeploymentAnswer,
    FollowAnswer,
    deployment_answer,
    events_url,
    follow_answer,
    status_url,
)
from app.web.api.schemas.plans import DeployBody, PlanAnswer, PlanBody, plan_answer
from app.web.auth.authorization import (
    DeploymentDep,
)
from app.web.deps import LanguageDep, PortalDep, PrincipalDep, read_json, requester_of
from app.web.preview import parse_request, preview_plan

router = APIRouter()


_EXAMPLE: Final = {"name": "ada-lovelace"}


@router.post("/api/plan", tags=["deployments"], openapi_extra={"requestBody": body(PlanBody, _EXAMPLE)})
async def plan(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> PlanAnswer:
    """Preview a deployment: what it would create, and what would block it. Changes nothing."""
    wanted = await read_json(request, PlanBody)
    preview = await preview_plan(
        portal, principal, language, wanted.name, template=wanted.template, inputs=wanted.inputs
    )
    return plan_answer(preview, language)


@router.post(
    "/api/deploy",
    status_code=202,
    tags=["deployments"],
    openapi_extra={
        "requestBody": body(DeployBody, _EXAMPLE),
        "parameters": [
            parameter(
                "header",
                "Idempotency-Key",
                "A random key for this request, such as a UUID.",
                minLength=MIN_KEY,
                maxLength=MAX_KEY,
                pattern="^[!-~]+$",
            )
        ],
    },
    responses={202: LOCATION, **problems(409)},
)
async def deploy(request: Request, response: Response, portal: PortalDep, principal: PrincipalDep) -> AcceptedAnswer:
    """Deploy a stack. The deployment runs in the background; follow it at `eventsUrl`.

    With an `Idempotency-Key`, a request repeated within 24 hours gets the first answer again.
    """
    idempotency_key = parse_idempotency_key(request.headers.get("idempotency-key"))
    sent = await read_json(request, DeployBody)
    wanted = parse_request(portal, sent.name, template=sent.template, inputs=sent.inputs)
    try:
        accepted = await portal.operations.create(
            wanted, portal.template, requester_of(principal, "api"), idempotency_key=idempotency_key
        )
    except PortalError as error:
        if error.code in NAME_REFUSED:
            suggestions = await portal.names.suggest(wanted.name, portal.settings.reserved_names, portal.template)
            raise RefusedNameError(error, suggestions) from None
        raise
    response.headers["Location"] = status_url(accepted.deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return AcceptedAnswer(
        deployment_id=accepted.deployment_id,
        stack_name=accepted.name,
        url=accepted.url,
        status_url=status_url(accepted.deployment_id),
        events_url=events_url(accepted.deployment_id),
        manage_key=accepted.manage_key if principal.gets_keys else None,
    )


class RefusedNameError(PortalError):
    """A name that is taken, with names near it that are not."""

    def __init__(self, error: PortalError, suggestions: list[str]) -> None:
        super().__init__(error.code, field=error.field, **dict[str, Any](error.params))
        self.suggestions = suggestions


@router.get(
    "/api/deployments/{deployment_id}",
    tags=["deployments"],
    openapi_extra={"parameters": [LANG]},
)
async def deployment(
    record: DeploymentDep,
    language: LanguageDep,
    response: Response,
) -> DeploymentAnswer:
    """Return the record of a deployment, running or completed. It contains no secrets.

    Its owner and operators can read it; on an open portal, everyone who knows the ID.
    """
    response.headers["Cache-Control"] = "no-store"
    return deployment_answer(record, language)


@router.get(
    "/api/deployments/{deployment_id}/events",
    tags=["deployments"],
    response_class=Response,
    openapi_extra={
        "parameters": [
            parameter(
                "query",
                "after",
                "Number of the last event that was seen.",
                type="integer",
                minimum=0,
                maximum=999_999_999,
            ),
            parameter("header", "Last-Event-ID", "The same, as browsers send it. Takes precedence over `after`."),
            LANG,
        ]
    },
    responses={
        200: {
            "description": "The events: as server-sent events, or each as a line of JSON",
            "content": {
                "text/event-stream": {"schema": {"$ref": "#/components/schemas/ServerSentEvent"}},
                "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/EventAnswer"}},
            },
        },
        204: {"description": "The run is over and the reader has seen all of it"},
        **problems(400),
    },
)
async def events(
    request: Request,
    record: DeploymentDep,
    follow: Annotated[bool, Query(description="`false`: JSON lines end at the newest event.")] = True,
    named: Annotated[
        bool, Query(description="`false` leaves out `event:`, so that browsers take all events for a `message`.")
    ] = True,
) -> Response:
    """Stream a deployment's events: replay from any number, then live, until it is completed."""
    return stream.stream_events(request, record, follow=follow, named=named)


@router.post(
    "/api/deployments/{deployment_id}/cancel",
    status_code=202,
    tags=["deployments"],
    responses=problems(409),
)
async def cancel(record: DeploymentDep, portal: PortalDep, principal: PrincipalDep) -> FollowAnswer:
    """Cancel a deployment and roll back its changes. Calling it twice changes nothing."""
    await portal.operations.cancel_or_refuse(record, principal.actor)
    return follow_answer(record.id)
