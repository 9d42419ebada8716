"""The operations table: each verb is whole, and nothing outside it tells one verb from another."""

import ast
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from app.audit import Action
from app.deployments import sentences
from app.deployments.events import StepStarted, StepSucceeded
from app.deployments.sentences import MESSAGES, describe, label_of
from app.deployments.states import Conclusion
from app.i18n import LANGUAGES
from app.identity import Scope
from app.operations import steps
from app.operations.create import CREATE
from app.operations.operation import Operation
from app.operations.remove import REMOVE
from app.operations.table import OPERATIONS, operation_of
from app.stacks.model import STANDING, stack_state
from app.web.auth.authorization import RULES

ENGLISH = LANGUAGES["en"]
APP = Path(__file__).parents[3] / "app"
EVERY = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def test_a_verb_decides_every_field():
    assert [field.name for field in fields(Operation) if field.default is not MISSING] == []
    assert [field.name for field in fields(Operation) if field.default_factory is not MISSING] == []


@EVERY
def test_a_verb_is_called_by_its_own_name(operation: Operation):
    assert OPERATIONS[operation.kind] is operation_of(operation.kind) is operation
    assert len(operation.kind) <= 20, "the store's column"


@EVERY
def test_each_step_of_a_verb_has_code_in_the_verbs_order(operation: Operation):
    assert tuple(step.name for step in steps.CODE[operation.kind]) == operation.step_names


@EVERY
def test_a_step_needs_only_what_stands_before_it(operation: Operation):
    seen: set[str] = set()
    for step in steps.CODE[operation.kind]:
        assert {name for name in step.needs if name in operation.step_names} <= seen
        seen.add(step.name)


def test_steps_that_need_the_same_run_side_by_side():
    phases = steps.side_by_side(CREATE)

    assert phases == [["validate"], ["project"], ["application"], ["configure", "domain"], ["deploy"], ["verify"]]
    assert steps.side_by_side(REMOVE)[-1] == ["domain", "volume", "project"]


@EVERY
def test_each_verb_has_a_scope_and_a_name_on_the_audit_trail(operation: Operation):
    scope, action = Scope(operation.scope), Action(operation.action)
    assert (scope, action) in {(rule.scope, rule.action) for rule in RULES.values()}, "no route asks for these"


@EVERY
def test_each_verb_and_its_steps_have_words(operation: Operation):
    ends = {conclusion.value for conclusion in Conclusion}
    if not operation.can_be_canceled:
        ends.remove(Conclusion.CANCELED.value)
    said = {f"deployment_{what}.{operation.kind}" for what in ("queued", "started")}
    said |= {
        f"deployment_completed.{operation.kind}.{end}{left}"
        for end in ends
        for left in ([".leftovers"] if operation.ends_stack and end == "failed" else [""])
    }
    assert said <= set(MESSAGES)
    assert operation.label
    for step in operation.steps:
        assert all(getattr(step, field.name) for field in fields(step))
        assert describe(StepStarted(operation.kind, step.name).key, {}, ENGLISH) == step.started
        assert describe(StepSucceeded(operation.kind, step.name, 1.0).key, {}, ENGLISH) == step.succeeded
        assert label_of(step.name, ENGLISH) == step.label


def test_a_step_that_two_verbs_call_by_different_names_is_refused():
    with pytest.raises(ValueError, match="deploy is both 'Deploy' and 'Build'"):
        sentences.once([("deploy", "Deploy"), ("verify", "Verify"), ("deploy", "Build")])


def test_only_what_begins_or_ends_a_stack_may_leave_something_that_is_to_go():
    for operation in OPERATIONS.values():
        assert operation.may_leave_leftovers == (operation.begins_stack or operation.ends_stack)
        assert not (operation.compensates and operation.needs_running_stack), "it would take a stack down that stood"


def test_a_verb_that_nobody_here_knows_ends_nothing():
    unknown = operation_of("from_the_future")

    assert not any((unknown.ends_stack, unknown.may_leave_leftovers, unknown.compensates, unknown.can_be_canceled))
    assert stack_state("from_the_future", Conclusion.FAILED, undoing=False) in STANDING


def compared_kinds(source: str) -> Iterator[int]:
    """Yield the lines on which something called a kind is compared with a word or a member of an enumeration."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        # A kind of resource has its words, too; what a deployment has is `operation` or the kind of a record or a row.
        of_kind = any(_is_called_kind(each) for each in sides)
        if any(_is_verb(each, of_kind=of_kind) for each in sides):
            yield node.lineno


def _is_called_kind(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "kind") or (
        isinstance(node, ast.Name) and node.id == "kind"
    )


def _is_verb(node: ast.expr, *, of_kind: bool) -> bool:
    verbs = {*OPERATIONS, *(each.upper() for each in OPERATIONS)}
    if isinstance(node, ast.Constant):
        return node.value in (verbs if of_kind else verbs - {"password"})  # which is also a field of a form
    if isinstance(node, ast.Tuple | ast.Set | ast.List):
        return any(_is_verb(each, of_kind=of_kind) for each in node.elts)
    if isinstance(node, ast.Attribute):
        return node.attr in verbs or (isinstance(node.value, ast.Name) and node.value.id in verbs)
    return isinstance(node, ast.Name) and node.id in verbs


def test_no_verb_is_told_from_another_outside_the_table():
    found = {
        f"{path.relative_to(APP)}:{line}"
        for path in APP.rglob("*.py")
        if path.parent != APP / "operations" and "sandbox" not in path.parts
        for line in compared_kinds(path.read_text())
    }

    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        'if record.kind == "create": pass',
        "if run.operation is REDEPLOY: pass",
        "if record.kind in (REMOVE.kind, CREATE.kind): pass",
        'if "remove" != kind: pass',
        'if record.kind == "password": pass',
    ],
)
def test_a_comparison_of_verbs_is_found(source: str):
    assert list(compared_kinds(source)) == [1]
