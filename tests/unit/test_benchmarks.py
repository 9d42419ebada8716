"""The benchmark of a large store: it knows an example for every route, and tells statements apart."""

import sqlite3
from pathlib import Path

import pytest

from app.web.auth.authorization import RULES
from tests.benchmarks.histories import GONE, KEPT, LEFT, STANDING
from tests.benchmarks.population import Example, Population
from tests.benchmarks.reads import paths
from tests.benchmarks.statements import Statement, readings

_HISTORIES = (*STANDING, KEPT, LEFT, *(share.history for share in GONE))


@pytest.mark.parametrize("route", sorted(route for route in RULES if route.startswith("GET ")))
def test_every_route_that_reads_is_measured(route: str):
    population = Population(examples={each: Example(f"of-{each}", [f"run-{each}"]) for each in _HISTORIES})
    found = list(paths(route.removeprefix("GET "), RULES[route], population))
    assert found
    assert not [path for _, path in found if "{" in path]


def test_statements_that_differ_in_the_length_of_a_list_are_one():
    two = Statement("SELECT a, b FROM t \nWHERE a IN (?, ?) AND b = ?", ())
    three = Statement("SELECT a, b FROM t WHERE a IN (?, ?, ?) AND b = ?", ())
    assert two.kind == three.kind
    assert two.in_short == "SELECT ... FROM t WHERE a IN (...) AND b = ?"
    assert Statement("SELECT a FROM t WHERE a IN ($1::VARCHAR, $2::VARCHAR)", ()).kind.endswith("IN (...)")


def test_a_statement_that_goes_through_a_whole_table_is_told_and_changes_nothing(tmp_path: Path):
    file = tmp_path / "store.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, type TEXT)")
        connection.executemany("INSERT INTO event VALUES (?, ?)", [(number, "any") for number in range(1000)])
    connection.close()
    by_id = Statement("SELECT type FROM event WHERE id = ?", (7,))
    whole = Statement("DELETE FROM event WHERE type = ?", ("any",))
    pragma = Statement("PRAGMA foreign_keys=ON", ())
    found = {each.statement.text: each for each in readings([by_id, whole, pragma], f"sqlite:///{file}", ["event"])}
    assert found.keys() == {by_id.text, whole.text}
    assert not found[by_id.text].is_whole
    assert found[whole.text].is_whole
    assert found[whole.text].milliseconds > found[by_id.text].milliseconds
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (1000,)
    connection.close()
