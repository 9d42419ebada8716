"""The emulated database of Dokploy: rows and their relations. Knows nothing of HTTP or Docker."""

from collections.abc import Iterable

from app.sandbox.errors import CallError, not_found
from app.sandbox.rows import APPLICATION_TAIL, SERVICE_KINDS, Row, deployment_row, environment_row, project_row

# Rows beyond this many are dropped when a new one is written, so that one more is seen.
_KEPT_DEPLOYMENTS = 10


class State:
    """All rows; dictionaries keep the order of creation, and indexes spare every scan that grows with the server."""

    def __init__(self) -> None:
        self.projects: dict[str, Row] = {}
        self.environments: dict[str, Row] = {}
        self.applications: dict[str, Row] = {}
        self.domains: dict[str, Row] = {}
        self.mounts: dict[str, Row] = {}
        self.deployments: dict[str, Row] = {}
        self.api_keys: dict[str, Row] = {}
        self.logs: dict[str, str] = {}
        """The text of each log file, by its path."""
        self.traefik: dict[str, dict[str, Row]] = {}
        """Traefik's file of each application: appName -> domainId -> the domain as it was written."""
        self._hosts: dict[str, dict[str, tuple[str, Row]]] = {}
        self._environments_of: dict[str, dict[str, Row]] = {}
        self._applications_of: dict[str, dict[str, Row]] = {}
        self._domains_of: dict[str, dict[str, Row]] = {}
        self._mounts_of: dict[str, dict[str, Row]] = {}
        self._deployments_of: dict[str, list[Row]] = {}
        self._unique_config_key = 0

    # Projects and environments

    def create_project(self, name: str, description: str | None, env: str) -> tuple[Row, Row]:
        """Make a project and the environment that every project begins with."""
        project = project_row(name, description, env)
        self.projects[project["projectId"]] = project
        self._environments_of[project["projectId"]] = {}
        environment = environment_row(
            project["projectId"], "production", description="Production environment", is_default=True
        )
        self.add_environment(environment)
        return project, environment

    def add_environment(self, environment: Row) -> None:
        """Put an environment into its project."""
        self.environments[environment["environmentId"]] = environment
        self._environments_of[environment["projectId"]][environment["environmentId"]] = environment
        self._applications_of[environment["environmentId"]] = {}

    def environments_of(self, project_id: str) -> list[Row]:
        """List the environments of a project, oldest first."""
        return list(self._environments_of.get(project_id, {}).values())

    def applications_of(self, environment_id: str) -> list[Row]:
        """List the applications of an environment, oldest first."""
        return list(self._applications_of.get(environment_id, {}).values())

    def remove_environment(self, environment: Row) -> None:
        """Drop an environment with all rows below it."""
        for application in self.applications_of(environment["environmentId"]):
            self.remove_application(application)
        del self.environments[environment["environmentId"]]
        del self._applications_of[environment["environmentId"]]
        self._environments_of[environment["projectId"]].pop(environment["environmentId"])

    def remove_project(self, project: Row) -> None:
        """Drop a project's rows and only those: what Docker and Traefik have of it stays behind."""
        for environment in self.environments_of(project["projectId"]):
            self.remove_environment(environment)
        del self.projects[project["projectId"]]
        del self._environments_of[project["projectId"]]

    # Applications

    def add_application(self, application: Row) -> None:
        """Put an application into its environment."""
        self.applications[application["applicationId"]] = application
        self._applications_of[application["environmentId"]][application["applicationId"]] = application

    def move_application(self, application: Row, environment_id: str) -> None:
        """Put an application into another environment."""
        self._applications_of[application["environmentId"]].pop(application["applicationId"])
        application["environmentId"] = environment_id
        self._applications_of[environment_id][application["applicationId"]] = application

    def remove_application(self, application: Row) -> None:
        """Drop an application's rows, its domains', mounts' and deployments' included."""
        key = application["applicationId"]
        del self.applications[key]
        self._applications_of[application["environmentId"]].pop(key)
        for domain_id in self._domains_of.pop(key, {}):
            del self.domains[domain_id]
        for mount_id in self._mounts_of.pop(key, {}):
            del self.mounts[mount_id]
        for deployment in self._deployments_of.pop(key, []):
            del self.deployments[deployment["deploymentId"]]

    def whole_application(self, application: Row) -> Row:
        """Tell an application with everything that hangs on it."""
        key = application["applicationId"]
        environment = self.environments[application["environmentId"]]
        return {
            **application,
            "environment": {**environment, "project": self.projects[environment["projectId"]]},
            "domains": self.domains_of(key),
            "deployments": self.deployments_of(key),
            "mounts": self.mounts_of(key),
            **APPLICATION_TAIL,
        }

    # Domains and Traefik's files

    def next_config_key(self) -> int:
        """Count the domains ever made on this server."""
        self._unique_config_key += 1
        return self._unique_config_key

    def add_domain(self, domain: Row) -> None:
        """Store a domain and, when it belongs to an application, route its host at once."""
        self.domains[domain["domainId"]] = domain
        application = self.applications.get(domain["applicationId"] or "")
        if application is not None:
            self._domains_of.setdefault(application["applicationId"], {})[domain["domainId"]] = domain
            self.write_route(application["appName"], domain)

    def domains_of(self, application_id: str) -> list[Row]:
        """List the domains of an application, oldest first."""
        return list(self._domains_of.get(application_id, {}).values())

    def remove_domain(self, domain: Row, *, keep_route: bool = False) -> None:
        """Drop a domain and its route."""
        del self.domains[domain["domainId"]]
        self._domains_of.get(domain["applicationId"] or "", {}).pop(domain["domainId"], None)
        application = self.applications.get(domain["applicationId"] or "")
        if application is not None and not keep_route:
            self.erase_route(application["appName"], domain["domainId"])

    def write_route(self, app_name: str, domain: Row) -> None:
        """Write a domain into the application's Traefik file."""
        self.erase_route(app_name, domain["domainId"])
        self.traefik.setdefault(app_name, {})[domain["domainId"]] = dict(domain)
        self._hosts.setdefault(domain["host"].lower(), {})[domain["domainId"]] = (app_name, dict(domain))

    def erase_route(self, app_name: str, domain_id: str) -> None:
        """Take a domain out of the application's Traefik file."""
        written = self.traefik.get(app_name, {}).pop(domain_id, None)
        if written is not None:
            routes = self._hosts[written["host"].lower()]
            routes.pop(domain_id)
            if not routes:
                del self._hosts[written["host"].lower()]

    def erase_routes(self, app_name: str) -> None:
        """Remove an application's Traefik file."""
        for domain_id in list(self.traefik.get(app_name, {})):
            self.erase_route(app_name, domain_id)
        self.traefik.pop(app_name, None)

    def route(self, host: str, path: str) -> tuple[str, Row] | None:
        """Find the appName and the domain that answer for an address: the longest path, then the oldest."""
        routes = [found for found in self._hosts.get(host, {}).values() if path.startswith(found[1]["path"] or "/")]
        return max(routes, key=lambda found: len(found[1]["path"] or "/")) if routes else None

    def knows_host(self, host: str) -> bool:
        """Say whether any route has this host."""
        return host in self._hosts

    # Mounts

    def add_mount(self, mount: Row) -> None:
        """Store a mount; one that belongs to nothing is stored all the same."""
        self.mounts[mount["mountId"]] = mount
        if mount["applicationId"]:
            self._mounts_of.setdefault(mount["applicationId"], {})[mount["mountId"]] = mount

    def mounts_of(self, application_id: str) -> list[Row]:
        """List the mounts of an application, oldest first."""
        return list(self._mounts_of.get(application_id, {}).values())

    def remove_mount(self, mount: Row) -> None:
        """Drop a mount; the volume it named stays."""
        del self.mounts[mount["mountId"]]
        self._mounts_of.get(mount["applicationId"] or "", {}).pop(mount["mountId"], None)

    # Dokploy deployments

    def begin_deployment(self, application: Row, title: str, description: str) -> Row:
        """Write the record of a deployment that begins, and drop the oldest records and their logs."""
        rows = self._deployments_of.setdefault(application["applicationId"], [])
        while len(rows) > _KEPT_DEPLOYMENTS:
            oldest = rows.pop(0)
            del self.deployments[oldest["deploymentId"]]
            self.logs.pop(oldest["logPath"], None)
        row = deployment_row(application, title, description)
        rows.append(row)
        self.deployments[row["deploymentId"]] = row
        self.logs[row["logPath"]] = "Initializing deployment\n"
        return row

    def deployments_of(self, application_id: str) -> list[Row]:
        """List the deployments of an application, oldest first."""
        return list(self._deployments_of.get(application_id, []))

    # Look-ups that refuse

    def project(self, project_id: str) -> Row:
        """Find a project or refuse."""
        return _found(self.projects, project_id, "Project")

    def environment(self, environment_id: str) -> Row:
        """Find an environment or refuse."""
        return _found(self.environments, environment_id, "Environment")

    def application(self, application_id: str) -> Row:
        """Find an application or refuse."""
        return _found(self.applications, application_id, "Application")

    # Views

    def project_services(self, environment: Row, columns: Iterable[str]) -> Row:
        """List an environment's services by kind; only applications exist here."""
        applications = [
            {column: application[column] for column in columns}
            for application in self.applications_of(environment["environmentId"])
        ]
        return {"applications": applications, **{kind: [] for kind in SERVICE_KINDS}}


def _found(rows: dict[str, Row], key: str, thing: str) -> Row:
    row = rows.get(key)
    if row is None:
        raise not_found(thing)
    return row


def sql_refusal(table: str, row: Row, prefix: str = "") -> CallError:
    """Refuse a row that PostgreSQL would not take; Dokploy shows the whole statement to the caller."""
    columns = ", ".join(f'"{column}"' for column in row)
    marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    # Only told, never run.
    said = [f'{prefix}Failed query: insert into "{table}" ({columns})', f"values ({marks})", f"returning {columns}"]
    return CallError(400, f"{' '.join(said)}\nparams: {','.join(str(value) for value in row.values())}")
