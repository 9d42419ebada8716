"""Previews: what a deployment would create, and what would block it, for a form or a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import N_, PortalError
from app.i18n import Language
from app.identity import Principal
from app.portal import Portal
from app.stacks.names import DeploymentRequest, parse_name
from app.stacks.plan import Plan, make_plan
from app.web.deps import requester_of

PLAN_SENTENCES = (
    N_("Create: a project {name} in Dokploy, with one application."),
    N_("Start: the image {image} with {memory} MB of memory, {cpus} CPU and the volume {volume}."),
    N_("Route: {url} to port {port} of the container."),
    N_("Check: the address asks a stranger for the password."),
)


@dataclass(frozen=True)
class Preview:
    """What a deployment would do. plan: None where the request itself is refused; sentences: the plan in words."""

    plan: Plan | None
    sentences: Sequence[str]
    blocked: Sequence[PortalError]


def parse_request(
    portal: Portal, name: Any, *, template: str = "opencode", inputs: Mapping[str, str] | None = None
) -> DeploymentRequest:
    """Check a request. Raises PortalError."""
    return DeploymentRequest(
        name=parse_name(name, portal.settings.reserved_names), template=template, inputs=dict(inputs or {})
    )


async def preview_plan(
    portal: Portal,
    principal: Principal,
    language: Language,
    name: Any,
    *,
    template: str = "opencode",
    inputs: Mapping[str, str] | None = None,
) -> Preview:
    """Decide a plan and nothing else (APL-4)."""
    requester = requester_of(principal, "api")
    try:
        wanted = parse_request(portal, name, template=template, inputs=inputs)
        found = await portal.names.look(wanted.name, portal.template, requester)
        plan = make_plan(wanted, portal.template, portal.settings, files_kept=found.files_kept)
    except PortalError as error:
        return Preview(None, [], [error])
    params: dict[str, str | int | float] = {
        "name": plan.name,
        "image": plan.image,
        "memory": plan.memory_bytes // 2**20,
        "cpus": plan.cpus,
        "volume": plan.volume,
        "url": plan.url,
        "port": str(plan.port),
    }
    blocked = [found.problem] if found.problem else []
    blocked += await portal.operations.refusals(requester)
    return Preview(plan, [language.text(line, params) for line in PLAN_SENTENCES], blocked)
