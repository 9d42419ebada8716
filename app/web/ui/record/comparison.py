"""The three views of a deployment's properties, side by side: declared, decided, observed.

Each says a property in its own words; what is compared is the same in all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.deployments.model import DeploymentRecord
from app.errors import N_
from app.i18n import Language
from app.stacks.plan import certificate_in_dokploys_words
from app.web.ui.shared.certificates import certificate

# A value as it is shown, and what stands for it when the views are compared.
Value = tuple[str, Any]
Said = Callable[[Mapping[str, Any], Language], Value | None]


@dataclass(frozen=True)
class ComparedProperty:
    """One property, in each of the three views; None: not recorded."""

    label: str
    declared: str | None
    frozen: str | None
    observed: str | None
    differs: bool


def compare(record: DeploymentRecord, language: Language) -> list[ComparedProperty]:
    """Put what was declared, decided and observed side by side, and say where they differ."""
    views = []
    for label, declared, frozen, observed in _PROPERTIES:
        first = declared(record.declared, language) if record.declared is not None else None
        second = frozen(record.plan, language)
        third = observed({**record.observed, "plan": record.plan}, language)
        meant = [each[1] for each in (first, second, third) if each is not None]
        views.append(
            ComparedProperty(
                label=language.text(label),
                declared=first[0] if first else None,
                frozen=second[0] if second else None,
                observed=third[0] if third else None,
                differs=any(each != meant[0] for each in meant),
            )
        )
    return views


def _certificate(https: bool, kind: str, resolver: str | None, language: Language) -> Value:
    return certificate(https, kind, resolver, language), (kind, resolver) if https else False


def _planned_certificate(plan: Mapping[str, Any], language: Language) -> Value:
    return _certificate(plan["https"], plan["certificate_type"], plan["certificate_resolver"], language)


def _declared_certificate(declared: Mapping[str, Any], language: Language) -> Value:
    https = declared["address"].startswith("https:")
    _, meant = _certificate(https, *certificate_in_dokploys_words(declared["certificate"]), language)
    return declared["certificate"], meant


def _seen_certificate(seen: Mapping[str, Any], language: Language) -> Value | None:
    if seen.get("https") is None or seen.get("certificate_type") is None:
        return None
    return _certificate(seen["https"], seen["certificate_type"], seen.get("certificate_resolver"), language)


def _plain(name: str) -> Said:
    def say(values: Mapping[str, Any], _: Language) -> Value | None:
        value = values.get(name)
        return None if value is None else (str(value), value)

    return say


def _pattern(name: str) -> Said:
    """Show a pattern as it is, and compare it with the stack's name filled in."""

    def say(values: Mapping[str, Any], _: Language) -> Value:
        return values[name], values[name].replace("{name}", values["name"])

    return say


def _memory(values: Mapping[str, Any], language: Language) -> Value:
    return language.size(values["memory_bytes"]), values["memory_bytes"]


def _cpus(values: Mapping[str, Any], language: Language) -> Value:
    return language.number(values["cpus"], 2), values["cpus"]


def _volume(values: Mapping[str, Any], _: Language) -> Value | None:
    if values.get("volume") is None or values.get("volume_path") is None:
        return None
    name = values["volume"].replace("{name}", values.get("name", ""))
    return f"{values['volume']} → {values['volume_path']}", (name, values["volume_path"])


def _variables(values: Mapping[str, Any], _: Language) -> Value:
    return ", ".join(values["variables"]), sorted(values["variables"])


def _check(values: Mapping[str, Any], _: Language) -> Value:
    paths, wanted = ", ".join(values["probe_paths"]), ", ".join(str(status) for status in sorted(values["alive"]))
    return f"{paths} → {wanted}", True


def _seen_check(seen: Mapping[str, Any], language: Language) -> Value | None:
    if "probe_path" not in seen:
        return None
    status = seen["status"]
    said = str(status) if status is not None else language.text(N_("no answer"))
    return f"{seen['probe_path']} → {said}", status in seen["plan"]["alive"]


def _seen_address(seen: Mapping[str, Any], _: Language) -> Value | None:
    """Compare hosts: Dokploy knows the host of a route, and not the proxy's port."""
    if seen.get("host") is None:
        return None
    host, plan = seen["host"], seen["plan"]
    return host, plan["url"] if host == plan["host"] else host


def _unknown(_: Mapping[str, Any], __: Language) -> None:
    """Say that this is not observed."""


_PROPERTIES: Final[tuple[tuple[str, Said, Said, Said], ...]] = (
    (N_("Name"), _plain("name"), _plain("name"), _plain("project")),
    (N_("Address"), _pattern("address"), _plain("url"), _seen_address),
    (N_("Image"), _plain("image"), _plain("image"), _unknown),
    (N_("Port"), _plain("port"), _plain("port"), _plain("port")),
    (N_("Memory"), _memory, _memory, _unknown),
    (N_("Processors"), _cpus, _cpus, _unknown),
    (N_("Volume"), _volume, _volume, _volume),
    (N_("Certificate"), _declared_certificate, _planned_certificate, _seen_certificate),
    (N_("Variables"), _variables, _variables, _unknown),
    (N_("Health check"), _check, _check, _seen_check),
)
