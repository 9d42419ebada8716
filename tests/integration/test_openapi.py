"""Every call of the API in every AUTH_MODE and for every kind of caller: no 5xx, and no answer that is not described.

schemathesis makes the requests out of the OpenAPI document: its examples, the edges of every schema, and then some at
random, which are the same every time. OPENAPI_EXAMPLES in the environment says how many of the last for each call, and
has them be others.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection

from app.identity import Scope
from app.sandbox import serve_in_thread
from tests.integration.conftest import FAST
from tests.integration.test_failures import new_name
from tests.integration.test_http import OPERATOR
from tests.integration.test_ways_in import ADA, USERS, signed_in
from tests.ports import reserve_port
from tests.postgresql import PostgresServer
from tests.providers import CLIENT_ID, serve_provider
from tests.servers import PortalServer, http_client, portal_settings, sqlite_url

MODES: Final = ("open", "oidc", "proxy")
CALLERS: Final = ("nobody", "person", "token", "operator", "key")
# Each mode and each caller once; the other pairs take minutes.
ALWAYS: Final = {("open", "nobody"), ("open", "key"), ("oidc", "token"), ("proxy", "person"), ("proxy", "operator")}
PAIRS: Final = [
    pytest.param(
        mode, principal, id=f"{mode}-{principal}", marks=[] if (mode, principal) in ALWAYS else pytest.mark.fuzzing
    )
    for mode in MODES
    for principal in CALLERS
]
EXAMPLES: Final = os.environ.get("OPENAPI_EXAMPLES")
CHECKED: Final = settings(
    max_examples=int(EXAMPLES or 4),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
# What can be had as JSON lines, too.
STREAMS: Final = {"GET /api/deployments/{deployment_id}/events", "GET /api/audit"}
SCOPES: Final = [scope.value for scope in Scope if scope is not Scope.ADMIN]


@dataclass
class Asker:
    """Somebody who asks a portal. owner: headers of whoever deploys for him."""

    name: str
    portal: PortalServer
    headers: dict[str, str]
    owner: dict[str, str]
    named: dict[str, str] = field(default_factory=dict)

    def deploy(self) -> dict[str, str]:
        """Deploy for him: what paths can name, and the manage key."""
        name = new_name()
        answer = self.portal.client.post("/api/deploy", json={"name": name}, headers=self.owner)
        assert answer.status_code == 202, answer.text
        accepted = answer.json()
        return {"name": name, "deployment_id": accepted["deploymentId"], "key": accepted["manageKey"]}

    def named_in(self, case: Case[Any]) -> dict[str, str]:
        """The path's parameters, each something that is there; none where there is no such thing for it."""
        wanted = set(case.operation.path_parameters.schema["properties"]) & {"name", "deployment_id"}
        return {name: self.place()[name] for name in wanted}

    def place(self) -> dict[str, str]:
        """What paths can name that is there, made anew where it was removed."""
        if not self.named or self.portal.client.get(f"/api/stack/{self.named['name']}", headers=OPERATOR).is_error:
            self.named = self.deploy()
            if self.name == "key":
                self.headers = {"authorization": f"Bearer {self.named['key']}"}
        return self.named


@pytest.fixture(scope="module")
def database_of_proxy(postgres: PostgresServer, migrated_database: str) -> Iterator[str]:
    with postgres.database(template=migrated_database) as url:
        yield url


@pytest.fixture(scope="module")
def portal(request: pytest.FixtureRequest) -> Iterator[PortalServer]:
    folder = request.getfixturevalue("tmp_path_factory").mktemp(request.param)
    values: dict[str, Any] = {"auth_mode": request.param}
    port = 0
    with ExitStack() as stack:
        if request.param == "proxy":
            values |= {"proxy_auth_addresses": "127.0.0.1", "operator_groups": "operators"}
        elif request.param == "oidc":
            port = reserve_port()
            values |= {
                "portal_url": f"http://127.0.0.1:{port}",
                "oidc_issuer": stack.enter_context(serve_provider(USERS)),
                "oidc_client_id": CLIENT_ID,
                "oidc_client_secret": "a-secret-of-the-client",
                "allowed_domains": "example.com",
            }
        emulator = stack.enter_context(serve_in_thread(FAST))
        # PostgreSQL minds texts that SQLite keeps.
        database = request.getfixturevalue("database_of_proxy") if request.param == "proxy" else sqlite_url(folder)
        server = PortalServer(portal_settings(emulator, database, **values), port=port)
        stack.callback(server.stop)
        yield server


