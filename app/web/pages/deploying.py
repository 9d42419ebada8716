"""The first page: the form in which a stack is named, and what becomes of it when it is sent."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.intake import Asker
from app.deployments.request import MAX_NAME, MIN_NAME
from app.errors import PortalError
from app.i18n import Language
from app.web.api import CallerDep, LanguageDep, PortalDep, plan_for
from app.web.contexts import DeployPage, ShownProblem
from app.web.deps import owner_of, portal_of, read_form, remember_browser, same_site
from app.web.models import DeployBody
from app.web.pages.lines import planned_stations
from app.web.problems import headers_of, show, status_of
from app.web.rendering import respond

router = APIRouter()


@router.api_route("/", methods=["GET", "HEAD"])
async def form(request: Request, language: LanguageDep) -> Response:
    """The form."""
    return respond(request, _deploy_page(request, language, name=request.query_params.get("name", "")[:MAX_NAME]))


def _deploy_page(
    request: Request,
    language: Language,
    *,
    name: str,
    problem: ShownProblem | None = None,
    suggestions: Sequence[str] = (),
) -> DeployPage:
    settings = portal_of(request).settings
    return DeployPage(
        name=name,
        suffix=settings.stack_domain_suffix,
        url_prefix="https://" if settings.https else "http://",
        stations=planned_stations("create", language),
        problem=problem,
        suggestions=suggestions,
        minimum=MIN_NAME,
        maximum=MAX_NAME,
        origin=str(request.base_url).rstrip("/"),
    )


@router.post("/deploy")
async def deploy(request: Request, portal: PortalDep, caller: CallerDep, language: LanguageDep) -> Response:
    """Take in the form; on to the deployment's page, or back to the form with the reason."""
    same_site(request)
    fields = await read_form(request)
    name = fields.get("name", "")
    owner = owner_of(request, caller)
    try:
        deployment_request, plan = plan_for(DeployBody(name=name), portal)
        accepted = await portal.intake.deploy(
            deployment_request, plan, portal.template, Asker(owner=owner, actor=owner, trigger="user")
        )
    except PortalError as error:
        suggestions: list[str] = []
        if error.code in {"name_taken", "name_cleaning_up"}:
            suggestions = await portal.intake.suggest(plan.name, portal.settings.reserved_names)
        page = _deploy_page(request, language, name=name[:100], problem=show(error, language), suggestions=suggestions)
        refused = respond(request, page, status=status_of(error.code))
        refused.headers.update(headers_of(error))
        return refused
    response = RedirectResponse(f"/deployments/{accepted.deployment_id}", status_code=303)
    remember_browser(request, response)
    return response
