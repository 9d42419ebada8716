"""The table of calls is what the client really sends, and a document, whatever it is, is compared with it."""

import inspect
import itertools
import json
import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dokploy import ApplicationUpdate, DokployClient, DokployError
from app.dokploy.compatibility import CALLS, Call, Field, compare

# The table


UPDATE = {"docker_image": "x", "env": "A=1", "memory_limit": "1", "cpu_limit": "1"}
# Values for every parameter that a method of the client may have; each is tried with each of the others'.
VALUES: dict[Any, list[Any]] = {
    str: ["text"],
    int: [80],
    bool: [True, False],
    types.NoneType: [None],
    ApplicationUpdate: [
        ApplicationUpdate(**UPDATE),
        ApplicationUpdate(**UPDATE, username="robot", password="hush", registry_url="ghcr.io"),
    ],
}


def ways_to_call(method: Any) -> Iterator[dict[str, Any]]:
    hints = typing.get_type_hints(method)
    choices = {
        name: [value for kind in (typing.get_args(hints[name]) or (hints[name],)) for value in VALUES[kind]]
        for name in inspect.signature(method).parameters
        if name != "self"
    }
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


class Recorder:
    """A transport that keeps what was sent, and refuses it."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.sent: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = request.url.path.removeprefix("/api/").removeprefix("trpc/")
        fields = json.loads(request.content) if request.content else dict(request.url.params)
        self.sent[request.method, call].append(fields)
        body = b'{"message":"Unauthorized"}' if self.status == 401 else b'{"message":"No","code":"BAD_REQUEST"}'
        return httpx.Response(self.status, stream=httpx.ByteStream(body))


@pytest.fixture
async def sent() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What the client sends, by method and call, when each of its methods is called in every way."""
    recorder = Recorder(400)
    async with DokployClient("http://dokploy", "key", transport=httpx.MockTransport(recorder)) as client:
        for name, method in inspect.getmembers(DokployClient, inspect.iscoroutinefunction):
            if name.startswith("_") or name == "close":
                continue
            for values in ways_to_call(method):
                with suppress(DokployError):
                    await method(client, **values)
        recorder.status = 401
        with suppress(DokployError):
            await client.delete_domain("d")
    return recorder.sent


def kind_of(value: Any) -> str:
    return {str: "string", int: "integer", bool: "boolean", types.NoneType: "null"}[type(value)]


@pytest.mark.anyio
async def test_the_table_has_the_calls_that_the_client_makes_and_no_other(sent):
    assert {(call.method, call.procedure) for call in CALLS} == sent.keys()
    assert len(CALLS) == len(sent), "each of them once"


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.procedure)
async def test_the_table_has_the_fields_that_are_sent_with_their_types(sent, call: Call):
    seen = sent[call.method, call.procedure]
    always = set.intersection(*(set(fields) for fields in seen))
    kinds = defaultdict(set)
    for fields in seen:
        for name, value in fields.items():
            kinds[name].add(kind_of(value))

    assert {field.name for field in call.fields} == kinds.keys()
    for field in call.fields:
        assert field.always == (field.name in always), field
        if call.method == "GET":  # a query is text
            is_number = all(fields[field.name].isdecimal() for fields in seen)
            assert field.kinds == (("integer",) if is_number else ("string",)), field
        else:
            assert set(field.kinds) == kinds[field.name], field


@pytest.fixture
def sent_words(anyio_backend: str, sent) -> dict[tuple[str, str], set[str]]:
    words: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for (_, call), seen in sent.items():
        for fields in seen:
            for name, value in fields.items():
                words[call, name].add(value)
    return words


def test_the_words_of_the_table_are_those_that_are_sent(sent_words: dict[tuple[str, str], set[str]]):
    for call in CALLS:
        for field in call.fields:
            if len(field.words) == 1:
                assert sent_words[call.procedure, field.name] == set(field.words)


# Comparing, with a document in the form of Dokploy's own

DOMAIN = Call(
    "POST",
    "domain.create",
    (
        Field("host"),
        Field("applicationId"),
        Field("domainType", words=("application",)),
        Field("port", ("integer",)),
        Field("https", ("boolean",)),
        Field("certificateType", words=("none", "custom")),
        Field("customCertResolver", always=False),
    ),
)
LOGS = Call("GET", "deployment.readLogs", (Field("deploymentId"), Field("tail", ("integer",))))
QUEUE = Call("GET", "deployment.queueList")
VOLUME = Call("POST", "dockerVolume.removeVolume", (Field("volumeName"),), published=False)
UPDATED = Call("POST", "application.update", (Field("password", ("string", "null")),))
COMPARED = (DOMAIN, LOGS, QUEUE, VOLUME, UPDATED)

