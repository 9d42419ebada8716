"""The JSON of plans: what to deploy, and what that would do."""

from typing import Any

from pydantic import ConfigDict, Field

from app.errors import PortalError
from app.i18n import Language
from app.stacks.plan import Plan
from app.web.api.schemas.base import Answer, Body
from app.web.preview import Preview
from app.web.problems import show


class PlanBody(Body):
    """What would be deployed."""

    name: Any = None
    """The stack's name; what is wrong with it is told in `blocked`."""
    template: str = Field("opencode", max_length=60)
    """What kind of stack; there is one, `opencode`."""
    inputs: dict[str, str] = Field(default_factory=dict, max_length=50)
    """What the template asks for; the usual one asks for nothing."""


class DeployBody(PlanBody):
    """What to deploy."""

    model_config = ConfigDict(json_schema_extra={"required": ["name"]})

    name: Any = Field(None, json_schema_extra={"type": "string"})
    """The stack's name: 3 to 30 letters, digits and hyphens."""


class PlanAnswer(Answer):
    """What a deployment would do; nothing was changed to find out."""

    class Planned(Answer):
        """What would be made."""

        name: str
        template: str
        url: str
        image: str
        port: int
        memory_bytes: int
        cpus: float
        variables: list[str]
        """Names only: values may be secrets."""
        volume: str
        volume_path: str
        certificate: str
        health_check: str

    class Blocked(Answer):
        """Why it would be refused."""

        phase: str
        code: str
        title: str
        detail: str
        hint: str
        field: str | None

    plan: Planned | None
    sentences: list[str]
    warnings: list[str]
    blocked: list[Blocked]


def plan_answer(preview: Preview, language: Language) -> PlanAnswer:
    """Return a preview as JSON."""
    return PlanAnswer(
        plan=_planned(preview.plan) if preview.plan else None,
        sentences=list(preview.sentences),
        warnings=list(preview.plan.warnings) if preview.plan else [],
        blocked=[_blocked(each, language) for each in preview.blocked],
    )


def _planned(plan: Plan) -> PlanAnswer.Planned:
    return PlanAnswer.Planned(
        name=plan.name,
        template=plan.template,
        url=plan.url,
        image=plan.image,
        port=plan.port,
        memory_bytes=plan.memory_bytes,
        cpus=plan.cpus,
        variables=list(plan.variables),
        volume=plan.volume,
        volume_path=plan.volume_path,
        certificate=plan.certificate_resolver or plan.certificate_type if plan.https else "plain http",
        health_check=f"GET {plan.probe_paths[0]} answers {', '.join(str(code) for code in sorted(plan.alive))}",
    )


def _blocked(error: PortalError, language: Language) -> PlanAnswer.Blocked:
    shown = show(error, language)
    return PlanAnswer.Blocked(
        phase="plan", code=shown.code, title=shown.title, detail=shown.detail, hint=shown.hint, field=error.field
    )
