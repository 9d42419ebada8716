"""Validation of inputs as Dokploy's schemas do it, with zod's sentences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.sandbox.errors import CallError

Issue = dict[str, Any]
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Field:
    """What one key of an input may be."""

    name: str
    kind: str = "string"
    """string, number, boolean, array or object."""
    required: bool = True
    nullable: bool = False
    nonoptional: bool = False
    """A required key whose own schema is optional: zod then says `nonoptional` instead of the type."""
    min: int | None = None
    max: int | None = None
    min_message: str | None = None
    max_message: str | None = None
    pattern: re.Pattern[str] | None = None
    pattern_message: str | None = None
    choices: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None
    """The only keys an object may have; None lets all pass."""
    inner: tuple["Field", ...] = ()

    def issues(self, value: Any, path: Sequence[str], *, coerce: bool) -> list[Issue]:
        """Say what is wrong with a value; nothing when it is fine."""
        if value is _MISSING:
            if not self.required:
                return []
            if self.nonoptional or self.nullable:
                return [_absent(path)]
            if self.choices:
                return [self._choice(path)]
            return [self._wrong_type("undefined", path)]
        if value is None and self.nullable:
            return []
        if coerce and self.kind == "number" and isinstance(value, str):
            value = _number(value)
            if value is None:
                return [self._wrong_type("NaN", path)]
        received = _type_of(value)
        if self.choices:
            return [] if value in self.choices else [self._choice(path)]
        if received != self.kind:
            return [self._wrong_type(received, path)]
        return self._bounds(value, path)

    def _bounds(self, value: Any, path: Sequence[str]) -> list[Issue]:
        found: list[Issue] = []
        if self.kind in {"string", "number"}:
            size = len(value) if self.kind == "string" else value
            unit = "string to have {}{} characters" if self.kind == "string" else "number to be {}{}"
            if self.min is not None and size < self.min:
                said = self.min_message or "Too small: expected " + unit.format(">=", self.min)
                found.append(self._limit("too_small", "minimum", path, said))
            if self.max is not None and size > self.max:
                said = self.max_message or "Too big: expected " + unit.format("<=", self.max)
                found.append(self._limit("too_big", "maximum", path, said))
        if self.pattern is not None and not self.pattern.fullmatch(value):
            source = f"/^{self.pattern.pattern}$/"
            said = self.pattern_message or f"Invalid string: must match pattern {source}"
            found.append(
                {
                    "origin": "string",
                    "code": "invalid_format",
                    "format": "regex",
                    "pattern": source,
                    "path": list(path),
                    "message": said,
                }
            )
        if self.kind == "object":
            for field in self.inner:
                found += field.issues(value.get(field.name, _MISSING), [*path, field.name], coerce=False)
            unknown = [key for key in value if self.keys is not None and key not in self.keys]
            if unknown:
                named = ", ".join(f'"{key}"' for key in unknown)
                said = f"Unrecognized key{'s' if len(unknown) > 1 else ''}: {named}"
                found.append({"code": "unrecognized_keys", "keys": unknown, "path": list(path), "message": said})
        return found

    def _wrong_type(self, received: str, path: Sequence[str]) -> Issue:
        said = f"Invalid input: expected {self.kind}, received {received}"
        return {"expected": self.kind, "code": "invalid_type", "path": list(path), "message": said}

    def _limit(self, code: str, bound: str, path: Sequence[str], message: str) -> Issue:
        value = self.min if bound == "minimum" else self.max
        return {
            "origin": self.kind,
            "code": code,
            bound: value,
            "inclusive": True,
            "path": list(path),
            "message": message,
        }

    def _choice(self, path: Sequence[str]) -> Issue:
        said = "Invalid option: expected one of " + "|".join(f'"{choice}"' for choice in self.choices)
        return {"code": "invalid_value", "values": list(self.choices), "path": list(path), "message": said}


def text(name: str, **rules: Any) -> Field:
    """Ask for a string that must be there."""
    return Field(name, **rules)


def optional(name: str, kind: str = "string", **rules: Any) -> Field:
    """Allow a key that may be left out."""
    return Field(name, kind, required=False, **rules)


def identifier(name: str) -> Field:
    """Ask for an identifier: a string that is not empty."""
    return Field(name, min=1)


def validated(fields: Sequence[Field], given: Any, *, coerce: bool = False) -> dict[str, Any]:
    """Keep the known keys of an input, or refuse it with every issue at once."""
    source: dict[str, Any] = given if isinstance(given, dict) else {}
    found: list[Issue] = []
    kept: dict[str, Any] = {}
    for field in fields:
        value = source.get(field.name, _MISSING)
        issues = field.issues(value, (field.name,), coerce=coerce)
        if issues:
            found += issues
        elif value is not _MISSING:
            kept[field.name] = _number(value) if coerce and field.kind == "number" else value
    if found:
        raise CallError(400, "Input validation failed", found)
    return kept


def _absent(path: Sequence[str]) -> Issue:
    said = "Invalid input: expected nonoptional, received undefined"
    return {"code": "invalid_type", "expected": "nonoptional", "path": list(path), "message": said}


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            return None


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