NULL = {"type": "null"}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Dokploy API", "version": "1.0.0"},
    "servers": [{"url": "https://your-dokploy-instance.com/api"}],
    "paths": {
        "/domain.create": {
            "post": {
                "operationId": "domain-create",
                "tags": ["domain"],
                "security": [{"Authorization": []}],
                "parameters": [],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "host": {"type": "string", "minLength": 1},
                                    "path": {"anyOf": [{"type": "string", "minLength": 1}, NULL]},
                                    "port": {"anyOf": [{"type": "number", "minimum": 1, "maximum": 65535}, NULL]},
                                    "https": {"type": "boolean"},
                                    "applicationId": {"anyOf": [{"type": "string"}, NULL]},
                                    "certificateType": {"type": "string", "enum": ["letsencrypt", "none", "custom"]},
                                    "customCertResolver": {"anyOf": [{"type": "string"}, NULL]},
                                    "domainType": {
                                        "anyOf": [{"type": "string", "enum": ["compose", "application"]}, NULL]
                                    },
                                },
                                "required": ["host"],
                            }
                        }
                    },
                },
                "responses": {
                    "200": {"description": "Successful response"},
                    "400": {"$ref": "#/components/schemas/error.BAD_REQUEST"},
                },
            }
        },
        "/deployment.readLogs": {
            "get": {
                "operationId": "deployment-readLogs",
                "parameters": [
                    {
                        "in": "query",
                        "name": "deploymentId",
                        "schema": {"type": "string", "minLength": 1},
                        "required": True,
                    },
                    {
                        "in": "query",
                        "name": "tail",
                        "schema": {"default": 100, "type": "integer", "minimum": 1, "maximum": 10000},
                    },
                ],
                "responses": {"200": {"description": "Successful response"}},
            }
        },
        "/deployment.queueList": {"get": {"operationId": "deployment-queueList", "responses": {}}},
        "/application.update": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"password": {"anyOf": [{"type": "string"}, NULL]}},
                            }
                        }
                    }
                }
            }
        },
    },
    "components": {"schemas": {"error.BAD_REQUEST": {"type": "object"}}},
    "security": [{"apiKey": []}],
}


def found(document: Any, calls: tuple[Call, ...] = COMPARED) -> list[str]:
    return [str(misfit) for misfit in compare(document, calls)]


class Changed:
    """The document, with parts to change."""

    def __init__(self) -> None:
        self.document = deepcopy(DOCUMENT)
        self.paths = self.document["paths"]
        self.content = self.paths["/domain.create"]["post"]["requestBody"]["content"]
        self.body = self.content["application/json"]["schema"]
        self.fields = self.body["properties"]
        self.parameters = self.paths["/deployment.readLogs"]["get"]["parameters"]


@pytest.fixture
def changed() -> Changed:
    return Changed()


def test_what_fits_is_not_told():
    assert found(DOCUMENT) == []


def test_a_call_that_is_gone(changed: Changed):
    changed.paths["/domain.make"] = changed.paths.pop("/domain.create")

    assert found(changed.document) == ["domain.create is not there"]


def test_a_call_may_stand_below_api(changed: Changed):
    changed.document["paths"] = {f"/api{path}": item for path, item in changed.paths.items()}

    assert found(changed.document) == []


def test_a_call_by_another_method_is_told(changed: Changed):
    changed.paths["/domain.create"] = {"put": changed.paths["/domain.create"]["post"]}
    changed.paths["/deployment.queueList"] = {"summary": "nothing of use"}

    assert found(changed.document) == ["domain.create is a PUT, and no POST", "deployment.queueList is not there"]


def test_a_field_that_would_be_dropped(changed: Changed):
    del changed.fields["port"], changed.fields["customCertResolver"]
    changed.parameters[1]["name"] = "lines"

    assert found(changed.document) == [
        "domain.create does not take port, customCertResolver",
        "deployment.readLogs does not take tail",
    ]


@pytest.mark.parametrize("more", [True, {}, {"type": "string"}])
def test_a_field_that_is_not_named_is_taken_where_any_is(changed: Changed, more: Any):
    del changed.fields["port"]
    changed.body["additionalProperties"] = more

    assert found(changed.document) == []


