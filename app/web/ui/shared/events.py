"""Events of a deployment, as pages read them."""

from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord
from app.deployments.queries import PAGE
from app.portal import Portal


async def events_of(portal: Portal, record: DeploymentRecord) -> list[RecordedEvent]:
    """Read every event that a record knows of, so that both are of one moment."""
    events: list[RecordedEvent] = []
    while True:
        batch = await portal.records.events(record.id, events[-1].n if events else 0)
        events += [event for event in batch if event.n <= record.last_event]
        if len(batch) < PAGE or batch[-1].n >= record.last_event:
            return events
