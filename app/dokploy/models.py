"""Models of Dokploy 0.30's answers, with the fields that are used; others are ignored."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


# Dokploy writes ISO 8601 with a Z, without one, and with or without fractions; all of it is UTC.
Moment = Annotated[datetime, AfterValidator(_aware)]

# What Dokploy calls things by itself. It goes into our store and into later calls: nothing but what ids are made of.
Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,60}$")]
AppName = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]

_LONGEST_NAME: Final = 300


def _readable(value: str) -> str:
    return "".join(each for each in value[:_LONGEST_NAME] if each.isprintable())


# What people have named. It is recorded and shown: nothing in it obeys a terminal, or turns what stands beside it.
Words = Annotated[str, AfterValidator(_readable)]


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Project(_Answer):
    """A project, as in project.all, project.search and project.create."""

    project_id: Id
    name: Words
    description: str | None = None
    created_at: Moment


class Environment(_Answer):
    """An environment of a project; every project has one called production."""

    environment_id: Id
    name: Words
    is_default: bool = False


class CreatedProject(_Answer):
    """What project.create answers."""

    project: Project
    environment: Environment


class ProjectContents(_Answer):
    """project.one: the environments with their services, each kind in a list of its own."""

    class Contents(Environment):
        """One environment; lists of services stand among its other fields."""

        model_config = ConfigDict(extra="allow")

        def services(self) -> list[dict[str, Any]]:
            """Every service of every kind, as Dokploy describes it."""
            lists = [value for value in (self.model_extra or {}).values() if isinstance(value, list)]
            return [entry for entries in lists for entry in entries if isinstance(entry, dict)]

    project_id: Id
    environments: list[Contents]


class Application(_Answer):
    """An application, as in application.create and application.search."""

    application_id: Id
    name: Words
    app_name: AppName
    description: str | None = None
    environment_id: Id
    created_at: Moment


class FoundProjects(_Answer):
    """What project.search answers."""

    items: list[Project]


class FoundApplications(_Answer):
    """What application.search answers."""

    items: list[Application]
    total: int = 0


class ApplicationUpdate(_Answer):
    """What application.update is sent. Memory in bytes and processors in billionths, as text: Dokploy checks neither.

    The password is a secret, and `env` holds some.
    """

    source_type: str = "docker"
    docker_image: str
    username: str | None = None
    password: str | None = Field(None, repr=False)
    registry_url: str | None = None
    env: str = Field(repr=False)
    memory_limit: str
    cpu_limit: str


class Mount(_Answer):
    """A mount of an application."""

    mount_id: Id
    volume_name: Words | None = None
    mount_path: Words


class Domain(_Answer):
    """A route to an application."""

    domain_id: Id
    host: Words
    port: int | None = None
    https: bool | None = None
    certificate_type: Words | None = None
    custom_cert_resolver: Words | None = None
    created_at: Moment


class QueueJob(_Answer):
    """A job in Dokploy's queue. timestamp: milliseconds since 1970; state: waiting or active."""

    class Data(_Answer):
        """What the job does."""

        application_id: str | None = None
        title_log: str | None = None
        description_log: str | None = None

    id: Id
    data: Data
    timestamp: float = Field(allow_inf_nan=False)
    state: str


class DokployDeployment(_Answer):
    """Dokploy's record of one build. status: running, done, error, cancelled, or one that is not known yet."""

    deployment_id: Id
    title: str
    description: str | None = None
    status: str
    created_at: Moment
    finished_at: Moment | None = None


class Task(_Answer):
    """One attempt of the swarm to run the container, newest first.

    state: what the swarm wants of it; current_state: such as "Running 3 seconds ago"; error: "" or the odd "Error:"
    where there is none.
    """

    container_id: str
    state: str
    current_state: str
    error: str = ""

    @property
    def doing(self) -> str:
        """First word of the current state, in lower case: running, starting, failed, pending and so on."""
        return self.current_state.partition(" ")[0].lower()

    @property
    def failed(self) -> bool:
        """Whether this attempt ended in an error."""
        return self.doing in {"failed", "rejected"}


class Container(_Answer):
    """A container whose name begins with an application's."""

    container_id: str
    name: Words
    state: str


class Volume(BaseModel):
    """A volume of Docker's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(alias="Name")
