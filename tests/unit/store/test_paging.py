"""Cursors: whatever is sent as one, it is a place in its own list, or refused."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import PortalError
from app.store import schema
from app.store.paging import MAX_LIMIT, Order, PageRequest

AUDIT = Order("audit", (schema.audit.c.at, schema.audit.c.id))
QUERY = select(schema.audit)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def cursor(said: Any) -> str:
    """Write a cursor as this portal does."""
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


def read(text: str) -> list[Any] | None:
    """Return the values of the place that a cursor stands for; None where it is refused."""
    try:
        query = AUDIT.select(QUERY, PageRequest(20, text))
    except PortalError as refused:
        return None if refused.code == "cursor_invalid" else [refused]
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        query.compile(dialect=dialect)
    values = query.compile().params.values()
    return [value for value in values if isinstance(value, str | datetime)]


def is_usable(values: list[Any]) -> bool:
    """Whether both databases take them."""
    moment, text = values
    assert isinstance(moment, datetime)
    assert moment.tzinfo is UTC
    assert isinstance(text, str)
    return "\0" not in text and len(text.encode()) <= 400


@given(st.text())
@example("")
@example("=")
@example("é")
@example("\0")
@example("\ud800")
def test_any_text_is_no_cursor_or_a_usable_one(text: str):
    values = read(text)
    assert values is None or is_usable(values)


@given(st.binary())
def test_any_bytes_are_no_cursor_or_a_usable_one(data: bytes):
    values = read(base64.urlsafe_b64encode(data).decode())
    assert values is None or is_usable(values)


@given(ANY_JSON)
@example([])
@example([[], []])
@example(["audit", [], 1, ""])
@example(["audit", {}, 1, ""])
@example(10**400)
def test_any_json_is_no_cursor_or_a_usable_one(said: Any):
    values = read(cursor(said))
    assert values is None or is_usable(values)


@given(st.sampled_from(["next", "previous", "next "]) | ANY_JSON, st.lists(ANY_JSON | st.integers(), max_size=4))
@example("next", [True, "01"])
@example("next", [1.5, "01"])
@example("next", ["2026-01-01", "01"])
@example("next", [10**30, "01"])
@example("next", [-(10**30), "01"])
@example("next", [0, 1])
@example("next", [0, "\0"])
@example("next", [0, "\ud800"])
@example("next", [0, "x" * 101])
def test_any_place_in_a_list_is_refused_or_usable(direction: Any, values: list[Any]):
    found = read(cursor(["audit", direction, *values]))
    assert found is None or is_usable(found)


@given(st.datetimes(timezones=st.just(UTC)), st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZ", max_size=26))
def test_a_cursor_leads_to_the_very_row_that_it_was_made_from(moment: datetime, row_id: str):
    class Row:
        page_key_0, page_key_1 = moment, row_id

    for direction in ("next", "previous"):
        made: Any = AUDIT._cursor(Row, direction)  # type: ignore[arg-type]
        assert read(made) == [moment, row_id]
        assert len(made) < 200
        assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("name", ["audit-export", "stacks", "", "AUDIT", None, 1])
def test_another_list_s_cursor_is_refused(name: Any):
    assert read(cursor(["audit", "next", 0, "01"])) is not None
    assert read(cursor([name, "next", 0, "01"])) is None


def test_a_very_long_text_is_refused_unread():
    assert read("A" * 10_000_000) is None
    assert read(cursor(["audit", "next", 0, "01"]) + "A" * 400) is None


def test_one_row_more_than_a_page_is_read_to_know_whether_there_are_more():
    query = AUDIT.select(QUERY, PageRequest(MAX_LIMIT))
    assert MAX_LIMIT + 1 in query.compile().params.values()
