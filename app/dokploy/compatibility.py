"""Compatibility: compares the calls of the client with a server's OpenAPI document."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.dokploy.client import DokployClient
from app.dokploy.errors import DokployBadRequest, DokployNotFound, DokployUnreadable

# A document is somebody else's: what it takes to read one call of it is bounded. Dokploy 0.30 needs about 150 steps.
_STEPS: Final = 5_000
_DEPTH: Final = 32
_METHODS: Final = ("get", "post", "put", "patch", "delete")
# Which JSON types of ours a type of the document takes; any other type takes none.
_TAKES: Final = {
    "string": {"string"},
    "number": {"integer"},
    "integer": {"integer"},
    "boolean": {"boolean"},
    "null": {"null"},
}


@dataclass(frozen=True)
class Field:
    """A field that a call sends.

    kinds: every JSON type that its value may have: string, integer, boolean or null; in a query all of them are text.
    words: the only values there are, where it is not free text; always: whether no call goes without it.
    """

    name: str
    kinds: tuple[str, ...] = ("string",)
    words: tuple[str, ...] = ()
    always: bool = True


@dataclass(frozen=True)
class Call:
    """A call that the client makes. published: whether Dokploy's document lists it."""

    method: Literal["GET", "POST"]
    procedure: str
    fields: tuple[Field, ...] = ()
    published: bool = True


@dataclass(frozen=True)
class Misfit:
    """A call that a server would not take as it is made, and why, in our own words."""

    call: str
    why: str

    def __str__(self) -> str:
        return f"{self.call} {self.why}"


def _texts(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name) for name in names)


def _nullable(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, ("string", "null")) for name in names)


CALLS: Final = (
    Call("POST", "project.create", _texts("name", "description")),
    Call("GET", "project.all"),
    Call("GET", "project.search", _texts("q")),
    Call("GET", "project.one", _texts("projectId")),
    Call("POST", "project.remove", _texts("projectId")),
    Call(
        "POST", "application.create", (*_texts("name", "environmentId", "description"), Field("appName", always=False))
    ),
    Call(
        "GET", "application.search", (Field("description"), Field("limit", ("integer",)), Field("offset", ("integer",)))
    ),
    Call(
        "POST",
        "application.update",
        (
            *_texts("applicationId", "dockerImage", "env", "memoryLimit", "cpuLimit"),
            *_nullable("username", "password", "registryUrl"),
            Field("sourceType", words=("docker",)),
        ),
    ),
    Call("POST", "application.delete", _texts("applicationId")),
    Call("POST", "application.deploy", _texts("applicationId", "title", "description")),
    Call("POST", "application.cleanQueues", _texts("applicationId")),
    Call(
        "POST",
        "mounts.create",
        (
            *_texts("volumeName", "mountPath", "serviceId"),
            Field("type", words=("volume",)),
            Field("serviceType", words=("application",)),
        ),
    ),
    Call("GET", "mounts.listByServiceId", (Field("serviceId"), Field("serviceType", words=("application",)))),
    Call("POST", "mounts.remove", _texts("mountId")),
    Call(
        "POST",
        "domain.create",
        (
            *_texts("host", "applicationId"),
            Field("domainType", words=("application",)),
            Field("port", ("integer",)),
            Field("https", ("boolean",)),
            Field("certificateType", words=("none", "letsencrypt", "custom")),
            Field("path", words=("/",)),
            Field("customCertResolver", always=False),
        ),
    ),
    Call("GET", "domain.byApplicationId", _texts("applicationId")),
    Call("POST", "domain.delete", _texts("domainId")),
    Call("GET", "deployment.all", _texts("applicationId")),
    Call("GET", "deployment.queueList"),
    Call("GET", "deployment.readLogs", (Field("deploymentId"), Field("tail", ("integer",)))),
    Call("GET", "docker.getServiceContainersByAppName", _texts("appName")),
    Call("GET", "docker.getContainersByAppNameMatch", _texts("appName")),
    Call("GET", "dockerVolume.getVolumes", published=False),
    Call("POST", "dockerVolume.removeVolume", _texts("volumeName"), published=False),
    Call("GET", "settings.getDokployVersion"),
    Call("GET", "settings.getOpenApiDocument"),
    Call("GET", "settings.health"),
)

_NO_DOCUMENT: Final = Misfit("settings.getOpenApiDocument", "answers nothing that can be read as an OpenAPI document")


