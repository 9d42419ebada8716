"""The columns that application.update takes, with their types."""

from app.sandbox.validation import Field, identifier, optional


def _words(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_TEXTS = _words("""
description env previewEnv previewBuildArgs previewBuildSecrets previewWildcard previewPath previewCustomCertResolver
buildArgs buildSecrets memoryReservation memoryLimit cpuReservation cpuLimit title subtitle command icon refreshToken
repository owner branch buildPath gitlabRepository gitlabOwner gitlabBranch gitlabBuildPath gitlabPathNamespace
giteaRepository giteaOwner giteaBranch giteaBuildPath bitbucketRepository bitbucketRepositorySlug bitbucketOwner
bitbucketBranch bitbucketBuildPath username password dockerImage registryUrl customGitUrl customGitBranch
customGitBuildPath customGitSSHKeyId dockerfile dockerContextPath dockerBuildStage dropBuildPath railpackVersion
herokuVersion publishDirectory registryId rollbackRegistryId githubId gitlabId giteaId bitbucketId serverId
buildServerId buildRegistryId
""")
_FLAGS = _words("""
isPreviewDeploymentsActive previewRequireCollaboratorPermissions rollbackActive enabled cleanCache autoDeploy
isStaticSpa
""")
_NUMBERS = _words("previewPort previewLimit gitlabProjectId stopGracePeriodSwarm")
_LISTS = _words("watchPaths previewLabels args networkSwarm ulimitsSwarm")
_UPDATE_KEYS = ("Parallelism", "Delay", "FailureAction", "Monitor", "MaxFailureRatio", "Order")
_UPDATE_INNER = (
    Field("Parallelism", "number"),
    *(optional(name, "number") for name in ("Delay", "Monitor", "MaxFailureRatio")),
    optional("FailureAction"),
    Field("Order"),
)
_HEALTH_INNER = (
    optional("Test", "array"),
    *(optional(name, "number") for name in ("Interval", "Timeout", "StartPeriod", "Retries")),
)
_RESTART_INNER = (optional("Condition"), *(optional(name, "number") for name in ("Delay", "MaxAttempts", "Window")))

# The nested Docker objects are strict, unlike everything else: a key too many is refused.
_OBJECTS: dict[str, tuple[tuple[str, ...] | None, tuple[Field, ...]]] = {
    "healthCheckSwarm": (("Test", "Interval", "Timeout", "StartPeriod", "Retries"), _HEALTH_INNER),
    "restartPolicySwarm": (("Condition", "Delay", "MaxAttempts", "Window"), _RESTART_INNER),
    "placementSwarm": (("Constraints", "Preferences", "MaxReplicas", "Platforms"), ()),
    "updateConfigSwarm": (_UPDATE_KEYS, _UPDATE_INNER),
    "rollbackConfigSwarm": (_UPDATE_KEYS, _UPDATE_INNER),
    "modeSwarm": (("Replicated", "Global", "ReplicatedJob", "GlobalJob"), ()),
    "labelsSwarm": (None, ()),
    "endpointSpecSwarm": (("Mode", "Ports"), ()),
}

STATUSES = ("idle", "running", "done", "error")
SOURCE_TYPES = ("github", "docker", "git", "gitlab", "bitbucket", "gitea", "drop")
BUILD_TYPES = ("dockerfile", "heroku_buildpacks", "paketo_buildpacks", "nixpacks", "static", "railpack")

UPDATE_FIELDS = (
    identifier("applicationId"),
    optional("name", min=1),
    *(optional(name, nullable=True) for name in _TEXTS),
    *(optional(name, "boolean", nullable=True) for name in _FLAGS),
    *(optional(name, "boolean") for name in ("previewHttps", "enableSubmodules", "createEnvFile")),
    optional("detachDokployNetwork", "boolean"),
    *(optional(name, "number", nullable=True) for name in _NUMBERS),
    optional("replicas", "number"),
    *(optional(name, "array", nullable=True) for name in _LISTS),
    optional("networkIds", "array", nullable=True),
    *(
        optional(name, "object", nullable=True, keys=keys, inner=inner)
        for name, (keys, inner) in _OBJECTS.items()
    ),
    optional("sourceType", choices=SOURCE_TYPES),
    optional("applicationStatus", choices=STATUSES),
    optional("buildType", choices=BUILD_TYPES),
    optional("triggerType", choices=("push", "tag"), nullable=True),
    optional("previewCertificateType", choices=("letsencrypt", "none", "custom")),
    optional("environmentId"),
)  # fmt: skip
