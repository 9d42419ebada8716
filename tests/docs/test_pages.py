"""The pages: links lead somewhere, names exist, no page is too long."""

import re
from functools import cache
from pathlib import PurePosixPath

import pytest

from app.cli import COMMANDS
from app.errors import PROBLEMS
from tests.docs.markdown import PAGES, ROOT, anchors, blocks, code, links, read, words
from tests.docs.reference import FIELDS, SECRETS

# Variables of shells, of tests and of other programs.
NO_SETTINGS = {
    *("ANSWER", "EVENTS", "ID", "KEY", "PASSWORD", "PWD", "ORGANIZATION", "TOKEN", "PORT"),
    *("CONTRACT_IMAGE", "PYTEST_ARGS", "MATRIX_ARGS", "BENCH_ARGS", "OPENAPI_EXAMPLES"),
    *("TEST_KEEP_FOLDER", "TEST_WAIT_SECONDS"),
    *("OPENCODE_SERVER_PASSWORD", "POSTGRES_PASSWORD"),
}
CURRENT = [page for page in PAGES if page != "CHANGELOG.md"]
"""Pages about the product as it is now; the changelog also names what was."""


@cache
def anchors_of(page: str) -> set[str]:
    return anchors(read(page))


def resolve(page: str, path: str) -> str:
    """Return where a relative link of a page leads, from the top of the repository."""
    parts: list[str] = []
    for part in (PurePosixPath(page).parent / path).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str):
    for target in links(read(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = resolve(page, path) if path else page
        assert (ROOT / found).exists(), target
        assert not anchor or anchor in anchors_of(found), target


@pytest.mark.parametrize("page", CURRENT)
def test_no_page_has_more_than_2500_words(page: str):
    assert words(read(page)) <= 2500


def test_an_operator_starts_with_a_short_page():
    assert len(read("DEPLOYMENT.md").splitlines()) <= 250


def test_the_index_has_every_page():
    listed = {resolve("docs/README.md", target.partition("#")[0]) for target in links(read("docs/README.md"))}

    assert {page for page in PAGES if page.startswith("docs/")} - {"docs/README.md"} <= listed


@pytest.mark.parametrize("page", CURRENT)
def test_every_make_target_exists(page: str):
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), flags=re.MULTILINE))
    named = re.findall(r"(?:^|[&;] *|=\S+ )make ([a-z][a-z -]*)", code(read(page)), flags=re.MULTILINE)

    assert {word for line in named for word in line.split()} <= targets


@pytest.mark.parametrize("page", CURRENT)
def test_every_command_of_the_program_exists(page: str):
    named = re.findall(r"(?:-m app|ai-stack-deployer) ([a-z][a-z-]+)", code(read(page)))

    assert set(named) - {"python"} <= set(COMMANDS)


@pytest.mark.parametrize("page", CURRENT)
def test_every_setting_exists(page: str):
    text = read(page)
    named = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", code(text)))
    named |= set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b(?!_)", text))
    named |= {name for _, body in blocks(text, "ini") for name in re.findall(r"^([A-Z_]+)=", body, flags=re.MULTILINE)}

    assert named <= set(FIELDS) | {f"{name}_FILE" for name in SECRETS} | NO_SETTINGS


@pytest.mark.parametrize("page", CURRENT)
def test_every_file_of_the_code_exists(page: str):
    named = re.findall(r"`((?:app|tests|static|locales|templates|docs)/[\w/.-]+)`", read(page))

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_code_that_an_operator_can_fix_is_in_troubleshooting():
    named = set(re.findall(r"`(\w+)`", read("docs/how-to/troubleshooting.md")))

    assert {code for code, problem in PROBLEMS.items() if problem.who == "operator"} <= named
