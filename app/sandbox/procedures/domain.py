"""domain.*: hosts and their routes; no host is ever refused for being taken."""

import re
from typing import Any

from app.sandbox.errors import not_found
from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import Row, domain_row
from app.sandbox.state import sql_refusal
from app.sandbox.validation import Field, Issue, identifier, optional, text

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_BAD_HOST = (
    "Invalid domain name. Use only letters, numbers, hyphens and dots (e.g. example.com). Underscores are not allowed."
)


class _HostField(Field):
    """A host name; an empty one is told apart from a bad one."""

    __slots__ = ()

    def issues(self, value: Any, path: Any, *, coerce: bool) -> list[Issue]:
        found = Field.issues(self, value, path, coerce=coerce)
        if not found and not _HOST.fullmatch(value):
            found = [{"code": "custom", "path": list(path), "message": _BAD_HOST}]
        return found


_FIELDS = (
    _HostField("host", min=1, min_message="Add a hostname"),
    optional("path", nullable=True, min=1),
    optional(
        "port",
        "number",
        nullable=True,
        min=1,
        max=65535,
        min_message="Port must be at least 1",
        max_message="Port must be 65535 or below",
    ),
    optional("customEntrypoint", nullable=True),
    optional("https", "boolean"),
    optional("certificateType", choices=("letsencrypt", "none", "custom")),
    optional("customCertResolver", nullable=True),
    optional("serviceName", nullable=True),
    optional("domainType", choices=("compose", "application", "preview"), nullable=True),
    optional("internalPath", nullable=True),
    optional("stripPath", "boolean"),
    optional("middlewares", "array", nullable=True),
)


@mutation(
    "domain.create", *_FIELDS, optional("applicationId", nullable=True), optional("composeId", nullable=True)
)  # fmt: skip
def create(call: Call) -> Any:
    """Make a domain and route it at once; without an applicationId it is a row and nothing else."""
    state, application_id = call.server.state, call.given.get("applicationId")
    # A refused insert counts too: the number comes from a sequence.
    row = domain_row(call.given, state.next_config_key())
    if application_id and application_id not in state.applications:
        columns = ("domainId", "host", "port", "domainType", "createdAt", "applicationId")
        raise sql_refusal("domain", {column: row[column] for column in columns})
    state.add_domain(row)
    return row


@mutation("domain.update", text("domainId"), *_FIELDS)
def update(call: Call) -> Any:
    """Change a domain and its route."""
    state = call.server.state
    row = _domain(call)
    row.update(call.given)
    application = state.applications.get(row["applicationId"] or "")
    if application is not None:
        state.write_route(application["appName"], row)
    return row


@mutation("domain.delete", identifier("domainId"))
def delete(call: Call) -> Any:
    """Remove a domain and its route."""
    row = _domain(call)
    keep = call.server.faults.take(call.name, call.text, frozenset({"keep_route"}))
    call.server.state.remove_domain(row, keep_route=keep is not None)
    return row


@query("domain.one", identifier("domainId"))
def one(call: Call) -> Any:
    """Tell one domain."""
    row = _domain(call)
    return {**row, "application": call.server.state.applications.get(row["applicationId"] or "")}


@query("domain.byApplicationId", identifier("applicationId"))
def by_application_id(call: Call) -> Any:
    """List an application's domains; none for an application nobody knows."""
    state, key = call.server.state, call.given["applicationId"]
    application = state.applications.get(key)
    if application is None:
        return []
    owner = {column: application[column] for column in ("applicationId", "appName", "name")}
    return [{**row, "application": owner} for row in state.domains_of(key)]


@mutation("domain.validateDomain", text("domain"), optional("serverIp"))
def validate_domain(call: Call) -> Any:
    """Look a domain up; the emulated server has no name server to ask."""
    return {"isValid": False, "error": f"queryA ECONNREFUSED {call.given['domain']}"}


def _domain(call: Call) -> Row:
    row = call.server.state.domains.get(call.given["domainId"])
    if row is None:
        raise not_found("Domain")
    return row
