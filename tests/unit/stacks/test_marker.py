"""Markers: each is read as what it was written from, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import new_id
from app.stacks.marker import Marker, search_text_of
from app.store.schema import DEFAULT_SERVER

PORTAL, STACK = "01J0000000000000000000PRTA", "01J0000000000000000000STCK"
MARKER = Marker(PORTAL, DEFAULT_SERVER, STACK)
OTHER_SERVER = Marker(PORTAL, "eu-2", STACK)

ids = st.builds(new_id)
server_ids = st.just(DEFAULT_SERVER) | st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
markers = st.builds(Marker, ids, server_ids, ids)
parts = st.lists(ids | server_ids | st.text(max_size=3)).map(lambda each: ":".join(["asd", *each]))


@given(markers)
def test_a_marker_is_read_as_what_it_was_written_from(marker: Marker):
    text = str(marker)

    assert Marker.read(text) == marker
    assert marker.is_on(text)
    assert marker.search_text in text
    assert text.startswith(search_text_of(marker.installation))


@given(st.text() | parts)
def test_what_is_read_as_a_marker_is_written_like_one(text: str):
    found = Marker.read(text)

    assert found is None or str(found) == text.replace(f":{DEFAULT_SERVER}:", ":")


def test_a_marker_of_the_first_server_is_what_an_older_portal_compares_with():
    assert str(MARKER) == f"asd:{PORTAL}:{STACK}"
    assert str(OTHER_SERVER) == f"asd:{PORTAL}:eu-2:{STACK}"


def test_the_first_server_may_be_named():
    named = f"asd:{PORTAL}:main:{STACK}"

    assert MARKER.is_on(named)
    assert MARKER.search_text in named


@pytest.mark.parametrize("marker", [MARKER, OTHER_SERVER])
@pytest.mark.parametrize(
    "description",
    [
        None,
        "",
        "our web site",
        "asd",
        "asd:",
        "asd::",
        f"asd:{PORTAL}",
        f"asd:{PORTAL}:",
        f"asd::{STACK}",
        f"asd:{STACK}:{PORTAL}",
        f"asd:{PORTAL}:{STACK}:",
        f"asd:{PORTAL}:{STACK}:more",
        f"asd:{PORTAL}:{STACK}:main",
        f"asd:{PORTAL}::{STACK}",
        f"asd:{PORTAL}:main:main:{STACK}",
        f"asd:{PORTAL}:main:{STACK}:{STACK}",
        f"asd:{PORTAL}:Main:{STACK}",
        f"asd:{PORTAL}:EU-2:{STACK}",
        f"asd:{PORTAL}:eu_2:{STACK}",
        f"asd:{PORTAL}:eu-2 :{STACK}",
        f"asd:{PORTAL}:eu-2\n:{STACK}",
        f"asd:{PORTAL}:{'m' * 41}:{STACK}",
        f"asd:{PORTAL}:another:{STACK}",
        f"asd:{STACK}:eu-2:{PORTAL}",
        f"asd:eu-2:{PORTAL}:{STACK}",
        f"asd:{PORTAL}:eu-2:ada",
        f"asd:{PORTAL}:{STACK}{STACK}",
        f"asd:{PORTAL}:{STACK[:-1]}",
        f"asd:{PORTAL}:{STACK[:-1]}:",
        f"asd:{PORTAL}:{STACK[:-1]}é",
        f"asd:{PORTAL}:{STACK.lower()}",
        f"asd:{PORTAL.lower()}:{STACK}",
        f"ASD:{PORTAL}:{STACK}",
        f"asd:{PORTAL}:ada",
        f"asd:{PORTAL}: {STACK}",
        f" asd:{PORTAL}:{STACK}",
        f"asd:{PORTAL}:{STACK}\n",
        f"asd:{PORTAL}:{STACK} (do not delete)",
        f"a copy of asd:{PORTAL}:{STACK}",
    ],
)
def test_what_only_resembles_a_marker_is_not_the_stack_s(marker: Marker, description: str | None):
    assert not marker.is_on(description)


@pytest.mark.parametrize(
    "other", [Marker(PORTAL, "main", PORTAL), Marker(STACK, "main", STACK), OTHER_SERVER, Marker(PORTAL, "mai", STACK)]
)
def test_another_stack_s_portal_s_or_server_s_marker_is_not_the_stack_s(other: Marker):
    assert not MARKER.is_on(str(other))
    assert not other.is_on(str(MARKER))


@pytest.mark.parametrize(
    ("installation", "server_id", "stack_id"),
    [
        ("", "main", STACK),
        ("portal", "main", STACK),
        (PORTAL, "main", ""),
        (PORTAL, "main", "a:b"),
        (PORTAL, "", STACK),
        (PORTAL, "eu:2", STACK),
        (PORTAL, "Main", STACK),
        (PORTAL, "m" * 41, STACK),
    ],
)
def test_a_marker_that_could_not_be_read_again_is_not_written(installation: str, server_id: str, stack_id: str):
    with pytest.raises(ValueError, match="not a marker"):
        Marker(installation, server_id, stack_id)
