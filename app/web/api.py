"""The API for programs: JSON in and out, every failure a problem document."""

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.deployments.events import STEP_LABELS, Kind
from app.deployments.intake import Asker
from app.deployments.plan import Plan, make_plan
from app.deployments.quota import Quotas
from app.deployments.record import DeploymentRecord, StackRecord, StackView, Whose
from app.deployments.request import (
    MAX_NAME,
    DeploymentRequest,
    could_be_id,
    could_be_name,
    normalize_name,
    parse_idempotency_key,
    parse_name,
)
from app.deployments.saga import ResourceState
from app.deployments.template import StackSecrets
from app.errors import N_, PortalError
from app.i18n import LANGUAGES, Language
from app.identity import Caller, Ownership
from app.vault import fingerprint
from app.web import models, sse
from app.web.deps import Portal, caller_of, language_of, portal_of, read_json, same_site, wait_preference
from app.web.problems import problem_response, show

router = APIRouter()

LONGEST_WAIT: Final = 300
USUAL_WAIT: Final = 30
# How many of the newest deployments the operator is told of.
LATEST: Final = 10

PLAN_SENTENCES = (
    N_("Create: a project {name} in Dokploy, with one application."),
    N_("Start: the image {image} with {memory} MB of memory, {cpus} CPU and the volume {volume}."),
    N_("Route: {url} to port {port} of the container."),
    N_("Check: the address asks a stranger for the password."),
)

