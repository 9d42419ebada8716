"""Pages and their templates: one page a template, both in the folder of one feature, and nothing of another feature."""

import pkgutil
from collections import Counter
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import get_args

from jinja2 import Environment, meta

import app.web.ui
from app.web.ui.shared.view import Page, Section
from tests.sources import TEMPLATES
from tests.unit.web.test_templates import DOCS, PAGES


def pages() -> list[type[Page]]:
    """Every page of every feature."""
    for module in pkgutil.walk_packages(app.web.ui.__path__, f"{app.web.ui.__name__}."):
        import_module(module.name)
    return Page.__subclasses__()


def folder_of(template: str) -> str:
    return str(PurePosixPath(template).parent)


def test_every_template_belongs_to_exactly_one_page():
    whole = [name for name in TEMPLATES if not PurePosixPath(name).name.startswith("_")]
    assert Counter(page.template for page in pages()) == Counter(whole)


def test_a_page_and_its_template_stand_in_the_folders_of_one_feature():
    for page in pages():
        feature = page.__module__.removeprefix(f"{app.web.ui.__name__}.").partition(".")[0]
        assert folder_of(page.template) == feature, page.__name__
        assert page.__module__ == f"{app.web.ui.__name__}.{feature}.view", page.__name__


def test_a_page_is_a_dataclass_that_names_its_section():
    for page in pages():
        assert is_dataclass(page), page.__name__
        assert page.section in get_args(Section), page.__name__


def test_a_template_takes_parts_from_its_own_folder_and_the_shared_one_only():
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    taken = [
        (name, other)
        for name, source in TEMPLATES.items()
        for other in meta.find_referenced_templates(environment.parse(source))
    ]
    assert len(taken) > len(pages())
    for name, other in taken:
        assert other in TEMPLATES, (name, other)
        assert folder_of(str(other)) in {folder_of(name), "shared"}, (name, other)


def test_every_page_is_among_those_that_are_rendered_in_every_language():
    assert {type(page) for page in (*PAGES.values(), DOCS)} == set(pages())
