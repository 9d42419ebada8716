"""Markers: each is read as what it was written from, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import new_id
from app.stacks.marker import Marker, search_text_of

PORTAL, STACK = "01J0000000000000000000PRTA", "01J0000000000000000000STCK"
MARKER = Marker(PORTAL, STACK)

ids = st.builds(new_id)
markers = st.builds(Marker, ids, ids)


@given(markers)
def test_a_marker_is_read_as_what_it_was_written_from(marker: Marker):
    text = str(marker)

    assert Marker.read(text) == marker
    assert marker.is_on(text)
    assert marker.search_text in text
    assert text.startswith(search_text_of(marker.installation))


@given(st.one_of(st.text(), st.lists(st.one_of(ids, st.text(max_size=3))).map(lambda parts: ":".join(["asd", *parts]))))
def test_what_is_read_as_a_marker_is_written_like_one(text: str):
    found = Marker.read(text)

    assert found is None or str(found) == text


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
def test_what_only_resembles_a_marker_is_not_the_stack_s(description: str | None):
    assert not MARKER.is_on(description)


@pytest.mark.parametrize("other", [Marker(PORTAL, PORTAL), Marker(STACK, STACK)])
def test_another_stack_s_or_portal_s_marker_is_not_the_stack_s(other: Marker):
    assert not MARKER.is_on(str(other))


@pytest.mark.parametrize(("installation", "stack_id"), [("", STACK), ("portal", STACK), (PORTAL, ""), (PORTAL, "a:b")])
def test_a_marker_that_could_not_be_read_again_is_not_written(installation: str, stack_id: str):
    with pytest.raises(ValueError, match="not a marker"):
        Marker(installation, stack_id)