PortalDep = Annotated[Portal, Depends(portal_of)]
LanguageDep = Annotated[Language, Depends(language_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
StackName = Annotated[str, Path(description="The stack's name.")]
DeploymentId = Annotated[str, Path(description="The deployment's id, as POST /api/deploy answers it.")]


def query(**described: str) -> list[dict[str, Any]]:
    """Describe query parameters that something other than the route's own signature reads."""
    return [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in described.items()
    ]


_LANG: Final = {"lang": f"Language of sentences: {', '.join(LANGUAGES)}."}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say in the OpenAPI document which problems a route answers."""
    return {
        status: {
            "description": "A problem document",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in (*statuses, 503)
    }


_JSON_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": models.DeployBody.model_json_schema()}},
    }
}


@router.get("/health", tags=["health"])
async def health(portal: PortalDep) -> models.HealthAnswer:
    """Whether the process serves, and what is known of Dokploy. Always 200 while it does."""
    known = portal.health.now
    return models.HealthAnswer(
        version=portal.version,
        dokploy=models.HealthAnswer.Dokploy(
            reachable=known.reachable,
            version=known.version,
            trouble=known.trouble,
            last_answer=known.last_answer,
            circuit=known.circuit,
            incompatible=None if known.incompatible is None else [str(misfit) for misfit in known.incompatible],
        ),
        runner=models.HealthAnswer.Runner(
            enabled=portal.runner.is_started,
            active=portal.runner.is_active,
            running=portal.runner.running,
            watchers=portal.feed.watchers,
        ),
    )


@router.get("/ready", tags=["health"], responses={503: {"model": models.ReadyAnswer}})
async def ready(portal: PortalDep, response: Response) -> models.ReadyAnswer:
    """Whether requests can be taken in: the store can be written and its schema is the one this portal knows."""
    state = await portal.readiness.look()
    response.status_code = 200 if state.trouble is None else 503
    response.headers["Cache-Control"] = "no-store"
    return models.ReadyAnswer(
        ready=state.trouble is None,
        store=state.trouble in {None, "schema"},
        schema_version=state.revision,
        trouble=state.trouble,
    )


@router.get("/api/check/{name:path}", tags=["names"], openapi_extra={"parameters": query(**_LANG)})
async def check(
    name: Annotated[str, Path(description="The name that is wanted.")], portal: PortalDep, language: LanguageDep
) -> models.CheckAnswer:
    """Whether a name can be had. Always 200; never asks Dokploy."""
    reserved = portal.settings.reserved_names
    try:
        parsed = parse_name(name, reserved)
    except PortalError as error:
        shown = show(error, language)
        return models.CheckAnswer(
            name=name[:100],
            normalized=normalize_name(name)[:100],
            valid=False,
            available=False,
            code=error.code,
            message=f"{shown.detail} {shown.hint}",
            suggestions=[],
        )
    if await portal.records.held([parsed]):
        problem = await portal.intake.taken(parsed)
        return models.CheckAnswer(
            name=name,
            normalized=parsed,
            valid=True,
            available=False,
            code=problem.code,
            message=show(problem, language).detail,
            suggestions=await portal.intake.suggest(parsed, reserved),
        )
    free = language.text(N_("{host} is free."), {"host": f"{parsed}.{portal.settings.stack_domain_suffix}"})
    return models.CheckAnswer(
        name=name, normalized=parsed, valid=True, available=True, code=None, message=free, suggestions=[]
    )


def plan_for(body: models.DeployBody, portal: Portal) -> tuple[DeploymentRequest, Plan]:
    """Check a request and decide its plan. Raises PortalError."""
    name = parse_name(body.name, portal.settings.reserved_names)
    request = DeploymentRequest(name=name, template=body.template, inputs=body.inputs)
    return request, make_plan(request, portal.template, portal.settings)


@router.post("/api/plan", tags=["deployments"], openapi_extra=_JSON_BODY, responses=problems(400, 408, 413, 415, 422))
async def preview(request: Request, portal: PortalDep, caller: CallerDep, language: LanguageDep) -> models.PlanAnswer:
    """What a deployment would make, and what would keep it from starting. Changes nothing."""
    asker = Asker(caller.owner or "", caller.name, "api", is_operator=caller.is_operator)
    return await preview_plan(await read_json(request, models.DeployBody), portal, language, asker)


async def preview_plan(body: models.DeployBody, portal: Portal, language: Language, asker: Asker) -> models.PlanAnswer:
    """Decide a plan and nothing else, for a program or for the form (APL-4)."""
    try:
        _, plan = plan_for(body, portal)
    except PortalError as error:
        return models.PlanAnswer(plan=None, sentences=[], warnings=[], blocked=[_blocked(error, language)])
    params: dict[str, str | int | float] = {
        "name": plan.name,
        "image": plan.image,
        "memory": plan.memory_bytes // 2**20,
        "cpus": plan.cpus,
        "volume": plan.volume,
        "url": plan.url,
        "port": str(plan.port),
    }
    answer = models.plan_answer(plan, [language.text(line, params) for line in PLAN_SENTENCES], plan.warnings)
    if await portal.records.held([plan.name]):
        answer.blocked.append(_blocked(await portal.intake.taken(plan.name), language))
    answer.blocked += [_blocked(each, language) for each in await portal.intake.refusals(asker)]
    return answer


def _blocked(error: PortalError, language: Language) -> models.PlanAnswer.Blocked:
    shown = show(error, language)
    return models.PlanAnswer.Blocked(
        phase="plan", code=shown.code, title=shown.title, detail=shown.detail, hint=shown.hint, field=error.field
    )


@router.post(
    "/api/deploy",
    status_code=202,
    tags=["deployments"],
    openapi_extra=_JSON_BODY,
    responses=problems(400, 403, 408, 409, 413, 415, 422),
)
async def deploy(request: Request, response: Response, portal: PortalDep, caller: CallerDep) -> models.AcceptedAnswer:
    """Take in a deployment. It runs on whoever watches; follow it at `eventsUrl`.

    With an `Idempotency-Key` header a repeated request within 24 hours gets the first one's answer.
    """
    same_site(request)
    idempotency_key = parse_idempotency_key(request.headers.get("idempotency-key"))
    body = await read_json(request, models.DeployBody)
    deployment_request, plan = plan_for(body, portal)
    asker = Asker(owner=caller.owner or "", actor=caller.name, trigger="api", is_operator=caller.is_operator)
    try:
        accepted = await portal.intake.deploy(
            deployment_request, plan, portal.template, asker, idempotency_key=idempotency_key
        )
    except PortalError as error:
        if error.code in {"name_taken", "name_cleaning_up"}:
            suggestions = await portal.intake.suggest(plan.name, portal.settings.reserved_names)
            raise RefusedNameError(error, suggestions) from None
        raise
    response.headers["Location"] = models.status_url(accepted.deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return models.AcceptedAnswer(
        deployment_id=accepted.deployment_id,
        stack_name=accepted.name,
        url=accepted.url,
        status_url=models.status_url(accepted.deployment_id),
        events_url=models.events_url(accepted.deployment_id),
        manage_key=accepted.manage_key,
    )


class RefusedNameError(PortalError):
    """A name that is taken, with names near it that are not."""

    def __init__(self, error: PortalError, suggestions: list[str]) -> None:
        super().__init__(error.code, field=error.field, **dict[str, Any](error.params))
        self.suggestions = suggestions


async def find_deployment(portal: Portal, deployment_id: str) -> DeploymentRecord:
    """Read a deployment. Raises PortalError `deployment_not_found`."""
    record = await portal.records.deployment(deployment_id) if could_be_id(deployment_id) else None
    if record is None:
        raise PortalError("deployment_not_found")
    return record


@router.get(
    "/api/deployments/{deployment_id}",
    tags=["deployments"],
    responses=problems(404),
    openapi_extra={"parameters": query(**_LANG)},
)
async def deployment(
    deployment_id: DeploymentId, portal: PortalDep, language: LanguageDep, response: Response
) -> models.DeploymentAnswer:
    """The record of a deployment, at any moment of it. Whoever knows the id may read; it holds no secret."""
    record = await find_deployment(portal, deployment_id)
    labels = {name: language.text(label) for name, label in STEP_LABELS.items()}
    response.headers["Cache-Control"] = "no-store"
    return models.deployment_answer(record, labels, language)


@router.get(
    "/api/deployments/{deployment_id}/events",
    tags=["deployments"],
    response_class=Response,
    openapi_extra={
        "parameters": query(
            after="Number of the last event that was seen.",
            follow="`false` ends JSON lines at the newest event.",
            **_LANG,
        )
    },
    responses={
        200: {
            "description": "The events, each as EventAnswer describes it",
            "content": {
                "text/event-stream": {"schema": {"type": "string"}},
                "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/EventAnswer"}},
            },
        },
        204: {"description": "The run is over and the reader has seen all of it"},
        **problems(400, 404),
    },
)
async def events(
    request: Request,
    deployment_id: DeploymentId,
    portal: PortalDep,
) -> Response:
    """Follow a deployment's events: replay from any number, then live, until it is over."""
    return sse.stream_events(request, await find_deployment(portal, deployment_id))


@router.post(
    "/api/deployments/{deployment_id}/cancel",
    status_code=202,
    tags=["deployments"],
    responses=problems(401, 403, 404, 409),
)
async def cancel(
    request: Request, deployment_id: DeploymentId, portal: PortalDep, caller: CallerDep
) -> models.FollowAnswer:
    """Cancel a deployment: what it has made is removed again. Asking twice changes nothing."""
    await cancel_deployment(request, portal, caller, deployment_id)
    return models.FollowAnswer(
        deployment_id=deployment_id,
        status_url=models.status_url(deployment_id),
        events_url=models.events_url(deployment_id),
    )


async def cancel_deployment(request: Request, portal: Portal, caller: Caller, deployment_id: str) -> None:
    """Cancel for a form or a program. Raises PortalError."""
    same_site(request)
    record = await find_deployment(portal, deployment_id)
    caller.must_manage(Ownership(record.owner_of_stack, record.manage_key_hash))
    if record.kind is Kind.REMOVE and record.conclusion is None:
        raise PortalError("removal_goes_on")
    if not await portal.intake.cancel(deployment_id):
        raise PortalError("deployment_over")


@router.get("/api/stacks", tags=["stacks"], responses=problems())
async def stacks(portal: PortalDep, caller: CallerDep, response: Response) -> models.StacksAnswer:
    """The stacks that the caller manages; every stack for the operator, none for a stranger."""
    response.headers["Cache-Control"] = "no-store"
    views = await stacks_of(portal, caller)
    return models.StacksAnswer(stacks=[models.stack_answer(view) for view in views])


@router.get("/api/stack/{name}", tags=["stacks"], responses=problems(404))
async def stack(name: StackName, portal: PortalDep, caller: CallerDep, response: Response) -> models.StackAnswer:
    """A stack with its password, for whoever manages it; for everybody else there is no such stack."""
    found = await visible_stack(portal, caller, name)
    newest = await portal.records.newest_deployment(found.id)
    if newest is None:
        raise PortalError("stack_not_found", name=found.name)
    password = StackSecrets.decrypt(found.secrets, portal.vault).password
    response.headers["Cache-Control"] = "no-store"
    return models.stack_answer(StackView(found, newest), password=password)


@router.post(
    "/api/stack/{name}/redeploy",
    status_code=202,
    tags=["stacks"],
    responses=problems(401, 403, 404, 409),
)
async def redeploy(
    request: Request, response: Response, name: StackName, portal: PortalDep, caller: CallerDep
) -> models.FollowAnswer:
    """Make a stack again what its plan says: what is missing is made, the image is deployed, the files stay.

    Nothing is undone where it fails; what is there stays as it is.
    """
    found = await managed_stack(request, portal, caller, name)
    asker = Asker(found.owner, caller.name, "api", is_operator=caller.is_operator)
    deployment_id = await portal.intake.redeploy(found, asker)
    response.headers["Location"] = models.status_url(deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return models.FollowAnswer(
        deployment_id=deployment_id,
        status_url=models.status_url(deployment_id),
        events_url=models.events_url(deployment_id),
    )


@router.delete(
    "/api/stack/{name}",
    tags=["stacks"],
    responses={202: {"model": models.RemovalAnswer}, **problems(400, 401, 403, 404, 409, 422, 502)},
)
async def delete_stack(
    request: Request,
    response: Response,
    name: StackName,
    portal: PortalDep,
    caller: CallerDep,
    language: LanguageDep,
    volume: Annotated[Literal["erase", "keep"], Query(description="What happens to its files.")] = "erase",
) -> Any:
    """Remove a stack with everything the portal made for it. Waits up to `Prefer: wait=N` seconds (30), else 202."""
    seconds = wait_preference(request, usual=USUAL_WAIT, maximum=LONGEST_WAIT)
    end = time.monotonic() + seconds
    found = await managed_stack(request, portal, caller, name)
    deployment_id = await portal.intake.remove(found, volume, Asker(found.owner, caller.name, "api"))
    record = await _wait_until_over(request, portal, deployment_id, end)
    response.headers["Cache-Control"] = "no-store"
    answer = models.RemovalAnswer(
        removed=record.conclusion is not None and not record.stack_exists,
        deployment_id=record.id,
        status_url=models.status_url(record.id),
        events_url=models.events_url(record.id),
        resources=[kind for kind, each in record.resources.items() if each.state is ResourceState.REMOVED],
    )
    if record.conclusion is None:
        response.status_code = 202
        response.headers["Location"] = answer.status_url
        return answer
    if not answer.removed:
        error = PortalError("removal_incomplete", name=found.name)
        left = [{"kind": each.kind, "name": each.name} for each in record.leftovers]
        return problem_response(error, language, leftovers=left, statusUrl=answer.status_url)
    return answer


@router.get("/api/leftovers", tags=["operators"], responses=problems(401, 403))
async def leftovers(
    portal: PortalDep,
    caller: CallerDep,
    response: Response,
    removed: Annotated[bool, Query(description="Also what was left once and is gone by now.")] = False,
) -> models.LeftoversAnswer:
    """What could not be removed from Dokploy, and when it is tried again. For the operator."""
    caller.must_operate()
    response.headers["Cache-Control"] = "no-store"
    return models.leftovers_answer(await portal.leftovers.all(removed=removed))


@router.get("/api/overview", tags=["operators"], responses=problems(401, 403))
async def overview(portal: PortalDep, caller: CallerDep, response: Response) -> models.OverviewAnswer:
    """The numbers of the operator's page: the last 14 days, the newest deployments, what is left over."""
    caller.must_operate()
    response.headers["Cache-Control"] = "no-store"
    latest = await portal.records.latest(limit=LATEST)
    overview, left = await portal.statistics.overview(), await portal.leftovers.all()
    return models.overview_answer(overview, latest, left, Quotas.of(portal.settings))


def whose_stacks(caller: Caller) -> Whose | None:
    """Which stacks a caller manages; None: none. A token, where one was sent, counts alone."""
    if caller.is_operator:
        return Whose()
    if caller.bearer is not None:
        return Whose(key_hash=fingerprint(caller.bearer))
    return Whose(owner=caller.owner) if caller.owner is not None else None


async def stacks_of(
    portal: Portal, caller: Caller, *, after: str | None = None, limit: int | None = None
) -> list[StackView]:
    """The stacks that a caller manages, newest first. after: those that follow the stack with this id."""
    whose = whose_stacks(caller)
    return [] if whose is None else await portal.records.stack_views(whose, after=after, limit=limit)


async def managed_stack(request: Request, portal: Portal, caller: Caller, name: str) -> StackRecord:
    """Find a stack that the caller may change.

    Raises PortalError: `stack_not_found`, `credential_missing`, `credential_wrong`, `cross_site`.
    """
    same_site(request)
    found = await _find_stack(portal, name)
    caller.must_manage(_ownership(found))
    return found


async def visible_stack(portal: Portal, caller: Caller, name: str) -> StackRecord:
    """Find a stack that the caller may see. Raises PortalError `stack_not_found`, also for one that he may not."""
    found = await _find_stack(portal, name)
    if not caller.manages(_ownership(found)):
        raise PortalError("stack_not_found", name=found.name)
    return found


async def _find_stack(portal: Portal, name: str) -> StackRecord:
    wanted = normalize_name(name)
    found = await portal.records.find_stack(wanted) if could_be_name(wanted) else None
    if found is None:
        raise PortalError("stack_not_found", name=wanted[:MAX_NAME])
    return found


async def _wait_until_over(request: Request, portal: Portal, deployment_id: str, end: float) -> DeploymentRecord:
    """Wait for a deployment's last event, until a moment of the monotonic clock, or until the portal stops."""
    record = await find_deployment(portal, deployment_id)
    if record.conclusion is None:
        async for batch in portal.feed.follow(deployment_id, record.last_event, quiet=0.2):
            if any(event.conclusion for event in batch) or time.monotonic() > end or sse.is_stopping(request):
                break
        record = await find_deployment(portal, deployment_id)
    return record


def _ownership(stack: StackRecord) -> Ownership:
    return Ownership(stack.owner, stack.manage_key_hash)
