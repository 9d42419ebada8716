"""The tree of failures: each says its call, its status, and whether it may have happened all the same."""

import re

import pytest

from app.dokploy import errors
from app.dokploy.errors import (
    DokployBadRequest,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnauthorized,
    DokployUnreachable,
    DokployUnreadable,
)

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DokployError)]


def test_the_drawing_shows_every_class():
    assert re.findall(r"Dokploy\w+", (errors.__doc__ or "").partition("\n\n")[2].split("401 w")[0])
    drawn = set(re.findall(r"^[│├└─ ]*(Dokploy\w+)", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {each.__name__ for each in ALL}


def test_three_kinds_of_401():
    assert {each for each in ALL if issubclass(each, DokployUnauthorized)} == {
        DokployUnauthorized,
        DokployKeyRefused,
        DokployDatabaseDown,
        DokployForbidden,
    }


@pytest.mark.parametrize(
    ("kind", "uncertain"),
    [
        (DokployUnreachable, False),
        (DokployTimeout, True),
        (DokployKeyRefused, False),
        (DokployDatabaseDown, False),
        (DokployForbidden, False),
        (DokployNotFound, False),
        (DokployBadRequest, False),
        (DokployServerError, True),
        (DokployUnreadable, True),
    ],
)
def test_whether_it_may_have_happened(kind: type[DokployError], uncertain: bool):
    assert kind("project.create", "words").uncertain is uncertain
    assert kind("project.create", "words", uncertain=not uncertain).uncertain is not uncertain
    assert kind.uncertain is uncertain, "of one failure, not of all"


def test_what_it_says():
    error = DokployServerError("project.create", "Failed query", status=500)
    assert (error.call, error.message, error.status) == ("project.create", "Failed query", 500)
    assert str(error) == "project.create: 500: Failed query"
    assert str(DokployTimeout("project.all", "late")) == "project.all: no answer: late"
