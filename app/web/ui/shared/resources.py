"""Resources in Dokploy, in words for the person whose stack they are."""

from typing import Final

from app.deployments.model import DeploymentRecord
from app.errors import N_
from app.i18n import Language

RESOURCES: Final = {
    "domain": N_("The address {name}"),
    "application": N_("The application {name}, with its settings and password"),
    "volume": N_("The volume {name}"),
    "project": N_("The project {name}"),
}


def name_resource(kind: str, name: str, language: Language) -> str:
    """Name a resource."""
    return language.text(RESOURCES[kind], {"name": name})


def left_over(record: DeploymentRecord, language: Language) -> list[str]:
    """Name the leftovers of a run that still exist."""
    return [
        name_resource(each.kind, each.name, language)
        for each in record.leftovers
        if each.kind in RESOURCES and each.removed_at is None
    ]
