"""What the form is given: the name as it was typed, why it was refused, and the plan for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.deployments.sentences import describe
from app.errors import N_
from app.i18n import Language
from app.identity import Principal
from app.operations.create import CREATE
from app.portal import Portal
from app.stacks.names import MAX_NAME, MIN_NAME
from app.web.effects import Station
from app.web.preview import preview_plan
from app.web.problems import ShownProblem, show
from app.web.projector import planned_stations
from app.web.ui.shared.certificates import planned_certificate
from app.web.ui.shared.view import Fact, Page


@dataclass(frozen=True)
class PlanPreview:
    """What a deployment would do, in the viewer's language. blocked: what would keep it from beginning."""

    sentences: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    warnings: Sequence[str] = ()
    blocked: Sequence[ShownProblem] = ()


@dataclass(frozen=True)
class DeployPage(Page):
    """The form. name: what was typed; problem: why it was refused; suggestions: free names near it; plan: if wanted.

    origin: scheme and host by which the portal was reached, for search engines, which want whole addresses.
    """

    template = "deploy/deploy.html"
    section = "deploy"
    name: str
    suffix: str
    url_prefix: str
    stations: Sequence[Station]
    problem: ShownProblem | None = None
    suggestions: Sequence[str] = ()
    plan: PlanPreview | None = None
    minimum: int = 3
    maximum: int = 30
    origin: str = ""


def deploy_page(
    portal: Portal,
    language: Language,
    *,
    name: str,
    origin: str,
    problem: ShownProblem | None = None,
    suggestions: Sequence[str] = (),
    plan: PlanPreview | None = None,
) -> DeployPage:
    """Show the form. origin, problem, suggestions, plan: as in DeployPage."""
    settings = portal.settings
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
        origin=origin,
    )


async def plan_preview(portal: Portal, name: str, principal: Principal, language: Language) -> PlanPreview:
    """Decide what a deployment would do, and show it."""
    preview = await preview_plan(portal, principal, language, name)
    blocked = [show(each, language) for each in preview.blocked]
    plan = preview.plan
    if plan is None:
        return PlanPreview(blocked=blocked)
    alive = ", ".join(str(status) for status in sorted(plan.alive))
    facts = [
        Fact(language.text(N_("Address")), plan.url, code=True),
        Fact(language.text(N_("Image")), plan.image, code=True),
        Fact(language.text(N_("Port")), str(plan.port), code=True),
        Fact(language.text(N_("Files")), f"{plan.volume}:{plan.volume_path}", code=True),
        Fact(language.text(N_("Memory")), language.size(plan.memory_bytes)),
        Fact(language.text(N_("Processors")), language.number(plan.cpus)),
        Fact(language.text(N_("Variables")), ", ".join(plan.variables), code=True),
        Fact(language.text(N_("Certificate")), planned_certificate(plan.to_json(), language)),
        Fact(language.text(N_("Health check")), f"{plan.probe_paths[0]} → {alive}", code=True),
    ]
    warnings = [describe(f"warning.{code}", {}, language) for code in plan.warnings]
    return PlanPreview(preview.sentences, facts, warnings, blocked)
