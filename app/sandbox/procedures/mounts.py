"""mounts.*: what an application finds in its file system after the next deployment."""

from typing import Any

from app.sandbox.errors import not_found
from app.sandbox.registry import NOTHING, Call, mutation, query
from app.sandbox.rows import mount_row
from app.sandbox.state import sql_refusal
from app.sandbox.validation import identifier, optional, text

_SERVICE_TYPES = ("application", "postgres", "mysql", "mariadb", "mongo", "redis", "compose", "libsql")


@mutation(
    "mounts.create",
    text("type", choices=("bind", "volume", "file")),
    *(optional(name, nullable=True) for name in ("hostPath", "volumeName", "content", "filePath")),
    text("mountPath", min=1),
    optional("serviceType", choices=_SERVICE_TYPES),
    identifier("serviceId"),
)
def create(call: Call) -> Any:
    """Make a mount; neither path nor volume need be new, or sound."""
    row = mount_row(call.given)
    if row["applicationId"] and row["applicationId"] not in call.server.state.applications:
        told = {column: value for column, value in row.items() if value is not None}
        raise sql_refusal("mount", told, prefix="Error ")
    call.server.state.add_mount(row)
    return row


@mutation("mounts.remove", text("mountId"))
def remove(call: Call) -> Any:
    """Remove a mount from the settings."""
    row = call.server.state.mounts.get(call.given["mountId"])
    if row is None:
        raise not_found("Mount")
    call.server.state.remove_mount(row)
    return row


@query("mounts.listByServiceId", identifier("serviceType"), identifier("serviceId"))
def list_by_service_id(call: Call) -> Any:
    """List a service's mounts."""
    application = call.server.state.application(call.given["serviceId"])
    return call.server.state.mounts_of(application["applicationId"])


@query("mounts.allNamedByApplicationId", identifier("applicationId"))
def all_named_by_application_id(call: Call) -> Any:
    """List what the running container has mounted; nothing at all when none runs."""
    server = call.server
    application = server.state.application(call.given["applicationId"])
    spec = server.swarm.answering(application["appName"])
    if spec is None:
        return NOTHING
    return [
        {
            "Type": "volume",
            "Name": mount["volumeName"],
            "Source": server.swarm.volumes.get(mount["volumeName"], ""),
            "Destination": mount["mountPath"],
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        }
        for mount in spec.mounts
        if mount["type"] == "volume" and mount["volumeName"]
    ]