async def find_misfits(dokploy: DokployClient) -> tuple[Misfit, ...]:
    """Ask a server which of the client's calls it would not take; empty when all fit.

    Calls that no document lists are tried by their one read. Raises DokployError where the server cannot be asked.
    """
    try:
        found = compare(await dokploy.openapi_document())
    except (DokployNotFound, DokployUnreadable):
        found = [_NO_DOCUMENT]
    try:
        await dokploy.list_volumes()
    except (DokployNotFound, DokployBadRequest, DokployUnreadable):
        told = {misfit.call for misfit in found}
        hidden = [call.procedure for call in CALLS if not call.published and call.procedure not in told]
        found += [Misfit(call, "is in no document, and dockerVolume.getVolumes does not answer") for call in hidden]
    return tuple(found)


def compare(document: object, calls: Iterable[Call] = CALLS) -> list[Misfit]:
    """Compare calls with an OpenAPI document, whatever it is: one misfit for each call that would not be taken.

    A document that is none is one misfit. What it leaves open is taken to fit; a field that it does not name is not,
    because Dokploy drops such a field without a word. An unpublished call may be missing.
    """
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict):
        return [_NO_DOCUMENT]
    found = []
    for call in calls:
        path = next((path for path in (f"/{call.procedure}", f"/api/{call.procedure}") if path in paths), None)
        if path is None:
            if call.published:
                found.append(Misfit(call.procedure, "is not there"))
            continue
        try:
            problems = _Reading(document).problems(call, paths[path])
        except _UnreadableError:
            problems = ["is described in a way that cannot be read"]
        if problems:
            found.append(Misfit(call.procedure, ", and ".join(problems)))
    return found


class _UnreadableError(Exception):
    """A part of the document has a shape, a length or a depth that no description of a call has."""


@dataclass(frozen=True)
class _Input:
    """One form that an input may have. is_open: whether it takes fields that it does not name."""

    fields: dict[str, tuple[Any, ...]]
    required: frozenset[str] = frozenset()
    is_open: bool = False

    def and_also(self, other: "_Input") -> "_Input":
        """Return what fits both."""
        names = self.fields.keys() | other.fields.keys()
        return _Input(
            {name: self.fields.get(name, ()) + other.fields.get(name, ()) for name in names},
            self.required | other.required,
            self.is_open or other.is_open,
        )


