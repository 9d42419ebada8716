"""The first page: the form in which a stack is named, and what becomes of it when it is sent."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.deployments.sentences import describe
from app.errors import N_, PortalError
from app.i18n import Language
from app.identity import Principal
from app.operations.create import CREATE
from app.portal import Portal
from app.stacks.availability import NAME_REFUSED
from app.stacks.names import MAX_NAME, MIN_NAME
from app.web.api.routes import LanguageDep, PortalDep, PrincipalDep, parse_request, preview_plan, requester_of
from app.web.api.schemas import DeployBody
from app.web.deps import actor_of, origin_of, owner_of, portal_of, read_form, remember_browser
from app.web.problems import refuse, show
from app.web.projector import planned_stations
from app.web.ui.shared.responses import respond
from app.web.ui.views import DeployPage, Fact, PlanPreview, ShownProblem

router = APIRouter()

# A name that is too long is shown as it was typed, but not a book.
_LONGEST_SHOWN: Final = 100


@router.api_route("/", methods=["GET", "HEAD"])
async def form(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """The form, with the plan for a name where that is asked for (`?name=ada&plan=1`)."""
    name = request.query_params.get("name", "")[:_LONGEST_SHOWN]
    plan = await _preview(portal, name, principal, language) if "plan" in request.query_params else None
    # Said before anybody has thought of a name.
    away = show(PortalError("dokploy_away", seconds=0), language) if portal.health.now.circuit == "open" else None
    return respond(request, _deploy_page(request, language, name=name, problem=away, plan=plan))


async def _preview(portal: Portal, name: str, principal: Principal, language: Language) -> PlanPreview:
    answer = await preview_plan(DeployBody(name=name), portal, principal, language)
    blocked = [ShownProblem(each.code, each.title, each.detail, each.hint, "user") for each in answer.blocked]
    plan = answer.plan
    if plan is None:
        return PlanPreview(blocked=blocked)
    alive = ", ".join(str(status) for status in sorted(portal.template.alive))
    facts = [
        Fact(language.text(N_("Address")), plan.url, code=True),
        Fact(language.text(N_("Image")), plan.image, code=True),
        Fact(language.text(N_("Port")), str(plan.port), code=True),
        Fact(language.text(N_("Files")), f"{plan.volume}:{plan.volume_path}", code=True),
        Fact(language.text(N_("Memory")), language.size(plan.memory_bytes)),
        Fact(language.text(N_("Processors")), language.number(plan.cpus)),
        Fact(language.text(N_("Variables")), ", ".join(plan.variables), code=True),
        Fact(language.text(N_("Certificate")), _certificate(plan.certificate, language, https=portal.settings.https)),
        Fact(language.text(N_("Health check")), f"{portal.template.probe_paths[0]} → {alive}", code=True),
    ]
    warnings = [describe(f"warning.{code}", {}, language) for code in answer.warnings]
    return PlanPreview(answer.sentences, facts, warnings, blocked)


def _certificate(said: str, language: Language, *, https: bool) -> str:
    if not https:
        return language.text(N_("none, plain http"))
    return language.text(N_("the proxy's own")) if said == "none" else said


def _deploy_page(
    request: Request,
    language: Language,
    *,
    name: str,
    problem: ShownProblem | None = None,
    suggestions: Sequence[str] = (),
    plan: PlanPreview | None = None,
) -> DeployPage:
    settings = portal_of(request).settings
    return DeployPage(
        name=name,
        suffix=settings.stack_domain_suffix,
        url_prefix="https://" if settings.https else "http://",
        stations=planned_stations(CREATE.kind, CREATE.step_names, language),
        problem=problem,
        suggestions=suggestions,
        plan=plan,
        minimum=MIN_NAME,
        maximum=MAX_NAME,
        origin=origin_of(request),
    )


@router.get("/deploy")
async def no_form_here() -> Response:
    """Lead back to the form whoever asks anew for the address of one that was refused."""
    return RedirectResponse("/", status_code=303)


@router.post("/deploy")
async def deploy(request: Request, portal: PortalDep, principal: PrincipalDep, language: LanguageDep) -> Response:
    """Take in the form; on to the deployment's page, or back to the form with the reason."""
    fields = await read_form(request)
    name = fields.get("name", "")
    owner = owner_of(request)
    try:
        wanted = parse_request(DeployBody(name=name), portal)
        accepted = await portal.operations.create(
            wanted, portal.template, requester_of(principal, "user", owner=owner, actor=actor_of(request))
        )
    except PortalError as error:
        suggestions: list[str] = []
        if error.code in NAME_REFUSED:
            suggestions = await portal.names.suggest(wanted.name, portal.settings.reserved_names, portal.template)
        page = _deploy_page(
            request, language, name=name[:_LONGEST_SHOWN], problem=show(error, language), suggestions=suggestions
        )
        return await refuse(request, error, page)
    response = RedirectResponse(f"/deployments/{accepted.deployment_id}", status_code=303)
    remember_browser(request, response)
    return response