def person(portal: PortalServer) -> dict[str, str]:
    """The headers of somebody who uses pages, as his browser sends them from there."""
    match portal.settings.auth_mode:
        case "proxy":
            return {**ADA, "sec-fetch-site": "same-origin"}
        case "oidc":
            with signed_in(portal, "ada") as client:
                cookies = dict(client.cookies)
        case _:
            with http_client(base_url=portal.url) as client:
                client.post("/deploy", data={"name": new_name()})
                cookies = dict(client.cookies)
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return {"cookie": cookie, "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def asker(request: pytest.FixtureRequest, portal: PortalServer) -> Asker:
    owner = person(portal)
    headers: dict[str, str] = {}
    match request.param:
        case "person":
            headers = owner
        case "token":
            made = portal.client.post("/api/tokens", json={"name": "all", "scopes": SCOPES}, headers=owner)
            assert made.status_code == 201, made.text
            headers = {"authorization": f"Bearer {made.json()['token']}"}
        case "operator":
            headers = OPERATOR
    return Asker(request.param, portal, headers, owner)


@pytest.fixture(scope="module")
def described(asker: Asker) -> BaseSchema:
    """The document, without what it says of everything else, and with nothing in an answer but what it names."""
    document = asker.portal.client.get("/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            del operation["responses"]["default"]
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and not name.endswith("Body"):
            schema["additionalProperties"] = False
    config = SchemathesisConfig.from_dict(
        {
            "base-url": asker.portal.url,
            "generation": {"with-security-parameters": asker.name == "nobody"},
            "checks": {
                # A schema does not say which names are free.
                "positive_data_acceptance": {"enabled": False},
                # Whoever may not see a stack is told that there is none.
                "ignored_auth": {"enabled": False},
            },
        }
    )
    return schemathesis.openapi.from_dict(document, config=config)


def edges(described: BaseSchema, operation: APIOperation[Any, Any, Any, Any]) -> Iterator[Case[Any]]:
    """The examples of a call, and the edges of what its schemas allow and do not."""
    generation = described.config.generation_for(operation=operation)
    yield from described.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=generation
    )


def ask(asker: Asker, case: Case[Any]) -> None:
    """Send a request, as it is and with a stack in its path that is there, and hold the answers to the document."""
    excluded: list[CheckFunction] = []
    if case.headers and "Last-Event-ID" in case.headers:
        # It counts alone, so that nothing is wrong with `after` beside it.
        excluded.append(negative_data_rejection)
    sent = [asker.headers]
    if case.operation.label in STREAMS:
        sent.append({**asker.headers, "accept": "application/x-ndjson"})
    named = asker.named_in(case)
    for path_parameters in (
        [case.path_parameters, {**case.path_parameters, **named}] if named else [case.path_parameters]
    ):
        case.path_parameters = path_parameters
        for headers in sent:
            answer = case.call_and_validate(headers=headers, excluded_checks=excluded)
            if 400 <= answer.status_code < 500:
                assert answer.headers["content-type"] == ["application/problem+json"]
                assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(("portal", "asker"), PAIRS, indirect=True, scope="module")
def test_every_answer_is_described(described: BaseSchema, asker: Asker):
    failures: list[BaseException] = []

    def check(case: Case[Any]) -> None:
        ask(asker, case)

    for result in described.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        at_random = st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])
        try:
            for case in edges(described, operation):
                check(case)
            CHECKED(given(at_random)(check))()
        except (FailureGroup, Exception) as error:
            error.add_note(operation.label)
            failures.append(error)
    if failures:
        raise BaseExceptionGroup("some calls answer otherwise", failures)
