"""The form that names a stack, and the deployment that it starts."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import PortalError
from app.stacks.availability import NAME_REFUSED
from app.web.deps import (
    LanguageDep,
    PortalDep,
    PrincipalDep,
    actor_of,
    origin_of,
    owner_of,
    read_form,
    remember_browser,
    requester_of,
)
from app.web.preview import parse_request
from app.web.problems import show
from app.web.ui.deploy.view import deploy_page, plan_preview
from app.web.ui.shared.responses import refuse, respond

router = APIRouter()

# A name that is too long is shown as it was typed, up to here.
_LONGEST_SHOWN: Final = 100


@router.api_route("/", methods=["GET", "HEAD"])
async def form(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Show the form, with the plan for a name if requested (`?name=ada&plan=1`)."""
    name = request.query_params.get("name", "")[:_LONGEST_SHOWN]
    plan = await plan_preview(portal, name, principal, language) if "plan" in request.query_params else None
    # Said before the viewer thinks of a name.
    away = show(PortalError("dokploy_away", seconds=0), language) if portal.health.now.circuit == "open" else None
    page = deploy_page(portal, language, name=name, origin=origin_of(request), problem=away, plan=plan)
    return respond(request, page)


@router.get("/deploy")
async def no_form_here() -> Response:
    """Redirect to the form: a reload of a refused form shows an empty one."""
    return RedirectResponse("/", status_code=303)


@router.post("/deploy")
async def deploy(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Start a deployment and go to its page, or show the form again with the reason."""
    fields = await read_form(request)
    name = fields.get("name", "")
    owner = owner_of(request)
    try:
        wanted = parse_request(portal, name)
        accepted = await portal.operations.create(
            wanted, portal.template, requester_of(principal, "user", owner=owner, actor=actor_of(request))
        )
    except PortalError as error:
        suggestions: list[str] = []
        if error.code in NAME_REFUSED:
            suggestions = await portal.names.suggest(wanted.name, portal.settings.reserved_names, portal.template)
        page = deploy_page(
            portal,
            language,
            name=name[:_LONGEST_SHOWN],
            origin=origin_of(request),
            problem=show(error, language),
            suggestions=suggestions,
        )
        return await refuse(request, error, page)
    response = RedirectResponse(f"/deployments/{accepted.deployment_id}", status_code=303)
    remember_browser(request, response)
    return response
