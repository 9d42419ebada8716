"""docker.* and dockerVolume.*: what Docker itself has; the latter is in no published document."""

import re
from typing import Any

from app.sandbox.errors import CallError
from app.sandbox.registry import NOTHING, Call, mutation, query
from app.sandbox.validation import identifier, optional, text

_APP_NAME = text("appName", min=1, pattern=re.compile(r"[a-zA-Z0-9.\-_]+"))


@query("docker.getContainers", optional("serverId"))
def get_containers(call: Call) -> Any:
    """List every container of the server."""
    images = {name: service.spec.image for name, service in call.server.swarm.services.items()}
    return [
        {
            "containerId": row["containerId"],
            "name": row["name"],
            "image": images.get(row["name"].split(".")[0], ""),
            "ports": "8080/tcp",
            "state": row["state"],
            "status": row["status"],
        }
        for row in call.server.swarm.container_rows()
    ]


@query("docker.getServiceContainersByAppName", _APP_NAME, optional("serverId"))
def get_service_containers_by_app_name(call: Call) -> Any:
    """List a service's tasks, newest first; none when there is no service."""
    return call.server.swarm.task_rows(call.given["appName"])


@query(
    "docker.getContainersByAppNameMatch",
    optional("appType", choices=("stack", "docker-compose")),
    _APP_NAME,
    optional("serverId"),
)
def get_containers_by_app_name_match(call: Call) -> Any:
    """List containers whose name has a part."""
    return call.server.swarm.container_rows(call.given["appName"])


@query("docker.getContainersByAppLabel", _APP_NAME, optional("serverId"), text("type", choices=("standalone", "swarm")))
def get_containers_by_app_label(call: Call) -> Any:
    """List a service's running containers."""
    rows = call.server.swarm.container_rows(call.given["appName"])
    return [
        {"containerId": row["containerId"], "name": row["name"], "state": row["state"]}
        for row in rows
        if row["state"] == "running" and row["name"].startswith(call.given["appName"] + ".")
    ]


@query("dockerVolume.getVolumes", optional("serverId"), published=False)
def get_volumes(call: Call) -> Any:
    """List the named volumes."""
    return [
        {
            "Availability": "N/A",
            "Driver": "local",
            "Group": "N/A",
            "Labels": "",
            "Links": "N/A",
            "Mountpoint": mount_point,
            "Name": name,
            "Scope": "local",
            "Size": "N/A",
            "Status": "N/A",
        }
        for name, mount_point in call.server.swarm.volumes.items()
    ]


@mutation("dockerVolume.removeVolume", identifier("volumeName"), optional("serverId"), published=False)
def remove_volume(call: Call) -> Any:
    """Remove a volume that nothing uses."""
    server, name = call.server, call.given["volumeName"]
    if name in server.swarm.volumes and server.faults.take(call.name, call.text, frozenset({"keep_volume"})):
        return NOTHING
    if name in server.swarm.volumes and server.faults.take(call.name, call.text, frozenset({"volume_in_use"})):
        complaint: str | None = f"remove {name}: volume is in use - [{'0' * 64}]"
    else:
        complaint = server.swarm.remove_volume(name)
    if complaint is not None:
        raise CallError(
            500,
            f"Command execution failed: Command failed: docker volume rm {name}\n"
            f"Error response from daemon: {complaint}\n",
        )
    return NOTHING
