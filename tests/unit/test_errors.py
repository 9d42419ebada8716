"""The table of problems: complete, short, and fit to be translated."""

import re
import string
from pathlib import Path

import pytest

from app.errors import PROBLEMS, PortalError, Problem
from app.web.problems import STATUSES

SOURCES = Path(__file__).parents[2] / "app"


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_problem_reads_well(code: str):
    problem = PROBLEMS[code]

    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert 1 <= len(problem.title.split()) <= 6
    assert not problem.title.endswith(".")
    assert problem.detail.endswith(".")
    assert problem.hint.endswith(".")
    assert problem.who in {"user", "operator", "provider"}
    for text in (problem.title, problem.detail, problem.hint):
        for _, name, format_spec, conversion in string.Formatter().parse(text):
            assert name is None or name.isidentifier(), text
            assert not format_spec, text
            assert not conversion, text


def test_every_code_that_is_raised_is_in_the_table():
    raised = set()
    for path in SOURCES.rglob("*.py"):
        raised |= set(re.findall(r'(?:PortalError|_refused)\(\s*"([a-z_]+)"', path.read_text()))

    assert len(raised) > 20
    assert raised <= PROBLEMS.keys()


def test_every_code_in_the_table_is_given_somewhere():
    catalog = SOURCES / "errors" / "catalog.py"
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py") if path != catalog)
    # A mention in STATUSES gives it to nobody.
    unused = {code for code in PROBLEMS if text.count(f'"{code}"') <= (code in STATUSES)}

    assert unused == set(), "app/errors/catalog.py: nobody meets these any more; take them out"


def test_the_parameters_that_are_given_fill_the_sentences():
    """Where the code is written out, so are its parameters: each placeholder of detail and hint has one."""
    for path in SOURCES.rglob("*.py"):
        for call in re.finditer(
            r'(?:PortalError|_refused)\(\s*"([a-z_]+)"((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)', path.read_text()
        ):
            code, arguments = call.groups()
            if "**" in arguments:
                continue
            given = set(re.findall(r"(\w+)=", arguments))
            problem = PROBLEMS[code]
            wanted = {
                name for text in (problem.detail, problem.hint) for _, name, _, _ in string.Formatter().parse(text)
            }
            assert wanted - {None} <= given, f"{path.name}: {code}"


def test_an_error_keeps_its_log_to_itself():
    error = PortalError("deploy_failed", image="x:1", log="docker said no", field="image")

    assert (error.code, dict(error.params), error.field) == ("deploy_failed", {"image": "x:1"}, "image")
    assert error.log == "docker said no"
    assert error.problem is PROBLEMS["deploy_failed"]
    assert "docker said no" not in error.problem.detail.format_map(error.params)


def test_an_unknown_code_is_a_mistake():
    with pytest.raises(KeyError):
        PortalError("no_such_code")


def test_the_user_is_not_told_to_do_the_operators_work():
    assert Problem("t", "d", "h").who == "user"
    for code, problem in PROBLEMS.items():
        if problem.hint.startswith("The operator "):
            assert problem.who == "operator", code
