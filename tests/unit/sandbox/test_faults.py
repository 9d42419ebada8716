# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Which requests a fault strikes, and which faults are refused."""

import pytest

from app.sandbox.faults import ANSWERS, KINDS, FaultError, Faults

CALLS = frozenset({"domain.create", "application.deploy"})


@pytest.fixture
def faults() -> Faults:
    return Faults(CALLS)


def strikes(faults, call="domain.create", text="", kinds=ANSWERS) -> bool:
    return faults.take(call, text, kinds) is not None


@pytest.mark.parametrize(("times", "struck"), [(None, 1), (0, 1), (1, 1), (3, 3), (-1, 5)])
def test_a_fault_strikes_as_often_as_it_says(faults, times, struck) -> None:
    given = {"call": "domain.create", "kind": "status"}
    faults.add(given if times is None else {**given, "times": times})
    assert sum(strikes(faults) for _ in range(5)) == struck


def test_match_and_after(faults) -> None:
    faults.add({"call": "domain.create", "kind": "status", "match": "amir", "after": 1})
    assert [strikes(faults, text=text) for text in ("sara", "amir", "sara", "amir", "amir")] == [
        *(False, False, False, True, False),
    ]


def test_other_calls_pass(faults) -> None:
    faults.add({"call": "domain.create", "kind": "status"})
    assert not strikes(faults, call="application.deploy")
    faults.add({"call": "*", "kind": "hang"})
    assert strikes(faults, call="application.deploy")


def test_a_fault_has_the_defaults_of_its_kind(faults) -> None:
    assert faults.add({"call": "domain.create", "kind": "status"}).status == 500
    assert faults.add({"kind": "gateway"}).status == 502
    assert faults.add({"kind": "crash"}).calls == ("application.deploy", "application.redeploy")
    assert faults.add({"kind": "database_down"}).times == -1
    limit = faults.add({"kind": "rate_limit"})
    assert (limit.times, limit.seconds) == (10, 10.0)
    assert len(faults.rows()) == 5
    assert (faults.clear(), faults.rows()) == (5, [])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], ""),
        ({}, "kind"),
        ({"kind": "nonsense"}, "kind"),
        ({"kind": "status"}, "call"),
        ({"kind": "renamed_call"}, "call"),
        ({"kind": "renamed_call", "call": "*"}, "call"),
        ({"kind": "renamed_field", "call": "domain.create"}, "field"),
        ({"kind": "status", "call": "domain.nothing"}, "call"),
        ({"kind": "status", "call": "domain.create", "status": 42}, "status"),
        ({"kind": "status", "call": "domain.create", "status": "500"}, "status"),
        ({"kind": "status", "call": "domain.create", "colour": "red"}, "colour"),
        ({"kind": "status", "call": "domain.create", "times": -2}, "times"),
        ({"kind": "status", "call": "domain.create", "after": -1}, "after"),
        ({"kind": "slow", "call": "domain.create", "seconds": -1}, "seconds"),
        ({"kind": "gateway", "status": 418}, "status"),
        ({"kind": "rate_limit", "times": -1}, "times"),
        ({"kind": "status", "call": "domain.create", "times": True}, "times"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_field(faults, given, field) -> None:
    with pytest.raises(FaultError) as refusal:
        faults.add(given)
    assert field in refusal.value.errors


def test_every_kind_is_documented() -> None:
    import app.sandbox.faults as module

    for kind in KINDS:
        assert f"`{kind}`" in (module.__doc__ or "")


def test_what_another_version_does_lasts_and_is_not_counted(faults) -> None:
    faults.add({"kind": "other_version"})
    renamed = faults.add({"kind": "renamed_field", "call": "domain.create", "field": "host"})
    for _ in range(3):
        assert faults.waiting(frozenset({"renamed_field"})) == [renamed]
    assert (renamed.times, renamed.field, renamed.calls) == (-1, "host", ("domain.create",))
    assert not strikes(faults)
