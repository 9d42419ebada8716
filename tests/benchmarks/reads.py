"""Every read that the portal serves, found by its own table of routes: pages and lists, their filters, second pages."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from app.web.auth.authorization import RULES, Rule, Who
from tests.benchmarks.histories import KEPT, OPERATOR, OWNER
from tests.benchmarks.population import Population

CALLERS: Final = {"owner": OWNER, "operator": OPERATOR}
# What the parameters of the API that are no cursor are set to; `{name}` is a stack's.
_VALUES: Final = {"stack": "{name}", "actor": OWNER["Remote-Email"], "removed": "true", "everybody": "true"}
# Those that change nothing about which rows are read, or how many.
_LEFT_OUT: Final = frozenset({"lang", "limit", "follow"})
_CURSORS: Final = frozenset({"cursor", "kept", "left"})
_IN_PATHS: Final = re.compile(r"\{(\w+)[^}]*\}")


@dataclass(frozen=True)
class Read:
    """One read. what: the route and what of it; path: with its query."""

    what: str
    caller: str
    path: str

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return f"{self.what} ({self.caller})"


def reads(client: httpx.Client, population: Population) -> Iterator[Read]:
    """Every read of a filled store, with what its answer leads on to in the same place."""
    filters = _filters(client)
    for route, rule in RULES.items():
        method, _, template = route.partition(" ")
        if method != "GET":
            continue
        for caller in _callers(rule):
            for label, path in paths(template, rule, population):
                first = Read(f"{template}{label}", caller, path)
                yield first
                name = population.examples["long"].name
                for query in filters.get(template, ()):
                    value = _VALUES[query].format(name=name)
                    yield Read(f"{first.what} ?{query}", caller, f"{path}?{urlencode({query: value})}")
                answer = client.get(path, headers=CALLERS[caller])
                yield from _further(first, answer)


def unmeasured(client: httpx.Client) -> list[str]:
    """What this has no value for: parameters of lists."""
    return sorted(
        f"{path} ?{name}"
        for path, names in _parameters(client).items()
        for name in names - _VALUES.keys() - _LEFT_OUT - _CURSORS
    )


def _callers(rule: Rule) -> Iterator[str]:
    if rule.who is not Who.OPERATOR:
        yield "owner"
    if rule.who not in {Who.UNASKED, Who.EVERYBODY}:
        yield "operator"


def paths(template: str, rule: Rule, population: Population) -> Iterator[tuple[str, str]]:
    """Paths of a route, each with what of it this is: of stacks and deployments there are several kinds.

    Raises KeyError for a route with something in its path that this knows no example of.
    """
    examples = population.examples
    values: dict[str, dict[str, str]] = {
        "deployment_id": {
            f" {label}": examples[history].deployments[-1]
            for label, history in (("standing", "long"), ("kept", KEPT), ("failed", "failed"))
        },
        "name": {"": examples[KEPT if rule.of == "kept" else "long"].name},
    }
    if rule.of is None:
        values["name"] = {" free": "free-name", " held": examples["long"].name, " kept": examples[KEPT].name}
    found = _IN_PATHS.search(template)
    for label, value in values[found[1]].items() if found else [("", "")]:
        yield label, _IN_PATHS.sub(value, template)


def _parameters(client: httpx.Client) -> Mapping[str, set[str]]:
    description = client.get("/openapi.json").json()
    return {
        path: {each["name"] for each in calls["get"].get("parameters", ()) if each["in"] == "query"}
        for path, calls in description["paths"].items()
        if "get" in calls
    }


def _filters(client: httpx.Client) -> dict[str, list[str]]:
    return {path: sorted(names & _VALUES.keys()) for path, names in _parameters(client).items()}


def _further(read: Read, answer: httpx.Response) -> Iterator[Read]:
    """The second page of a list, and what a page links to at its own address, once for each set of parameters."""
    path = urlsplit(read.path).path
    if answer.headers.get("content-type", "").startswith("application/json") and answer.is_success:
        content: Any = answer.json()
        if isinstance(content, dict) and isinstance(following := content.get("nextCursor"), str):
            yield Read(f"{read.what}, second page", read.caller, f"{path}?{urlencode({'cursor': following})}")
    elif "html" in answer.headers.get("content-type", ""):
        found: dict[tuple[str, ...], str] = {}
        for link in re.findall(r'href="([^"]*)"', answer.text):
            parts = urlsplit(unescape(link))
            names = tuple(name for name, _ in parse_qsl(parts.query))
            if parts.path == path and names and not _LEFT_OUT & set(names):
                found.setdefault(names, f"{path}?{parts.query}")
        for names, there in found.items():
            is_next = bool(_CURSORS & set(names))
            yield Read(f"{read.what}{', second page' if is_next else ''} ?{'&'.join(names)}", read.caller, there)
