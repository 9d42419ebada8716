"""Drift: what Dokploy holds, compared with the stacks on record."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.deployments.model import DeploymentRecord
from app.dokploy import Application, DokployClient, Domain, Project
from app.stacks.marker import Marker, search_text_of
from app.stacks.model import StackRecord, is_there
from app.stacks.queries import Records
from app.store.schema import DEFAULT_SERVER

Code = Literal[
    "project_missing",
    "project_double",
    "project_without_stack",
    "application_missing",
    "application_double",
    "application_without_stack",
    "domain_missing",
    "domain_stray",
    "volume_missing",
]


# So many stacks may well have lost something on one day.
_FEW = 2


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the record says. name: in Dokploy; dokploy_id: its id there, None for what is missing.

    stack: whose it is, None where no stack holds it; repair: what `repair` does about it, None: nothing can.
    """

    code: Code
    stack: str | None
    name: str
    dokploy_id: str | None
    repair: Literal["redeploy", "remove"] | None


@dataclass(frozen=True)
class Observed:
    """What Dokploy holds that bears this portal's marker. Keys are stack ids, and for domains application ids."""

    projects: Mapping[str, Sequence[Project]]
    applications: Mapping[str, Sequence[Application]]
    domains: Mapping[str, Sequence[Domain]]
    volumes: Collection[str]


@dataclass(frozen=True)
class Recorded:
    """What the record says. settled: running stacks that nothing is changing now; held: ids of all that hold a name."""

    settled: Sequence[StackRecord]
    held: Collection[str]
    ids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Dokploy's ids of a stack's resources, by stack id and kind."""


def compare(recorded: Recorded, observed: Observed) -> list[Difference]:
    """Say what differs, stack by stack, and then what belongs to none. Pure."""
    found = [each for stack in recorded.settled for each in _compare_stack(stack, recorded, observed)]
    # Applications before the projects that they are in: that is the order in which they are removed.
    for stack_id, applications in observed.applications.items():
        if stack_id not in recorded.held:
            found += [_of_nobody("application_without_stack", each.name, each.application_id) for each in applications]
    for stack_id, projects in observed.projects.items():
        if stack_id not in recorded.held:
            found += [_of_nobody("project_without_stack", each.name, each.project_id) for each in projects]
    return found


def _compare_stack(stack: StackRecord, recorded: Recorded, observed: Observed) -> list[Difference]:
    ids, plan = recorded.ids.get(stack.id, {}), stack.plan
    found: list[Difference] = []
    projects = {each.project_id: each.name for each in observed.projects.get(stack.id, ())}
    applications = {each.application_id: each.name for each in observed.applications.get(stack.id, ())}
    application_id = _the_one(applications, ids.get("application"))
    if application_id is None:
        found.append(Difference("application_missing", stack.name, plan["application"], None, "redeploy"))
    project_id = _the_one(projects, ids.get("project"))
    if project_id is None:
        found.append(Difference("project_missing", stack.name, plan["project"], None, "redeploy"))
    found += [
        Difference("application_double", stack.name, name, each, "remove")
        for each, name in applications.items()
        if each != application_id
    ]
    found += [
        Difference("project_double", stack.name, name, each, "remove")
        for each, name in projects.items()
        if each != project_id
    ]
    if application_id is not None:
        found += _compare_domains(stack, observed.domains.get(application_id, ()), ids.get("domain"))
    if plan["volume"] not in observed.volumes:
        found.append(Difference("volume_missing", stack.name, plan["volume"], None, None))
    return found


def _compare_domains(stack: StackRecord, domains: Sequence[Domain], recorded_id: str | None) -> list[Difference]:
    host = stack.plan["host"]
    domain_id = _the_one({each.domain_id: each.host for each in domains if each.host == host}, recorded_id)
    found = [
        Difference("domain_stray", stack.name, each.host, each.domain_id, "remove")
        for each in domains
        if each.domain_id != domain_id
    ]
    if domain_id is None:
        found.insert(0, Difference("domain_missing", stack.name, host, None, "redeploy"))
    return found


def _the_one(found: Mapping[str, str], recorded_id: str | None) -> str | None:
    """Which of several counts: the one on record, or else the oldest."""
    return recorded_id if recorded_id in found else next(iter(found), None)


def _of_nobody(code: Code, name: str, dokploy_id: str) -> Difference:
    return Difference(code, None, name, dokploy_id, "remove")


class Drift:
    """Reads both sides, and changes neither."""

    def __init__(
        self, dokploy: DokployClient, records: Records, installation: str, server_id: str = DEFAULT_SERVER
    ) -> None:
        """`installation`, `server_id`: this portal and `dokploy`; whatever bears another's marker is never touched."""
        self._dokploy = dokploy
        self._records = records
        self._installation = installation
        self._server_id = server_id
        self._seen = 0

    async def differences(self) -> list[Difference]:
        """Return what differs now. Raises DokployError."""
        # The look takes a while. What was begun or has ended meanwhile was seen half, so it is left alone.
        before = await self._settled()
        observed = await self._observe()
        after = await self._settled()
        stacks = await self._records.list_stacks()
        settled = [stack for stack in stacks if after.get(stack.id) and before.get(stack.id) == after[stack.id]]
        ids = await self._records.dokploy_ids([stack.id for stack in settled])
        found = compare(Recorded(settled, {stack.id for stack in stacks}, ids), observed)
        self._seen = len(settled)
        return found

    def is_doubtful(self, found: Sequence[Difference]) -> bool:
        """Whether so much differs that another Dokploy, or another store, is more likely than that many mishaps."""
        lost = len({each.stack for each in found if each.code == "application_missing"})
        strange = sum(each.code == "application_without_stack" for each in found)
        return (lost > _FEW and lost * 2 > self._seen) or (strange > _FEW and strange > self._seen)

    async def _observe(self) -> Observed:
        projects: defaultdict[str, list[Project]] = defaultdict(list)
        for project in reversed(await self._dokploy.list_projects()):
            if stack_id := self._stack_of(project.description):
                projects[stack_id].append(project)
        applications: defaultdict[str, list[Application]] = defaultdict(list)
        for application in reversed(await self._dokploy.search_applications(search_text_of(self._installation))):
            if stack_id := self._stack_of(application.description):
                applications[stack_id].append(application)
        domains = {
            each.application_id: await self._dokploy.list_domains(each.application_id)
            for group in applications.values()
            for each in group
        }
        volumes = {volume.name for volume in await self._dokploy.list_volumes()}
        return Observed(projects, applications, domains, volumes)

    def _stack_of(self, description: str | None) -> str | None:
        marker = Marker.read(description)
        if marker is None or (marker.installation, marker.server_id) != (self._installation, self._server_id):
            return None
        return marker.stack_id

    async def _settled(self) -> dict[str, str]:
        """Ids of stacks that nothing changes now, each with that of its newest deployment."""
        here = [view async for view in self._records.every_stack() if view.stack.server_id == self._server_id]
        return {view.stack.id: view.newest.id for view in here if _is_settled(view.newest)}


def _is_settled(newest: DeploymentRecord) -> bool:
    """Whether a stack is meant to be there as its plan says: nothing changes it now, and nothing of it is to go."""
    return newest.conclusion is not None and is_there(newest)
