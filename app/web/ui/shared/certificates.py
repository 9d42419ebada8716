"""Certificates of a stack's address, in words."""

from collections.abc import Mapping
from typing import Any

from app.errors import N_
from app.i18n import Language


def certificate(https: bool, kind: str, resolver: str | None, language: Language) -> str:
    """Say where a certificate comes from. kind, resolver: as Dokploy has them."""
    if not https:
        return language.text(N_("none, plain http"))
    return language.text(N_("the proxy's own")) if kind == "none" else resolver or kind


def planned_certificate(plan: Mapping[str, Any], language: Language) -> str:
    """Say where the certificate of a planned address comes from."""
    return certificate(plan["https"], plan["certificate_type"], plan["certificate_resolver"], language)
