"""The rows of Dokploy's tables as its API shows them, with identifiers and times of the same make."""

import secrets
import string
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

_BASE36 = string.digits + string.ascii_lowercase
_WORDS = ("array", "bypass", "calculate", "copy", "digital", "hack", "index", "input", "navigate", "neural", "online")

ORGANIZATION_ID = "sandboxOrganization00"
USER_ID = "sandboxUser0000000000000000000000"
SERVICE_KINDS = ("mariadb", "mongo", "mysql", "postgres", "redis", "compose", "libsql")


def new_id() -> str:
    """Make an identifier of 21 characters, like nanoid."""
    return secrets.token_urlsafe(16)[:21]


def base36(length: int) -> str:
    """Make the kind of suffix that Dokploy and Docker put behind names."""
    return "".join(secrets.choice(_BASE36) for _ in range(length))


def three_words() -> str:
    """Make up a name for an application that was given none."""
    return "-".join(secrets.choice(_WORDS) for _ in range(3))


def timestamp() -> str:
    """Tell the time as JavaScript does."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def project_row(name: str, description: str | None, env: str) -> Row:
    """Make a project."""
    return {
        "projectId": new_id(),
        "name": name,
        "description": description,
        "createdAt": timestamp(),
        "organizationId": ORGANIZATION_ID,
        "env": env,
    }


def environment_row(project_id: str, name: str, description: str | None, *, is_default: bool) -> Row:
    """Make an environment of a project."""
    return {
        "environmentId": new_id(),
        "name": name,
        "description": description,
        "createdAt": timestamp(),
        "env": "",
        "projectId": project_id,
        "isDefault": is_default,
    }


# Every column of an application in the order in which the API tells them; what differs is filled in below.
_APPLICATION: Row = {
    "applicationId": "",
    "name": "",
    "appName": "",
    **dict.fromkeys(("description", "env", "previewEnv", "watchPaths", "previewBuildArgs", "previewBuildSecrets")),
    **dict.fromkeys(("previewLabels", "previewWildcard")),
    "previewPort": 3000,
    "previewHttps": False,
    "previewPath": "/",
    "previewCertificateType": "none",
    "previewCustomCertResolver": None,
    "previewLimit": 3,
    "isPreviewDeploymentsActive": False,
    "previewRequireCollaboratorPermissions": True,
    "rollbackActive": False,
    **dict.fromkeys(("buildArgs", "buildSecrets", "memoryReservation", "memoryLimit", "cpuReservation", "cpuLimit")),
    **dict.fromkeys(("title", "enabled", "subtitle", "command", "args", "icon")),
    "refreshToken": "",
    "sourceType": "github",
    "cleanCache": False,
    **dict.fromkeys(("repository", "owner", "branch")),
    "buildPath": "/",
    "triggerType": "push",
    "autoDeploy": True,
    **dict.fromkeys(("gitlabProjectId", "gitlabRepository", "gitlabOwner", "gitlabBranch")),
    "gitlabBuildPath": "/",
    **dict.fromkeys(("gitlabPathNamespace", "giteaRepository", "giteaOwner", "giteaBranch")),
    "giteaBuildPath": "/",
    **dict.fromkeys(("bitbucketRepository", "bitbucketRepositorySlug", "bitbucketOwner", "bitbucketBranch")),
    "bitbucketBuildPath": "/",
    **dict.fromkeys(("username", "password", "dockerImage", "registryUrl")),
    **dict.fromkeys(("customGitUrl", "customGitBranch", "customGitBuildPath", "customGitSSHKeyId")),
    "enableSubmodules": False,
    "dockerfile": "Dockerfile",
    **dict.fromkeys(("dockerContextPath", "dockerBuildStage", "dropBuildPath")),
    **dict.fromkeys(("healthCheckSwarm", "restartPolicySwarm", "placementSwarm", "updateConfigSwarm")),
    **dict.fromkeys(("rollbackConfigSwarm", "modeSwarm", "labelsSwarm", "networkSwarm")),
    **dict.fromkeys(("stopGracePeriodSwarm", "endpointSpecSwarm", "ulimitsSwarm")),
    "replicas": 1,
    "applicationStatus": "idle",
    "buildType": "nixpacks",
    "railpackVersion": "0.15.4",
    "herokuVersion": "24",
    "publishDirectory": None,
    "isStaticSpa": None,
    "createEnvFile": True,
    "createdAt": "",
    "registryId": None,
    "rollbackRegistryId": None,
    "environmentId": "",
    **dict.fromkeys(("githubId", "gitlabId", "giteaId", "bitbucketId", "serverId", "buildServerId", "buildRegistryId")),
    "networkIds": [],
    "detachDokployNetwork": False,
}

# What `application.one` tells beside the row for the kinds of things the emulator has none of.
APPLICATION_TAIL: Row = {
    "redirects": [],
    "security": [],
    "ports": [],
    **dict.fromkeys(("gitlab", "github", "bitbucket", "gitea", "server")),
    "previewDeployments": [],
    **dict.fromkeys(("registry", "buildRegistry", "rollbackRegistry")),
}


def application_row(name: str, app_name: str | None, environment_id: str, description: str | None) -> Row:
    """Make an application; its appName always gets a suffix, so that none can be chosen."""
    stem = app_name.lower() if app_name else f"app-{three_words()}"
    row = _APPLICATION.copy()
    row.update(
        applicationId=new_id(),
        name=name,
        appName=f"{stem}-{base36(6)}",
        description=description,
        refreshToken=new_id(),
        createdAt=timestamp(),
        environmentId=environment_id,
        networkIds=[],
    )
    return row


def mount_row(given: Row) -> Row:
    """Make a mount; without a serviceType it belongs to nothing."""
    owned = given.get("serviceType") == "application"
    return {
        "mountId": new_id(),
        "type": given["type"],
        "hostPath": given.get("hostPath"),
        "volumeName": given.get("volumeName"),
        "filePath": given.get("filePath"),
        "content": given.get("content"),
        "serviceType": given.get("serviceType", "application"),
        "mountPath": given["mountPath"],
        "applicationId": given["serviceId"] if owned else None,
        **dict.fromkeys(("composeId", "libsqlId", "mariadbId", "mongoId", "mysqlId", "postgresId", "redisId")),
    }


def domain_row(given: Row, unique_config_key: int) -> Row:
    """Make a domain; the port nobody named is 3000."""
    return {
        "domainId": new_id(),
        "host": given["host"],
        "https": given.get("https", False),
        "port": given.get("port", 3000),
        "customEntrypoint": given.get("customEntrypoint"),
        "path": given.get("path", "/"),
        "serviceName": given.get("serviceName"),
        "domainType": given.get("domainType", "application"),
        "uniqueConfigKey": unique_config_key,
        "createdAt": timestamp(),
        "composeId": given.get("composeId"),
        "customCertResolver": given.get("customCertResolver"),
        "applicationId": given.get("applicationId"),
        "previewDeploymentId": None,
        "certificateType": given.get("certificateType", "none"),
        "internalPath": given.get("internalPath", "/"),
        "stripPath": given.get("stripPath", False),
        "middlewares": given.get("middlewares") or [],
        "forwardAuthEnabled": False,
        "enabled": True,
    }


def deployment_row(application: Row, title: str, description: str) -> Row:
    """Make the record of a Dokploy deployment that has just begun."""
    now = timestamp()
    app_name = application["appName"]
    # One second of resolution: two deployments of one application within a second share a log file.
    log_path = f"/etc/dokploy/logs/{app_name}/{app_name}-{now[:10]}:{now[11:19]}.log"
    return {
        "deploymentId": new_id(),
        "title": title,
        "description": description,
        "status": "running",
        "logPath": log_path,
        "pid": None,
        "applicationId": application["applicationId"],
        "composeId": None,
        "serverId": None,
        "isPreviewDeployment": False,
        "previewDeploymentId": None,
        "createdAt": now,
        "startedAt": now,
        "finishedAt": None,
        "errorMessage": None,
        **dict.fromkeys(("scheduleId", "backupId", "rollbackId", "volumeBackupId", "buildServerId")),
    }
