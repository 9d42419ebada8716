"""Every failed call to Dokploy has a problem that people can read."""

import pytest

from app.deployments.blame import PASSING, problem_of
from app.dokploy import DokployError, DokployForbidden, DokployUnauthorized
from app.dokploy import errors as tree
from app.errors import PROBLEMS


def leaves(kind: type[DokployError]) -> list[type[DokployError]]:
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [kind]


LEAVES = [leaf for leaf in leaves(DokployError) if leaf.__module__ == tree.__name__]


@pytest.mark.parametrize("kind", LEAVES)
def test_each_has_a_problem_that_needs_no_parameters_and_keeps_dokploys_words_for_the_log(kind: type[DokployError]):
    problem = problem_of(kind("project.create", "Failed query: insert", status=500))

    assert problem.code in PROBLEMS
    assert problem.problem.who == "operator"
    assert "{" not in problem.problem.detail + problem.problem.hint
    assert dict(problem.params) == {}
    assert "insert" in problem.log


def test_no_two_failures_read_the_same():
    assert len({problem_of(kind("x", "y")).code for kind in LEAVES}) == len(LEAVES) == 9


def test_what_passes_by_itself_is_not_what_dokploy_refuses():
    assert set(LEAVES) - set(PASSING) == {DokployForbidden, tree.DokployNotFound, tree.DokployBadRequest}
    assert DokployUnauthorized not in PASSING