def test_a_field_that_is_not_named_is_not_taken_where_no_other_is(changed: Changed):
    del changed.fields["port"]
    changed.body["additionalProperties"] = False

    assert found(changed.document) == ["domain.create does not take port"]


def test_a_field_that_is_asked_for(changed: Changed):
    changed.body["required"] = ["host", "domainType", "serverId", "customCertResolver"]
    changed.parameters.append({"in": "header", "name": "x-tenant", "required": True})
    changed.paths["/application.update"]["post"]["parameters"] = [{"in": "query", "name": "dry", "required": True}]

    assert found(changed.document) == [
        "domain.create needs customCertResolver, serverId",
        "deployment.readLogs needs x-tenant",
        "application.update needs dry",
    ]


@pytest.mark.parametrize(
    ("name", "schema", "why"),
    [
        ("host", {"type": "number"}, "takes no string as host"),
        ("host", {"type": ["array", "null"]}, "takes no string as host"),
        ("host", {"enum": ["one.example"]}, "takes no string as host"),
        ("host", False, "takes no string as host"),
        ("port", {"type": "string"}, "takes no integer as port"),
        ("port", {"enum": [80, 443]}, "takes no integer as port"),
        ("https", {"const": True}, "takes no boolean as https"),
        ("https", {"type": "object"}, "takes no boolean as https"),
        ("domainType", {"type": "string", "enum": ["app", "compose"]}, "takes no application as domainType"),
        ("certificateType", {"const": "none"}, "takes no custom as certificateType"),
        ("certificateType", {"type": "null"}, "takes no none as certificateType"),
        ("applicationId", {"anyOf": [{"type": "number"}, NULL]}, "takes no string as applicationId"),
        ("applicationId", {"allOf": [{"type": "string"}, {"enum": []}, {"type": "array"}]}, "takes no string as "),
    ],
)
def test_a_field_of_another_type(changed: Changed, name: str, schema: Any, why: str):
    changed.fields[name] = schema

    (misfit,) = found(changed.document)

    assert misfit.startswith(f"domain.create {why}")


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("host", {}),
        ("host", True),
        ("host", {"type": ["null", "string"]}),
        ("host", {"oneOf": [{"type": "number"}, {"type": "string"}]}),
        ("host", {"allOf": [{"type": "string"}, {"maxLength": 9}]}),
        ("host", {"$ref": "#/components/schemas/a~1b~0c"}),
        ("port", {"type": "integer"}),
        ("https", {"enum": [False, True]}),
        ("certificateType", {"anyOf": [{"const": "none"}, {"const": "custom"}]}),
    ],
)
def test_a_field_that_is_said_in_another_way(changed: Changed, name: str, schema: Any):
    changed.document["components"]["schemas"]["a/b~c"] = {"type": "string"}
    changed.fields[name] = schema

    assert found(changed.document) == []


