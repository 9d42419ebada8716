"""environment.*: the parts of a project that hold its services."""

from typing import Any

from app.sandbox.errors import CallError
from app.sandbox.procedures.project import SERVICE_COLUMNS
from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import Row, environment_row
from app.sandbox.state import sql_refusal
from app.sandbox.validation import identifier, optional, text


@mutation("environment.create", text("name", min=1), optional("description"), identifier("projectId"))
def create(call: Call) -> Any:
    """Make an environment; only the name production is taken."""
    state, given = call.server.state, call.given
    if given["name"].lower() == "production":
        raise CallError(400, "You cannot create a environment with the name 'production'")
    row = environment_row(given["projectId"], given["name"], given.get("description"), is_default=False)
    if given["projectId"] not in state.projects:
        raise sql_refusal("environment", row)
    state.add_environment(row)
    return row


@query("environment.one", identifier("environmentId"))
def one(call: Call) -> Any:
    """Tell one environment."""
    state = call.server.state
    environment = state.environment(call.given["environmentId"])
    return {**_seen(call, environment), "projectId": environment["projectId"], "env": environment["env"]}


@query("environment.byProjectId", text("projectId"))
def by_project_id(call: Call) -> Any:
    """List the environments of a project."""
    return [_seen(call, environment) for environment in call.server.state.environments_of(call.given["projectId"])]


@mutation("environment.remove", identifier("environmentId"))
def remove(call: Call) -> Any:
    """Remove an environment that is empty and not the default."""
    state = call.server.state
    environment = state.environment(call.given["environmentId"])
    if environment["isDefault"]:
        raise CallError(400, "You cannot delete the default environment")
    if state.applications_of(environment["environmentId"]):
        raise CallError(400, "Cannot delete environment: it has active services. Delete all services first.")
    state.remove_environment(environment)
    return environment


def _seen(call: Call, environment: Row) -> Row:
    state = call.server.state
    return {
        **{key: environment[key] for key in ("name", "description", "environmentId", "isDefault")},
        **state.project_services(environment, SERVICE_COLUMNS),
        "project": state.projects[environment["projectId"]],
    }
