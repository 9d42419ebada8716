"""application.*: what starts, stops and removes it."""

import asyncio
from typing import Any

from app.sandbox.errors import CallError
from app.sandbox.faults import DEPLOYMENTS
from app.sandbox.procedures.application import REQUIRED_APP_NAME
from app.sandbox.registry import NOTHING, Call, mutation
from app.sandbox.validation import identifier, optional, text
from app.sandbox.worker import default_title, spec_of

# How long a start may wait for a service that never comes up; the real one was not seen to give up.
_LONGEST_START_SECONDS = 120.0
_APPLICATION_ID = identifier("applicationId")


@mutation("application.deploy", _APPLICATION_ID, optional("title"), optional("description"))
def deploy(call: Call) -> Any:
    """Queue a deployment."""
    return _enqueue(call, "deploy")


@mutation("application.redeploy", _APPLICATION_ID, optional("title"), optional("description"))
def redeploy(call: Call) -> Any:
    """Queue a deployment that does not pull."""
    return _enqueue(call, "redeploy")


def _enqueue(call: Call, kind: str) -> Any:
    given = call.given
    call.server.state.application(given["applicationId"])
    faults = call.server.faults.take_all(call.name, call.text, DEPLOYMENTS)
    title = given.get("title") or default_title(kind)
    call.server.worker.enqueue(given["applicationId"], kind, title, given.get("description") or "", faults)
    return NOTHING


@mutation("application.reload", REQUIRED_APP_NAME, text("applicationId"))
def reload(call: Call) -> Any:
    """Make the service from the stored settings at once, without pull or record."""
    server = call.server
    application = server.state.application(call.given["applicationId"])
    faults = server.faults.take_all(call.name, call.text, DEPLOYMENTS)
    try:
        server.swarm.apply(spec_of(server.state, application, faults))
    except ValueError as complaint:
        raise CallError(500, str(complaint)) from complaint
    application["applicationStatus"] = "done"
    return True


@mutation("application.stop", _APPLICATION_ID)
async def stop(call: Call) -> Any:
    """Scale the service to nothing, also when there is none; answers the row as it was before."""
    server = call.server
    application = server.state.application(call.given["applicationId"])
    before = server.state.whole_application(application)
    if server.swarm.scale(application["appName"], 0):
        await asyncio.sleep(server.settings.START_SECONDS)
    application["applicationStatus"] = "idle"
    return before


@mutation("application.start", _APPLICATION_ID)
async def start(call: Call) -> Any:
    """Scale the service to one and wait until it runs; answers the row as it was before."""
    server = call.server
    application = server.state.application(call.given["applicationId"])
    app_name = application["appName"]
    before = server.state.whole_application(application)
    if not server.swarm.scale(app_name, 1):
        raise CallError(
            500,
            f"Command execution failed: Command failed: docker service scale {app_name}=1 \n"
            f"{app_name}: Error response from daemon: service {app_name} not found\n",
        )
    waited = 0.0
    step = max(server.settings.START_SECONDS / 4, 0.01)
    while not server.swarm.running(app_name) and waited < _LONGEST_START_SECONDS:
        await asyncio.sleep(step)
        waited += step
    application["applicationStatus"] = "done"
    return before


@mutation("application.delete", _APPLICATION_ID)
def delete(call: Call) -> Any:
    """Remove an application; its volumes stay, and so does what its running deployment is about to make."""
    server = call.server
    application = server.state.application(call.given["applicationId"])
    whole = server.state.whole_application(application)
    kept = server.faults.take_all(call.name, call.text, frozenset({"keep_route", "keep_service"}))
    for deployment in whole["deployments"]:
        server.state.logs.pop(deployment["logPath"], None)
    server.state.remove_application(application)
    if "keep_service" not in kept:
        server.swarm.remove(application["appName"], server.settings.VOLUME_RELEASE_SECONDS)
    if "keep_route" not in kept:
        server.state.erase_routes(application["appName"])
    return whole


@mutation("application.cleanQueues", _APPLICATION_ID)
def clean_queues(call: Call) -> Any:
    """Forget the application's waiting jobs."""
    call.server.state.application(call.given["applicationId"])
    call.server.worker.clean(call.given["applicationId"])
    return NOTHING


@mutation("application.cancelDeployment", _APPLICATION_ID)
def cancel_deployment(call: Call) -> Any:
    """Refuse, as every self-hosted server does."""
    call.server.state.application(call.given["applicationId"])
    raise CallError(400, "Deployment cancellation only available in cloud version")


@mutation("application.killBuild", _APPLICATION_ID)
def kill_build(call: Call) -> Any:
    """Kill builds, which a deployment of an image is not."""
    call.server.state.application(call.given["applicationId"])
    return NOTHING
