"""project.*: nothing is unique, and a removal takes rows only."""

import re
from typing import Any

from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import Row
from app.sandbox.validation import identifier, optional, text

_ALL_COLUMNS = ("applicationId", "name", "applicationStatus")
SERVICE_COLUMNS = (
    *("name", "appName", "description", "createdAt"),
    *("applicationStatus", "serverId", "applicationId"),
)


@mutation(
    "project.create", text("name", min=1), optional("description", nullable=True), optional("env")
)  # fmt: skip
def create(call: Call) -> Any:
    """Make a project with its environment."""
    given = call.given
    made = call.server.state.create_project(given["name"], given.get("description"), given.get("env", ""))
    return {"project": made[0], "environment": made[1]}


@query("project.all")
def list_all(call: Call) -> Any:
    """List the projects, newest first, each with the names of its services."""
    state = call.server.state
    return [
        {
            **project,
            "environments": [
                {
                    "name": environment["name"],
                    "environmentId": environment["environmentId"],
                    "isDefault": environment["isDefault"],
                    **state.project_services(environment, _ALL_COLUMNS),
                }
                for environment in state.environments_of(project["projectId"])
            ],
            "projectTags": [],
        }
        for project in reversed(state.projects.values())
    ]


@query("project.one", identifier("projectId"))
def one(call: Call) -> Any:
    """Tell one project."""
    state = call.server.state
    project = state.project(call.given["projectId"])
    environments = [
        {**environment, **state.project_services(environment, SERVICE_COLUMNS)}
        for environment in state.environments_of(project["projectId"])
    ]
    return {**project, "environments": environments, "projectTags": []}


@query(
    "project.search",
    optional("q"),
    optional("name"),
    optional("description"),
    optional("limit", "number", min=1, max=100),
    optional("offset", "number", min=0),
)
def search(call: Call) -> Any:
    """Find projects by parts of their name or description."""
    return found(call, list(call.server.state.projects.values()), ("name", "description"), ("name", "description"))


@mutation(
    "project.update",
    identifier("projectId"),
    optional("name", min=1),
    optional("description", nullable=True),
    optional("env"),
)
def update(call: Call) -> Any:
    """Change a project's columns."""
    project = call.server.state.project(call.given["projectId"])
    project.update(call.given)
    return project


@mutation("project.remove", identifier("projectId"))
def remove(call: Call) -> Any:
    """Remove a project's rows; services, routes and volumes stay behind unseen."""
    project = call.server.state.project(call.given["projectId"])
    call.server.state.remove_project(project)
    return project


def found(call: Call, rows: list[Row], q_columns: tuple[str, ...], columns: tuple[str, ...]) -> Row:
    """Search rows as Dokploy does: by substring, whatever the case, newest first, with LIKE's wildcards."""
    given = call.given
    if given.get("q"):
        pattern = _like(given["q"])
        rows = [row for row in rows if any(pattern.search(row[column] or "") for column in q_columns)]
    for column in columns:
        if given.get(column):
            pattern = _like(given[column])
            rows = [row for row in rows if pattern.search(row[column] or "")]
    offset, limit = given.get("offset", 0), given.get("limit", 20)
    return {"items": rows[::-1][offset : offset + limit], "total": len(rows)}


def _like(part: str) -> re.Pattern[str]:
    escaped = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in part)
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)