def test_null_is_taken_only_where_it_is_said(changed: Changed):
    fields = changed.paths["/application.update"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields["properties"]["password"] = {"type": "string"}
    assert found(changed.document) == ["application.update takes no null as password"]

    fields["properties"]["password"] = {"type": "string", "nullable": True}
    assert found(changed.document) == []


def test_a_query_is_text_to_a_server_that_wants_text(changed: Changed):
    changed.parameters[1]["schema"] = {"type": "string"}
    assert found(changed.document) == []

    changed.parameters[1]["schema"] = {"type": "boolean"}
    assert found(changed.document) == ["deployment.readLogs takes no integer as tail"]


def test_a_body_in_several_parts_and_forms(changed: Changed):
    whole = deepcopy(changed.body)
    half = {"properties": {"host": whole["properties"].pop("host")}, "required": ["host"]}
    changed.document["components"]["schemas"]["half"] = half
    schema = {"allOf": [{"$ref": "#/components/schemas/half"}], "anyOf": [{"required": ["composeId"]}, whole]}
    changed.content["application/json"]["schema"] = schema
    assert found(changed.document) == []

    schema["anyOf"] = [{"required": ["composeId"]}, {**whole, "required": ["serviceName"]}]
    assert found(changed.document) == ["domain.create needs serviceName"], "the form that comes nearest is told"


def test_a_body_that_is_not_json_or_not_there(changed: Changed):
    all_fields = "host, applicationId, domainType, port, https, certificateType, customCertResolver"
    changed.content["multipart/form-data"] = changed.content.pop("application/json")
    assert found(changed.document) == [f"domain.create does not take {all_fields}"]

    del changed.paths["/domain.create"]["post"]["requestBody"]
    assert found(changed.document) == [f"domain.create does not take {all_fields}"]


def test_an_unpublished_call_may_be_missing_but_is_compared_where_it_is_not(changed: Changed):
    changed.paths["/dockerVolume.removeVolume"] = {"get": {}}

    assert found(changed.document) == ["dockerVolume.removeVolume is a GET, and no POST"]


@pytest.mark.parametrize(
    "document", [None, [], "text", 1, True, {}, {"paths": None}, {"paths": []}, {"swagger": "2.0"}]
)
def test_no_document_is_one_misfit(document: Any):
    assert found(document) == ["settings.getOpenApiDocument answers nothing that can be read as an OpenAPI document"]


def deep(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"anyOf": [schema]}
    return schema


def endless() -> Any:
    schema: dict[str, Any] = {}
    schema["allOf"] = [schema]
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/components/schemas/loop"},
        {"$ref": "#/components/schemas/tree0"},
        {"$ref": "#/components/schemas/none"},
        {"$ref": "#/components/schemas/text/deeper"},
        {"$ref": "other.json#/host"},
        {"$ref": 7},
        {"$ref": "#/" + "a/" * 10_000},
        {"anyOf": {"type": "string"}},
        {"anyOf": ["string"]},
        {"anyOf": [{"type": "number"}] * 100_000},
        {"enum": ["x"] * 100_000},
        {"enum": "host"},
        deep(10_000),
        endless(),
        None,
        "string",
        [],
    ],
    ids=range(17),
)
def test_a_description_that_cannot_be_read_is_a_misfit_of_its_call_alone(changed: Changed, schema: Any):
    schemas = changed.document["components"]["schemas"]
    schemas["loop"] = {"$ref": "#/components/schemas/loop"}
    schemas["text"] = "text"
    # Each level has the next one twice: 2 ** 40 ways through it.
    for level in range(40):
        schemas[f"tree{level}"] = {"anyOf": [{"$ref": f"#/components/schemas/tree{level + 1}"}] * 2}
    schemas["tree40"] = {"type": "number"}
    unreadable = ["domain.create is described in a way that cannot be read"]

    changed.fields["host"] = schema
    assert found(changed.document) == unreadable
    if not (isinstance(schema, dict) and schema.keys() & {"enum"}):
        changed.content["application/json"]["schema"] = schema
        assert found(changed.document) == unreadable
    changed.paths["/domain.create"] = {"post": {"requestBody": {"content": {"application/json": []}}}}
    assert found(changed.document) == unreadable


@pytest.mark.parametrize(
    ("part", "value"),
    [("required", ["x"] * 100_000), ("required", [1]), ("required", "host"), ("properties", []), ("anyOf", 1)],
)
def test_a_body_of_a_wrong_shape(changed: Changed, part: str, value: Any):
    changed.body[part] = value

    assert found(changed.document) == ["domain.create is described in a way that cannot be read"]


def test_words_of_a_document_are_told_only_where_they_are_names(changed: Changed):
    changed.body["required"] = ["<script>alert(1)</script>", "x" * 1000, "line\nline"]
    assert found(changed.document) == ["domain.create needs something else"]

    changed.body["required"] += [f"field{number}" for number in range(50)]
    assert found(changed.document) == ["domain.create needs field0, field1, field10, field11, field12"]


NAMES = st.sampled_from(
    [
        *("type", "properties", "required", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "nullable"),
        *("additionalProperties", "schema", "parameters", "in", "name", "requestBody", "content", "application/json"),
        *("get", "post", "host", "port", "tail", "deploymentId"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | NAMES
    | st.sampled_from(["string", "object", "query", "#/paths", "#/paths/~1domain.create", "#/components", "#/"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=6),
    max_leaves=40,
)


@given(document=JSON, item=JSON, schema=JSON)
@settings(max_examples=300, deadline=None)
def test_whatever_is_read_the_answer_is_a_few_short_texts(document: Any, item: Any, schema: Any):
    changed = Changed()
    changed.fields["host"] = schema
    changed.paths["/deployment.readLogs"] = item
    changed.document["components"] = document

    for told in (found(document), found({"paths": document}), found(changed.document)):
        assert len(told) <= len(COMPARED)
        assert all(len(text) < 500 and text.isprintable() for text in told)
    json.dumps(found(changed.document))