class _Reading:
    """Reads the description of one call, in a bounded number of steps. Every method raises _UnreadableError."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._steps = 0

    def problems(self, call: Call, item: Any) -> list[str]:
        """Say what of a call does not fit; nothing when all of it does."""
        item = self._object(item)
        if call.method.lower() not in item:
            others = [method.upper() for method in _METHODS if method in item]
            return [f"is a {others[0]}, and no {call.method}" if others else "is not there"]
        operation = self._object(item[call.method.lower()])
        parameters = self._parameters(item, operation)
        if call.method == "GET":
            return self._misfits(call, parameters)
        # Nothing is sent in the query of a POST, so nothing may have to be there.
        elsewhere = [f"needs {_names(parameters.required)}"] if parameters.required else []
        forms = [self._misfits(call, form) for form in self._forms(self._body(operation), 0)]
        return [*elsewhere, *min(forms, key=len)]

    def _misfits(self, call: Call, form: _Input) -> list[str]:
        missing = form.required - {field.name for field in call.fields if field.always}
        found = [f"needs {_names(missing)}"] if missing else []
        if dropped := [] if form.is_open else [field.name for field in call.fields if field.name not in form.fields]:
            found.append(f"does not take {', '.join(dropped)}")
        for field in call.fields:
            for schema in form.fields.get(field.name, ()):
                if refused := self._refused(field, schema, in_query=call.method == "GET"):
                    found.append(f"takes no {refused} as {field.name}")
                    break
        return found

    def _refused(self, field: Field, schema: Any, *, in_query: bool) -> str | None:
        for word in field.words:
            if not self._accepts(schema, "string", word):
                return word
        for kind in () if field.words else field.kinds:
            if not self._accepts(schema, kind) and not (in_query and self._accepts(schema, "string")):
                return kind
        return None

    def _parameters(self, item: dict[str, Any], operation: dict[str, Any]) -> _Input:
        fields: dict[str, tuple[Any, ...]] = {}
        required = set()
        for parameter in (*self._list(item, "parameters"), *self._list(operation, "parameters")):
            described = self._object(parameter)
            name = described.get("name")
            if not isinstance(name, str):
                raise _UnreadableError
            if described.get("in") == "query":
                fields[name] = (described.get("schema", True),)
            if described.get("required") is True:
                required.add(name)
        return _Input(fields, frozenset(required))

    def _body(self, operation: dict[str, Any]) -> Any:
        """Return the schema of the request's JSON body; where none is described, one that takes no field."""
        if "requestBody" not in operation:
            return {}
        content = self._object(self._object(operation["requestBody"]).get("content"))
        return self._object(content["application/json"]).get("schema", True) if "application/json" in content else {}

    def _forms(self, schema: Any, depth: int) -> list[_Input]:
        """Every form that a schema leaves to the input: one, and more where it has alternatives."""
        schema = self._resolved(schema, depth)
        if isinstance(schema, bool):
            return [_Input({}, is_open=schema)]
        properties = self._object(schema.get("properties", {}))
        required = self._list(schema, "required")
        if not all(isinstance(name, str) for name in required):
            raise _UnreadableError
        self._spend(len(properties))
        own = _Input(
            {name: (described,) for name, described in properties.items()},
            frozenset(required),
            schema.get("additionalProperties", False) is not False,
        )
        forms = [own]
        for part in self._list(schema, "allOf"):
            forms = self._both(forms, self._forms(part, depth + 1))
        for key in ("anyOf", "oneOf"):
            if choices := self._list(schema, key):
                forms = self._both(forms, [form for choice in choices for form in self._forms(choice, depth + 1)])
        return forms

    def _both(self, left: list[_Input], right: list[_Input]) -> list[_Input]:
        found = []
        for one in left:
            for other in right:
                self._spend(1 + len(one.fields) + len(other.fields))
                found.append(one.and_also(other))
        return found

    def _accepts(self, schema: Any, kind: str, word: str | None = None, depth: int = 0) -> bool:
        """Whether a schema takes a value of a JSON type: that word, or any where none is given."""
        schema = self._resolved(schema, depth)
        if isinstance(schema, bool):
            return schema
        if kind == "null" and schema.get("nullable") is True:  # as OpenAPI 3.0 says it
            return True
        if "type" in schema:
            types = self._list(schema, "type") if isinstance(schema["type"], list) else [schema["type"]]
            if not any(kind in _TAKES.get(name, ()) for name in types if isinstance(name, str)):
                return False
        choices = [schema["const"]] if "const" in schema else self._list(schema, "enum")
        if choices and not _is_among(choices, kind, word):
            return False
        if not all(self._accepts(part, kind, word, depth + 1) for part in self._list(schema, "allOf")):
            return False
        alternatives = (self._list(schema, key) for key in ("anyOf", "oneOf"))
        return all(any(self._accepts(part, kind, word, depth + 1) for part in parts) for parts in alternatives if parts)

    def _resolved(self, node: Any, depth: int = 0) -> Any:
        """Resolve the references of a schema or another part of the document: an object, True or False."""
        if depth > _DEPTH:
            raise _UnreadableError
        self._spend(1)
        while isinstance(node, dict) and "$ref" in node:
            node = self._target(node["$ref"])
        if not isinstance(node, dict | bool):
            raise _UnreadableError
        return node

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/") or len(reference) > 1000:
            raise _UnreadableError
        node = self._document
        for part in reference.removeprefix("#/").split("/"):
            self._spend(1)
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                raise _UnreadableError
            node = node[name]
        return node

    def _object(self, node: Any) -> dict[str, Any]:
        found = self._resolved(node)
        if not isinstance(found, dict):
            raise _UnreadableError
        return found

    def _list(self, node: dict[str, Any], key: str) -> list[Any]:
        found = node.get(key, [])
        if not isinstance(found, list):
            raise _UnreadableError
        self._spend(len(found))
        return found

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _STEPS:
            raise _UnreadableError


def _is_among(choices: list[Any], kind: str, word: str | None) -> bool:
    """Whether a list of values has every value that is sent: that word, or all of a type."""
    if kind == "string":
        return word is not None and word in choices
    if kind == "boolean":
        return any(choice is True for choice in choices) and any(choice is False for choice in choices)
    return kind == "null" and any(choice is None for choice in choices)


def _names(names: Iterable[str]) -> str:
    """Return a few names of a document, as far as they are names."""
    shown = sorted(name for name in names if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name))[:5]
    return ", ".join(shown) if shown else "something else"
