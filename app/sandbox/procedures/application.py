"""application.*: its row, its settings, its log and its Traefik file."""

import re
from datetime import UTC, datetime
from typing import Any

from app.sandbox.errors import CallError
from app.sandbox.procedures.columns import UPDATE_FIELDS
from app.sandbox.procedures.project import found
from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import Row, application_row
from app.sandbox.validation import Field, identifier, optional, text

_FOUND_COLUMNS = (
    *("applicationId", "name", "appName", "description", "environmentId"),
    *("applicationStatus", "sourceType", "createdAt"),
)
_APP_NAME_RULES: dict[str, Any] = {
    "min": 1,
    "max": 63,
    "pattern": re.compile(r"[a-zA-Z0-9._-]+"),
    "pattern_message": "App name can only contain letters, numbers, dots, underscores and hyphens",
}
APP_NAME = optional("appName", **_APP_NAME_RULES)
REQUIRED_APP_NAME = text("appName", nonoptional=True, **_APP_NAME_RULES)


def _required(name: str, kind: str = "string", *, nullable: bool = True) -> Field:
    return Field(name, kind, nullable=nullable, nonoptional=True)


@mutation(
    "application.create",
    text("name", min=1),
    APP_NAME,
    optional("description", nullable=True),
    text("environmentId"),
    optional("serverId", nullable=True),
)
def create(call: Call) -> Any:
    """Make an application in an environment."""
    state, given = call.server.state, call.given
    environment = state.environment(given["environmentId"])
    if given.get("serverId"):
        raise CallError(401, "You are not authorized to access this server")
    row = application_row(
        given["name"], given.get("appName"), environment["environmentId"], given.get("description")
    )  # fmt: skip
    state.add_application(row)
    return row


@query("application.one", identifier("applicationId"))
def one(call: Call) -> Any:
    """Tell an application with all that hangs on it, secrets in clear."""
    state = call.server.state
    whole = state.whole_application(state.application(call.given["applicationId"]))
    return {**whole, "hasGitProviderAccess": True, "unauthorizedProvider": None}


@query(
    "application.search",
    *(optional(name) for name in ("q", "name", "appName", "description", "repository", "owner", "dockerImage")),
    optional("projectId"),
    optional("environmentId"),
    optional("limit", "number", min=1, max=100),
    optional("offset", "number", min=0),
)
def search(call: Call) -> Any:
    """Find applications by parts of their columns."""
    state, given = call.server.state, call.given
    rows: list[Row]
    if given.get("environmentId"):
        rows = state.applications_of(given["environmentId"])
    elif given.get("projectId"):
        environments = state.environments_of(given["projectId"])
        rows = [row for environment in environments for row in state.applications_of(environment["environmentId"])]
    else:
        rows = list(state.applications.values())
    columns = ("name", "appName", "description", "repository", "owner", "dockerImage")
    result = found(call, rows, columns, columns)
    result["items"] = [{column: row[column] for column in _FOUND_COLUMNS} for row in result["items"]]
    return result


@mutation("application.update", *UPDATE_FIELDS)
def update(call: Call) -> Any:
    """Change any columns; the appName stays whatever is asked."""
    state, changes = call.server.state, dict(call.given)
    application = state.applications.get(changes.pop("applicationId"))
    if not changes:
        raise CallError(500, "No values to set")
    if application is None:
        raise CallError(400, "Error updating application")
    environment_id = changes.pop("environmentId", application["environmentId"])
    if environment_id not in state.environments:
        raise CallError(400, "Error updating application")
    application.update(changes)
    if environment_id != application["environmentId"]:
        state.move_application(application, environment_id)
    return True


@mutation(
    "application.saveDockerProvider",
    _required("dockerImage"),
    text("applicationId"),
    *(_required(name) for name in ("username", "password", "registryUrl")),
)
def save_docker_provider(call: Call) -> Any:
    """Set the image; the status falls back to idle even where it runs."""
    application = call.server.state.application(call.given["applicationId"])
    application.update(call.given, sourceType="docker", applicationStatus="idle")
    return True


@mutation(
    "application.saveEnvironment",
    text("applicationId"),
    *(_required(name) for name in ("env", "buildArgs", "buildSecrets")),
    _required("createEnvFile", "boolean", nullable=False),
)
def save_environment(call: Call) -> Any:
    """Set the environment text, for the next deployment."""
    call.server.state.application(call.given["applicationId"]).update(call.given)
    return True


@query(
    "application.readLogs",
    identifier("applicationId"),
    optional("tail", "number", min=1, max=10000),
    optional("since", pattern=re.compile(r"(all|\d+[smhd])")),
    optional("search", pattern=re.compile(r"[a-zA-Z0-9 ._-]{0,500}")),
)
def read_logs(call: Call) -> Any:
    """Tell the log of the latest container."""
    application = call.server.state.application(call.given["applicationId"])
    app_name = application["appName"]
    if app_name not in call.server.swarm.services:
        raise CallError(500, f"No container or service found for: {app_name}")
    if not call.server.swarm.running(app_name):
        return ""
    stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
    log = f"{stamp} the emulated stack {application['name']} is listening\n"
    wanted = call.given.get("search")
    if wanted and wanted not in log:
        # grep's exit code, taken for a failure.
        raise CallError(500, f"Command execution failed: Command failed: docker service logs {app_name}\n")
    return log


@query("application.readTraefikConfig", identifier("applicationId"))
def read_traefik_config(call: Call) -> Any:
    """Tell the application's Traefik file."""
    application = call.server.state.application(call.given["applicationId"])
    domains = call.server.state.traefik.get(application["appName"])
    if domains is None:
        return None
    return _yaml(application["appName"], list(domains.values()))


def _yaml(app_name: str, domains: list[Row]) -> str:
    routers: list[str] = []
    services: list[str] = []
    for domain in domains:
        key = domain["uniqueConfigKey"]
        rule = f"Host(`{domain['host'].lower()}`)"
        if (domain["path"] or "/") != "/":
            rule += f" && PathPrefix(`{domain['path']}`)"
        redirect = ["      middlewares:", "        - redirect-to-https"] if domain["https"] else []
        routers += _router(f"{app_name}-router-{key}", rule, f"{app_name}-service-{key}", redirect, "web")
        if domain["https"]:
            routers += _router(f"{app_name}-router-websecure-{key}", rule, f"{app_name}-service-{key}", [], "websecure")
            resolver = {"letsencrypt": "letsencrypt", "custom": domain["customCertResolver"]}
            if resolver.get(domain["certificateType"]):
                routers += ["      tls:", f"        certResolver: {resolver[domain['certificateType']]}"]
        services += [
            f"    {app_name}-service-{key}:",
            "      loadBalancer:",
            "        servers:",
            f"          - url: http://{app_name}:{domain['port']}",
            "        passHostHeader: true",
        ]
    if not domains:
        return "http:\n  routers: {}\n  services: {}\n"
    return "\n".join(["http:", "  routers:", *routers, "  services:", *services]) + "\n"


def _router(name: str, rule: str, service: str, middlewares: list[str], entry_point: str) -> list[str]:
    return [
        f"    {name}:",
        f"      rule: {rule}",
        f"      service: {service}",
        *(middlewares or ["      middlewares: []"]),
        "      entryPoints:",
        f"        - {entry_point}",
    ]
