"""The program uses libraries by their public names: no upgrade of one may break it without a word in its changelog."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# Modules and attributes without an underscore that are internal all the same.
INTERNAL: Final = ("uvicorn.protocols", "uvicorn.loops", "uvicorn.lifespan", "purgatory.domain")
INTERNAL_ATTRIBUTES: Final = frozenset({"original_router", "server_state", "capture_signals"})
OURS: Final = frozenset({"app", "tests", "__future__"})

SOURCES: Final = sorted((ROOT / "app").rglob("*.py")) + sorted((ROOT / "tests").rglob("*.py"))


def private_names(source: str) -> list[str]:
    """Return the names of libraries that a module imports or reaches for, and that are not public."""
    nodes = list(ast.walk(ast.parse(source)))
    return [*_imports(nodes), *_attributes(nodes)]


def _imports(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from (name for each in node.names if _is_private(name := f"{node.module}.{each.name}"))
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if _is_private(each.name))


def _attributes(nodes: list[ast.AST]) -> Iterator[str]:
    libraries = set(_imported(nodes))
    for node in nodes:
        name = ""
        if isinstance(node, ast.Attribute):
            name = node.attr
            if (path := _path_of(node)) and path.partition(".")[0] in libraries and _is_private(path):
                yield path
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}:
            given = node.args[1] if len(node.args) > 1 else None
            name = given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(INTERNAL):
            yield node.value
        if name in INTERNAL_ATTRIBUTES:
            yield name


def _imported(nodes: list[ast.AST]) -> Iterator[str]:
    """Yield the names by which modules of libraries are known."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for each in node.names:
                if _is_library(each.name):
                    yield (each.asname or each.name).partition(".")[0]


def _path_of(node: ast.expr) -> str | None:
    """Return `a.b.c` for what is written so."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (path := _path_of(node.value)):
        return f"{path}.{node.attr}"
    return None


def _is_library(name: str) -> bool:
    return name.partition(".")[0] not in OURS | sys.stdlib_module_names


def _is_private(name: str) -> bool:
    if not _is_library(name):
        return False
    has_underscore = any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
    return has_underscore or any(f"{name}.".startswith(f"{each}.") for each in INTERNAL)


def test_libraries_are_used_by_their_public_names():
    found = {path: private_names(path.read_text()) for path in SOURCES if path != Path(__file__)}

    assert len(found) > 300
    assert not {str(path.relative_to(ROOT)): names for path, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from uvicorn._types import ASGI3Application", ["uvicorn._types.ASGI3Application"]),
        ("from uvicorn.protocols.http import h11_impl", ["uvicorn.protocols.http.h11_impl"]),
        ("import purgatory.domain.model", ["purgatory.domain.model"]),
        ("from anyio import _core", ["anyio._core"]),
        ("import httpx\nhttpx._models.Response", ["httpx._models", "httpx._models.Response"]),
        ("getattr(route, 'original_router', None)", ["original_router"]),
        ("route.original_router", ["original_router"]),
        ("import_module('uvicorn.loops.auto')", ["uvicorn.loops.auto"]),
        ("from app.web import _own", []),
        ("from httpx import __version__", []),
        ("import os\nos._exit(1)", []),
        ("from . import _base", []),
    ],
)
def test_a_private_name_is_found(source: str, found: list[str]):
    assert sorted(private_names(source)) == sorted(found)
