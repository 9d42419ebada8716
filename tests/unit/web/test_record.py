"""Three views of one stack: they are the same where they mean the same, and every difference is told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.audit import Actor, Means, Role
from app.deployments.model import DeploymentRecord, StepView
from app.deployments.states import Conclusion, Status, StepState
from app.i18n import LANGUAGES
from app.operations.create import CREATE
from app.stacks.names import DeploymentRequest
from app.stacks.plan import declare, make_plan
from app.stacks.templates import built_in_template
from app.web.ui.record.comparison import ComparedProperty, compare
from tests.servers import portal_settings

NOW = datetime(2026, 11, 1, 11, 20, tzinfo=UTC)
SEEN: dict[str, Any] = {
    "project": "ada",
    "host": "ada.stacks.example",
    "port": 8080,
    "https": True,
    "certificate_type": "none",
    "certificate_resolver": None,
    "volume": "portal-ai-workspace-ada",
    "volume_path": "/workspace",
    "probe_path": "/",
    "status": 401,
}


def views(seen: dict[str, Any], *, declared: bool = True, **values: Any) -> dict[str, ComparedProperty]:
    """The views of a deployment, by their label; `values`: settings."""
    common = {"certificate_mode": "wildcard", "stack_probe_address": None}
    settings = portal_settings("http://dokploy:3000", "sqlite+aiosqlite:///x.db", **{**common, **values})
    template, request = built_in_template(settings), DeploymentRequest("ada")
    record = DeploymentRecord(
        id="01JD0000000000000000000000",
        stack_id="01JD0000000000000000000001",
        name="ada",
        owner_of_stack="browser:x",
        stack_exists=True,
        manage_key_hash="",
        kind=CREATE.kind,
        trigger="user",
        actor=Actor("browser:x", Role.USER, Means.BROWSER),
        options={"declared": declare(request, template)} if declared else {},
        plan=make_plan(request, template, settings).to_json(),
        created_at=NOW,
        started_at=NOW,
        concluded_at=NOW,
        cancel_requested=False,
        status=Status.COMPLETED,
        undoing=False,
        conclusion=Conclusion.SUCCEEDED,
        problem=None,
        leftovers=[],
        last_event=1,
        steps=[StepView("verify", StepState.SUCCEEDED, 1, NOW, NOW, seen)],
        resources={},
    )
    return {view.label: view for view in compare(record, LANGUAGES["en"])}


def differing(found: dict[str, ComparedProperty]) -> list[str]:
    return [label for label, view in found.items() if view.differs]


@pytest.mark.parametrize(
    ("mode", "seen", "words"),
    [
        ("wildcard", {}, ("wildcard", "the proxy's own", "the proxy's own")),
        ("letsencrypt", {"certificate_type": "letsencrypt"}, ("letsencrypt",) * 3),
        (
            "resolver:dns",
            {"certificate_type": "custom", "certificate_resolver": "dns"},
            ("resolver:dns", "dns", "dns"),
        ),
        ("none", {"https": False}, ("none", "none, plain http", "none, plain http")),
    ],
)
def test_what_means_the_same_does_not_differ(mode: str, seen: dict[str, Any], words: tuple[str, ...]):
    found = views({**SEEN, **seen}, certificate_mode=mode, stack_public_port=8443)

    assert differing(found) == []
    certificate = found["Certificate"]
    assert (certificate.declared, certificate.frozen, certificate.observed) == words


@pytest.mark.parametrize(
    ("label", "seen"),
    [
        ("Name", {"project": "ada-2"}),
        ("Address", {"host": "bob.stacks.example"}),
        ("Port", {"port": 3000}),
        ("Volume", {"volume": "portal-ai-workspace-bob"}),
        ("Volume", {"volume_path": "/data"}),
        ("Certificate", {"https": False}),
        ("Certificate", {"certificate_type": "letsencrypt"}),
        ("Certificate", {"certificate_resolver": "dns", "certificate_type": "custom"}),
        ("Health check", {"status": 502}),
        ("Health check", {"status": None}),
    ],
)
def test_every_difference_is_told(label: str, seen: dict[str, Any]):
    assert differing(views({**SEEN, **seen})) == [label]


def test_what_nobody_has_seen_is_not_made_up_and_does_not_differ():
    found = views({}, declared=False)

    assert differing(found) == []
    assert {view.declared for view in found.values()} == {None}
    assert {view.observed for view in found.values()} == {None}
    assert None not in {view.frozen for view in found.values()}


def test_the_words_of_a_value():
    found = views(SEEN, stack_cpus=0.25, stack_memory="512m")

    assert (found["Memory"].frozen, found["Processors"].declared) == ("512\u00a0MB", "0.25")
    assert found["Address"].declared == "https://{name}.stacks.example"
    assert found["Health check"].observed == "/ → 401"
