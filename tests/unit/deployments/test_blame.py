"""Every failed call to Dokploy has a problem that people can read."""

import pytest

from app.dokploy import DokployError
from app.dokploy import errors as tree
from app.errors import PROBLEMS
from app.observation.error_mapping import is_away, problem_of


def kinds(of: type[DokployError]) -> list[type[DokployError]]:
    below = [kind for each in of.__subclasses__() for kind in kinds(each)]
    return [kind for kind in [*of.__subclasses__(), *below] if kind.__module__ == tree.__name__]


# 401 itself is never raised: its subclasses say which.
KINDS = sorted(set(kinds(DokployError)) - {tree.DokployUnauthorized}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_a_problem_that_needs_no_parameters_and_keeps_dokploys_words_for_the_log(kind: type[DokployError]):
    problem = problem_of(kind("project.create", "Failed query: insert"))

    assert problem.code in PROBLEMS
    assert problem.problem.who == "operator"
    assert "{" not in problem.problem.detail + problem.problem.hint
    assert dict(problem.params) == {}
    assert "insert" in problem.log


def test_failures_read_the_same_only_where_the_reader_has_to_do_the_same():
    alike: dict[str, set[type[DokployError]]] = {}
    for kind in KINDS:
        alike.setdefault(problem_of(kind("x", "y")).code, set()).add(kind)

    assert {frozenset(each) for each in alike.values() if len(each) > 1} == {
        frozenset({tree.DokployUnreachable, tree.DokployCircuitOpen}),
        frozenset({tree.DokployUnreadable, tree.DokployMisfit}),
    }


def test_what_dokploy_thinks_of_a_call_is_no_outage():
    assert {kind for kind in KINDS if not is_away(kind("x", "y"))} == {
        tree.DokployForbidden,
        tree.DokployNotFound,
        tree.DokployBadRequest,
        tree.DokployServerError,
        tree.DokployMisfit,
    }


def test_a_circuit_that_is_open_is_blamed_on_what_opened_it():
    refused = tree.DokployCircuitOpen("x", "not asked", cause=tree.DokployDatabaseDown("y", "down"))

    assert problem_of(refused).code == "dokploy_database_down"
