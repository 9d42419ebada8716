"""The dotenv parser of an application's environment, by the rules that Dokploy uses."""

import re

# The shape of one assignment as that parser sees it: an unquoted value ends at the first `#`,
# a quoted one at its closing quote, over as many lines as it takes.
_ASSIGNMENT = re.compile(
    r"""^\s*(?:export\s+)?([A-Za-z0-9_.-]+)(?:\s*=\s*?|:\s+?)"""
    r"""(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:\#.*)?$""",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""^(['"`])([\s\S]*)\1$""", re.MULTILINE)
_PROJECT = re.compile(r"\$\{\{project\.(.*?)\}\}")
_ENVIRONMENT = re.compile(r"\$\{\{environment\.(.*?)\}\}")
_SERVICE = re.compile(r"\$\{\{(.*?)\}\}")


class UnknownReferenceError(ValueError):
    """A `${{...}}` that names a variable nobody has set."""


def parse(source: str | None) -> dict[str, str]:
    """Read the assignments; the last of two with one name wins."""
    variables: dict[str, str] = {}
    for match in _ASSIGNMENT.finditer(re.sub(r"\r\n?", "\n", source or "")):
        value = (match[2] or "").strip()
        quote = value[:1]
        value = _QUOTED.sub(r"\2", value)
        if quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        variables[match[1]] = value
    return variables


def resolve(env: str | None, project_env: str | None, environment_env: str | None) -> dict[str, str]:
    """Read an application's variables and fill in what they take from its project and environment."""
    variables = parse(env)
    if "${{" not in (env or ""):
        return variables
    project, environment = parse(project_env), parse(environment_env)

    def filled(pattern: re.Pattern[str], source: dict[str, str], complaint: str, value: str) -> str:
        def lookup(match: re.Match[str]) -> str:
            if match[1] not in source:
                raise UnknownReferenceError(complaint.format(match[1]))
            return source[match[1]]

        return pattern.sub(lookup, value)

    for name, value in variables.items():
        first = filled(_PROJECT, project, "Invalid project environment variable: project.{}", value)
        second = filled(_ENVIRONMENT, environment, "Invalid environment variable: environment.{}", first)
        variables[name] = filled(_SERVICE, variables, "Invalid service environment variable: {}", second)
    return variables
