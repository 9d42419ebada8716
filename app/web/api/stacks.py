"""Stacks: listed, read, changed and deleted."""

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from app.deployments.model import DeploymentRecord
from app.deployments.states import ResourceState
from app.errors import PortalError
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.portal import Portal
from app.stacks.model import StackView
from app.stacks.requester import Requester
from app.stacks.volumes import KeptFiles
from app.web import stream
from app.web.api.openapi import LOCATION, parameter, problems
from app.web.api.paging import PageDep
from app.web.api.schemas.deployments import (
    DeploymentsAnswer,
    FollowAnswer,
    deployments_answer,
    events_url,
    follow_answer,
    status_url,
)
from app.web.api.schemas.stacks import (
    KeptFilesAnswer,
    RemovalAnswer,
    StackAnswer,
    StacksAnswer,
    kept_files_answer,
    stack_answer,
    stacks_answer,
)
from app.web.auth.authorization import (
    StackDep,
    StackOrKeptDep,
    files_of,
    find_deployment,
    stacks_of,
)
from app.web.deps import (
    LanguageDep,
    PortalDep,
    PrincipalDep,
    wait_preference,
)
from app.web.passwords import password_of
from app.web.problems import problem_response

router = APIRouter()


LONGEST_WAIT: Final = 300
USUAL_WAIT: Final = 30


@router.get("/api/stacks", tags=["stacks"])
async def stacks(portal: PortalDep, principal: PrincipalDep, response: Response, page: PageDep) -> StacksAnswer:
    """List your stacks, or all stacks for an operator, newest first."""
    response.headers["Cache-Control"] = "no-store"
    return stacks_answer(await stacks_of(portal, principal, page))


@router.get("/api/kept-files", tags=["stacks"])
async def kept_files(portal: PortalDep, principal: PrincipalDep, response: Response, page: PageDep) -> KeptFilesAnswer:
    """List volumes kept from your deleted stacks, or from all deleted stacks for an operator."""
    response.headers["Cache-Control"] = "no-store"
    return kept_files_answer(await files_of(portal, principal, page))


@router.get("/api/stack/{name}", tags=["stacks"])
async def stack(
    found: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
    response: Response,
) -> StackAnswer:
    """Return one of your stacks. A token sees the password only with the scope `stack:manage`."""
    newest = await portal.records.newest_deployment(found.id)
    if newest is None:
        raise PortalError("stack_not_found", name=found.name)
    response.headers["Cache-Control"] = "no-store"
    return stack_answer(StackView(found, newest), password=await password_of(portal, principal, found))


@router.get("/api/stack/{name}/deployments", tags=["stacks"])
async def deployments_of_stack(
    found: StackDep, portal: PortalDep, response: Response, page: PageDep
) -> DeploymentsAnswer:
    """List the deployments of one of your stacks, newest first."""
    response.headers["Cache-Control"] = "no-store"
    return deployments_answer(await portal.records.deployments_of(found.id, page))


@router.post(
    "/api/stack/{name}/redeploy",
    status_code=202,
    tags=["stacks"],
    responses={202: LOCATION, **problems(409)},
)
async def redeploy(
    response: Response,
    found: StackDep,
    portal: PortalDep,
    principal: PrincipalDep,
) -> FollowAnswer:
    """Redeploy a stack: create what is missing and deploy the image again. Its files stay.

    If it fails, nothing is rolled back.
    """
    return _begun(
        response, await portal.operations.change(REDEPLOY, found, Requester(found.owner, principal.actor, "api"))
    )


@router.post(
    "/api/stack/{name}/password",
    status_code=202,
    tags=["stacks"],
    responses={202: LOCATION, **problems(409)},
)
async def change_password(
    response: Response, found: StackDep, portal: PortalDep, principal: PrincipalDep
) -> FollowAnswer:
    """Give a stack a new password and redeploy it.

    The old password is shown until the container has started with the new one. If that fails, `passwordPending` stays
    true, and the next redeployment finishes the change.
    """
    requester = Requester(found.owner, principal.actor, "api")
    return _begun(response, await portal.operations.change(PASSWORD, found, requester))


def _begun(response: Response, deployment_id: str) -> FollowAnswer:
    response.headers["Location"] = status_url(deployment_id)
    response.headers["Cache-Control"] = "no-store"
    return follow_answer(deployment_id)


@router.delete(
    "/api/stack/{name}",
    tags=["stacks"],
    openapi_extra={
        "parameters": [parameter("header", "Prefer", f"`wait=N`: seconds to wait for the end, at most {LONGEST_WAIT}.")]
    },
    responses={202: {"model": RemovalAnswer, **LOCATION}, **problems(400, 409, 502)},
)
async def delete_stack(
    request: Request,
    response: Response,
    found: StackOrKeptDep,
    portal: PortalDep,
    principal: PrincipalDep,
    language: LanguageDep,
    volume: Annotated[Literal["erase", "keep"], Query(description="Whether to erase or keep its volume.")] = "erase",
) -> Any:
    """Delete a stack and everything created for it. Waits up to `Prefer: wait=N` seconds (30), then answers 202.

    For a deleted stack whose volume was kept, an explicit `volume=erase` erases the volume.
    """
    seconds = wait_preference(request, usual=USUAL_WAIT, maximum=LONGEST_WAIT)
    end = time.monotonic() + seconds
    if isinstance(found, KeptFiles):
        # Files that somebody chose to keep are not lost to what a request leaves out.
        if volume != "erase" or "volume" not in request.query_params:
            raise PortalError("stack_not_found", name=found.name)
        deployment_id = await portal.operations.erase(found, Requester(found.owner, principal.actor, "api"))
    else:
        deployment_id = await portal.operations.remove(found, volume, Requester(found.owner, principal.actor, "api"))
    record = await _wait_until_over(request, portal, deployment_id, end)
    response.headers["Cache-Control"] = "no-store"
    answer = RemovalAnswer(
        removed=record.conclusion is not None and not record.stack_exists,
        deployment_id=record.id,
        status_url=status_url(record.id),
        events_url=events_url(record.id),
        resources=[kind for kind, each in record.resources.items() if each.state is ResourceState.REMOVED],
    )
    if record.conclusion is None:
        response.status_code = 202
        response.headers["Location"] = answer.status_url
        return answer
    if not answer.removed:
        error = PortalError("removal_incomplete", name=record.name)
        left = [{"kind": each.kind, "name": each.name} for each in record.leftovers]
        return problem_response(error, language, leftovers=left, statusUrl=answer.status_url)
    return answer


async def _wait_until_over(request: Request, portal: Portal, deployment_id: str, end: float) -> DeploymentRecord:
    """Wait for a deployment's last event, until a moment of the monotonic clock, or until the portal stops."""
    record = await find_deployment(portal, deployment_id)
    if record.conclusion is None:
        async for batch in portal.broker.follow(deployment_id, record.last_event, quiet=0.2):
            if any(event.conclusion for event in batch) or time.monotonic() > end or stream.is_stopping(request):
                break
        record = await find_deployment(portal, deployment_id)
    return record
