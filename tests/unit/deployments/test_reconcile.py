"""What differs between the record and Dokploy, from both sides given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.dokploy import Application, Domain, Project
from app.observation.drift import Observed, Recorded, compare
from app.stacks.model import StackRecord

BEGAN = datetime(2025, 1, 2, tzinfo=UTC)

ADA = StackRecord(
    id="stack-ada",
    server_id="main",
    name="ada",
    owner="browser:x",
    template="opencode",
    plan={"project": "ada", "application": "ada", "host": "ada.example", "volume": "workspace-ada"},
    manage_key_hash="",
    created_at=BEGAN,
)
IDS = {"project": "p1", "application": "a1", "domain": "d1"}


def project(number: int = 1) -> Project:
    return Project(project_id=f"p{number}", name="ada", created_at=BEGAN + timedelta(seconds=number))


def application(number: int = 1) -> Application:
    return Application(
        application_id=f"a{number}",
        name="ada",
        app_name=f"ada-{number}",
        environment_id="e",
        created_at=BEGAN + timedelta(seconds=number),
    )


def domain(number: int = 1, host: str = "ada.example") -> Domain:
    return Domain(domain_id=f"d{number}", host=host, created_at=BEGAN + timedelta(seconds=number))


WHOLE = Observed(
    projects={"stack-ada": [project()]},
    applications={"stack-ada": [application()]},
    domains={"a1": [domain()]},
    volumes={"workspace-ada"},
)
RECORDED = Recorded(settled=[ADA], held={"stack-ada"}, ids={"stack-ada": IDS})


def told(observed: Observed, recorded: Recorded = RECORDED) -> list[tuple[str, str | None, str | None, str | None]]:
    return [(each.code, each.stack, each.dokploy_id, each.repair) for each in compare(recorded, observed)]


def test_what_is_as_it_should_be_is_no_difference():
    assert told(WHOLE) == []
    assert told(Observed({}, {}, {}, ()), Recorded([], ())) == []


CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str | None, str | None, str | None]]]] = {
    "no application": ({"applications": {}}, [("application_missing", "ada", None, "redeploy")]),
    "no project": ({"projects": {}}, [("project_missing", "ada", None, "redeploy")]),
    "no route": ({"domains": {}}, [("domain_missing", "ada", None, "redeploy")]),
    "another's route": (
        {"domains": {"a1": [domain(), domain(2, "elsewhere.example")]}},
        [("domain_stray", "ada", "d2", "remove")],
    ),
    "its route twice": ({"domains": {"a1": [domain(0), domain(1)]}}, [("domain_stray", "ada", "d0", "remove")]),
    "only another's route": (
        {"domains": {"a1": [domain(2, "elsewhere.example")]}},
        [("domain_missing", "ada", None, "redeploy"), ("domain_stray", "ada", "d2", "remove")],
    ),
    "two applications": (
        {"applications": {"stack-ada": [application(0), application(1)]}},
        [("application_double", "ada", "a0", "remove")],
    ),
    "two projects": (
        {"projects": {"stack-ada": [project(0), project(1)]}},
        [("project_double", "ada", "p0", "remove")],
    ),
    "no volume": ({"volumes": ()}, [("volume_missing", "ada", None, None)]),
    "things of nobody": (
        {
            "projects": {**WHOLE.projects, "gone": [project(7)]},
            "applications": {**WHOLE.applications, "gone": [application(7)]},
        },
        [("application_without_stack", None, "a7", "remove"), ("project_without_stack", None, "p7", "remove")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_difference_has_a_name_and_a_repair(case: str):
    changes, differences = CASES[case]

    assert told(replace(WHOLE, **changes)) == differences


def test_without_an_id_on_record_the_oldest_counts():
    observed = replace(WHOLE, applications={"stack-ada": [application(1), application(2)]})

    found = told(observed, replace(RECORDED, ids={}))

    assert found == [("application_double", "ada", "a2", "remove")]


def test_a_stack_that_is_being_changed_is_left_alone():
    """It holds its name, so nothing of it is nobody's; and what is missing may be on its way."""
    under_way = Recorded(settled=[], held={"stack-ada"})

    assert told(Observed({}, {}, {}, ()), under_way) == []
    assert told(WHOLE, under_way) == []
