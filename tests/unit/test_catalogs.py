"""What the check of the catalogs says of a catalog in which something is wrong."""

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from tests.check_catalogs import header, problems_of

SIX = tuple(f"{form} %(count)s" for form in ("zero", "one", "two", "few", "many", "other"))


@pytest.fixture
def fresh() -> Catalog:
    """The sentences of sources that have three."""
    catalog = Catalog()
    catalog.add("Stop")
    catalog.add("{name} is ready.")
    catalog.add(("%(count)s stack", "%(count)s stacks"))
    return catalog


def plural(*forms: str) -> str:
    said = "\n".join(f'msgstr[{number}] "{form}"' for number, form in enumerate(forms))
    return f'msgid "%(count)s stack"\nmsgid_plural "%(count)s stacks"\n{said}\n'


GOOD = {
    "stop": 'msgid "Stop"\nmsgstr "إيقاف"\n',
    "ready": 'msgid "{name} is ready."\nmsgstr "{name} جاهز."\n',
    "stacks": plural(*SIX),
}


def found_in(tmp_path: Path, fresh: Catalog, *, head: str | None = None, **changed: str) -> list[str]:
    """What is wrong with an Arabic catalog that is good but for what was changed in it."""
    path = tmp_path / "messages.po"
    parts = [head if head is not None else header(Catalog(locale="ar"), "ar"), *{**GOOD, **changed}.values()]
    path.write_text("\n".join(parts))
    return problems_of(path, "ar", fresh)


def test_a_catalog_in_which_all_is_well_passes(tmp_path: Path, fresh: Catalog):
    assert found_in(tmp_path, fresh) == []
    assert found_in(tmp_path, fresh, stacks=plural("none", "one", "two", *SIX[3:])) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"stop": ""}, 'missing: "Stop"'),
        ({"stop": 'msgid "Stop"\nmsgstr ""\n'}, 'not translated: "Stop"'),
        ({"stop": f"#, fuzzy\n{GOOD['stop']}"}, 'fuzzy: "Stop"'),
        ({"more": 'msgid "Start"\nmsgstr "بدء"\n'}, 'not in the sources any more: "Start"'),
        ({"more": '#~ msgid "Start"\n#~ msgstr "بدء"\n'}, 'obsolete: "Start"'),
        (
            {"ready": 'msgid "{name} is ready."\nmsgstr "{nmae} جاهز."\n'},
            "placeholders ['{nmae}'] instead of ['{name}']",
        ),
        ({"ready": 'msgid "{name} is ready."\nmsgstr "جاهز."\n'}, "placeholders [] instead of ['{name}']"),
        ({"stop": 'msgid "Stop"\nmsgstr "إيقاف "\n'}, 'blank at an end: "Stop"'),
        ({"stacks": plural(*SIX[:2])}, 'not translated: "%(count)s stack"'),
        ({"stacks": plural(*SIX[:5])}, 'not translated: "%(count)s stack"'),
        ({"stacks": plural(*SIX[:5], "")}, 'not translated: "%(count)s stack"'),
        ({"stacks": plural(*SIX[:5], "%(counts)s")}, "placeholders ['%(counts)s'] instead of ['%(count)s']"),
        ({"head": 'msgid ""\nmsgstr ""\n"Language: ar\\n"\n'}, "the header lacks the plural forms of the language"),
    ],
)
def test_what_is_wrong_with_a_catalog_is_told(tmp_path: Path, fresh: Catalog, changed: dict[str, str], expected: str):
    (found,) = found_in(tmp_path, fresh, **changed)
    assert found.startswith(expected)
