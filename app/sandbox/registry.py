"""The list of procedures: name, query or mutation, the input's fields and the function that does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from app.sandbox.faults import RENAMES
from app.sandbox.rows import Row
from app.sandbox.server import Server
from app.sandbox.validation import Field

# What a procedure gives back that answers 200 with an empty body, as many of Dokploy's do.
NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Call:
    """One call that passed the checks of its input."""

    server: Server
    name: str
    given: Row
    text: str
    """The request's query and body as they came, for faults to match."""


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Procedure:
    """One procedure of the API."""

    name: str
    is_query: bool
    fields: tuple[Field, ...]
    handler: Handler
    published: bool = True
    """Whether the server's own OpenAPI document lists it."""


PROCEDURES: dict[str, Procedure] = {}


def query(name: str, *fields: Field, published: bool = True) -> Callable[[Handler], Handler]:
    """Register a function that answers GET."""
    return _register(name, fields, is_query=True, published=published)


def mutation(name: str, *fields: Field, published: bool = True) -> Callable[[Handler], Handler]:
    """Register a function, or a coroutine function, that answers POST."""
    return _register(name, fields, is_query=False, published=published)


def _register(name: str, fields: tuple[Field, ...], *, is_query: bool, published: bool) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        PROCEDURES[name] = Procedure(name, is_query, fields, handler, published)
        return handler

    return register


def offered(server: Server) -> Mapping[str, Procedure]:
    """List the procedures as a server offers them: faults may have renamed some, or a field of theirs."""
    renames = server.faults.waiting(RENAMES)
    if not renames:
        return PROCEDURES
    found = dict(PROCEDURES)
    for fault in renames:
        for name in fault.calls:
            procedure = found.pop(name, None)
            if procedure is None:
                continue
            if fault.kind == "renamed_call":
                procedure = replace(procedure, name=f"{name}New")
            else:
                procedure = _with_renamed(procedure, fault.field)
            found[procedure.name] = procedure
    return found


def _with_renamed(procedure: Procedure, field: str) -> Procedure:
    new = f"{field}New"

    def handler(call: Call) -> Any:
        return procedure.handler(
            replace(call, given={field if key == new else key: call.given[key] for key in call.given})
        )

    fields = tuple(replace(each, name=new) if each.name == field else each for each in procedure.fields)
    return replace(procedure, fields=fields, handler=handler)
