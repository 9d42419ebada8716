"""The plan of a stack, decided before anything is done: names, host, image, variables, volume, limits. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from app.config.settings import Settings
from app.errors import PortalError
from app.stacks.dotenv import write_dotenv
from app.stacks.names import DeploymentRequest
from app.stacks.templates import Registry, Template


@dataclass(frozen=True)
class Plan:
    """What a deployment will make. Holds no secret: it is shown before, and recorded afterwards.

    project, application: names in Dokploy; host and url: the stack's address; https, certificate_type and
    certificate_resolver: Dokploy's words for it; memory_bytes: bytes; cpus: processors; variables: their names, as the
    values may be secrets; alive: statuses that count as up; warnings: codes of what the reader should know.
    """

    name: str
    template: str
    project: str
    application: str
    host: str
    url: str
    https: bool
    certificate_type: str
    certificate_resolver: str | None
    image: str
    registry_url: str | None
    port: int
    memory_bytes: int
    cpus: float
    variables: tuple[str, ...]
    password_variable: str
    volume: str
    volume_path: str
    probe_paths: tuple[str, ...]
    alive: frozenset[int]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, for the store."""
        return {**asdict(self), "alive": sorted(self.alive)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        lists = {name: tuple(stored[name]) for name in ("variables", "probe_paths", "warnings")}
        return cls(**{**stored, **lists, "alive": frozenset(stored["alive"])})


FILES_KEPT: Final = "files_kept"
"""The warning of a plan that takes up the files of an earlier stack."""


def make_plan(request: DeploymentRequest, template: Template, settings: Settings, *, files_kept: bool = False) -> Plan:
    """Decide everything that a deployment of this request will make, once and for all.

    files_kept: whether files of an earlier stack of this name are there for the requester.

    Raises PortalError: `template_unknown`, `input_unknown`, `variable_unsayable`.
    """
    if request.template != template.name:
        raise PortalError("template_unknown", field="template", template=request.template)
    if request.inputs:
        raise PortalError("input_unknown", field="inputs", input=min(request.inputs))
    certificate_type, resolver = certificate_in_dokploys_words(template.certificate)
    write_dotenv(template.variables)  # a value that cannot be said is refused now, not half way
    return Plan(
        name=request.name,
        template=template.name,
        project=request.name,
        application=request.name,
        host=f"{request.name}.{settings.stack_domain_suffix}",
        url=template.address.format(name=request.name),
        https=settings.https,
        certificate_type=certificate_type,
        certificate_resolver=resolver,
        image=template.image,
        registry_url=settings.stack_registry_url,
        port=template.port,
        memory_bytes=template.memory_bytes,
        cpus=template.cpus,
        variables=names_of_variables(template),
        password_variable=template.password_variable,
        volume=template.volume_of(request.name),
        volume_path=template.volume_path,
        probe_paths=template.probe_paths,
        alive=template.alive,
        warnings=(*(("plain_http",) if not settings.https else ()), *((FILES_KEPT,) if files_kept else ())),
    )


def declare(request: DeploymentRequest, template: Template) -> dict[str, Any]:
    """Return what was asked for and what the template says, before anything is decided of it, for the store.

    Patterns stay patterns. Of variables and inputs there are the names only, as the values may be secrets.
    """
    return {
        "name": request.name,
        "template": request.template,
        "inputs": sorted(request.inputs),
        "address": template.address,
        "image": template.image,
        "port": template.port,
        "memory_bytes": template.memory_bytes,
        "cpus": template.cpus,
        "volume": template.volume,
        "volume_path": template.volume_path,
        "certificate": template.certificate,
        "variables": list(names_of_variables(template)),
        "probe_paths": list(template.probe_paths),
        "alive": sorted(template.alive),
    }


def names_of_variables(template: Template) -> tuple[str, ...]:
    """Names of all variables that a stack of this kind has, its password's among them."""
    return tuple(sorted({*dict(template.variables), template.password_variable}))


def version_of(image: str) -> str:
    """Say which version of an image a reference means: its tag, or the beginning of its digest."""
    name, _, digest = image.partition("@")
    if digest:
        return digest[:19]  # "sha256:" and twelve digits, as Docker shows an image's id
    return name.rpartition("/")[2].partition(":")[2] or "latest"


def certificate_in_dokploys_words(mode: str) -> tuple[str, str | None]:
    """Say a certificate mode in Dokploy's words: its certificateType and customCertResolver."""
    if mode.startswith("resolver:"):
        return "custom", mode.removeprefix("resolver:")
    return ("letsencrypt" if mode == "letsencrypt" else "none"), None


def registry_of(settings: Settings) -> Registry | None:
    """Return the credentials for the image, or None for a public one."""
    if settings.stack_registry_username is None or settings.stack_registry_password is None:
        return None
    return Registry(
        url=settings.stack_registry_url or "",
        username=settings.stack_registry_username,
        password=settings.stack_registry_password.get_secret_value(),
    )
