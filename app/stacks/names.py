"""Parsing of untrusted input: names, idempotency keys, and the inputs of a template."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import PortalError

MIN_NAME, MAX_NAME = 3, 30
MIN_KEY, MAX_KEY = 16, 255
_EXAMPLE = "ada-2"


@dataclass(frozen=True)
class DeploymentRequest:
    """What somebody asks for, checked: a name that can be a label of a host name, a template, its inputs."""

    name: str
    template: str = "opencode"
    inputs: Mapping[str, str] = field(default_factory=dict)


def normalize_name(raw: str) -> str:
    """Cut surrounding blanks and fold upper case; what `GET /api/check` shows as `normalized`."""
    return raw.strip(" \t\r\n").lower() if raw.isascii() else raw.strip()


def parse_name(raw: object, reserved: Collection[str]) -> str:
    """Turn whatever came into a stack's name (an RFC 1123 label of 3 to 30 characters), or say why not.

    Raises PortalError with one of the `name_...` codes; the first reason in the order of reading counts.
    """
    if raw is None or raw == "":
        raise _refused("name_missing", minimum=MIN_NAME, maximum=MAX_NAME)
    if not isinstance(raw, str):
        raise _refused("name_not_text")
    name = normalize_name(raw)
    if not name:
        raise _refused("name_missing", minimum=MIN_NAME, maximum=MAX_NAME)
    if len(name) > MAX_NAME:  # before anything that walks over the text: it may be huge
        raise _refused("name_too_long", maximum=MAX_NAME, length=len(name))
    _check_letters(name)
    if name.startswith("-"):
        raise _refused("name_hyphen_start")
    if name.endswith("-"):
        raise _refused("name_hyphen_end")
    if len(name) < MIN_NAME:
        raise _refused("name_too_short", minimum=MIN_NAME, length=len(name))
    if name.startswith("xn--"):
        raise _refused("name_punycode")
    if name in {word.lower() for word in reserved}:
        raise _refused("name_reserved", name=name)
    return name


def _check_letters(name: str) -> None:
    """Raise PortalError where a name has anything but the letters a to z, digits and hyphens."""
    if not name.isascii():
        raise _refused("name_not_ascii", example=_ascii_like(name) or _EXAMPLE)
    if re.search(r"\s", name):
        raise _refused("name_blank_inside", example=re.sub(r"\s+", "-", name))
    if "_" in name:
        raise _refused("name_underscore", example=name.replace("_", "-"))
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise _refused("name_characters")


def could_be_name(text: str) -> bool:
    """Whether a stack can be called so at all; what an address holds is anything, a NUL too."""
    return re.fullmatch(rf"[a-z0-9-]{{{MIN_NAME},{MAX_NAME}}}", text) is not None


def suggest_names(name: str) -> list[str]:
    """Names near a taken one, best first; whoever offers them leaves out those that are taken as well."""
    stem = name.rstrip("0123456789").rstrip("-") or name
    wanted = [f"{name}-{number}" for number in (2, 3)] + [f"my-{name}", f"{name}-ai", f"{stem}-dev", f"{name}-lab"]
    wanted += [f"{name}-{number}" for number in range(4, 10)]
    return list(dict.fromkeys(word for word in wanted if len(word) <= MAX_NAME and word != name))


def parse_idempotency_key(raw: str | None) -> str | None:
    """Check an Idempotency-Key; None where none was sent.

    Raises PortalError `idempotency_key_invalid` unless it has 16 to 255 printable ASCII characters.
    """
    if raw is None:
        return None
    if not MIN_KEY <= len(raw) <= MAX_KEY or not re.fullmatch(r"[!-~]+", raw):
        raise PortalError("idempotency_key_invalid", field="Idempotency-Key", minimum=MIN_KEY, maximum=MAX_KEY)
    return raw


def _refused(code: str, **params: Any) -> PortalError:
    return PortalError(code, field="name", **params)


def _ascii_like(name: str) -> str:
    """Spell a name with ASCII letters where Unicode knows how (é as e, full-width digits), else the empty text."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return plain if MIN_NAME <= len(plain) <= MAX_NAME else ""
