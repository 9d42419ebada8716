"""deployment.*: the queue, the records and their logs."""

from typing import Any

from app.sandbox.errors import CallError, not_found
from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import Row
from app.sandbox.validation import identifier, optional, text

_TYPES = ("application", "compose", "server", "schedule", "previewDeployment", "backup", "volumeBackup")


@query("deployment.all", identifier("applicationId"))
def list_all(call: Call) -> Any:
    """List an application's deployments, newest first; none for an application nobody knows."""
    return call.server.state.deployments_of(call.given["applicationId"])[::-1]


@query("deployment.allByType", identifier("id"), text("type", choices=_TYPES))
def all_by_type(call: Call) -> Any:
    """List the deployments of anything; only applications exist here."""
    rows = call.server.state.deployments_of(call.given["id"]) if call.given["type"] == "application" else []
    return [{**row, "rollback": None} for row in reversed(rows)]


@query("deployment.queueList")
def queue_list(call: Call) -> Any:
    """List the whole server's queue."""
    return call.server.worker.rows()


@query("deployment.readLogs", identifier("deploymentId"), optional("tail", "number", min=1, max=10000))
def read_logs(call: Call) -> Any:
    """Tell the end of a deployment's log, also while it runs."""
    log = call.server.state.logs.get(_deployment(call)["logPath"])
    if log is None:
        return "\n"
    lines = log.splitlines(keepends=True)
    return "".join(lines[-int(call.given.get("tail", 100)) :])


@mutation("deployment.killProcess", identifier("deploymentId"))
def kill_process(call: Call) -> Any:
    """Refuse: deployments of applications have no process to kill."""
    _deployment(call)
    raise CallError(400, "Deployment is not running")


def _deployment(call: Call) -> Row:
    row = call.server.state.deployments.get(call.given["deploymentId"])
    if row is None:
        raise not_found("Deployment")
    return row
