"""Says whether every language has every sentence: `python -m tests.check_catalogs`, and `--update` to bring them up to date.

Extracts the sentences of app/ and templates/ anew, in memory, with what babel.cfg says, and compares. The files are
written without dates and line numbers, so that the same sources give the same files.
"""

import re
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from app.i18n import LANGUAGES

ROOT = Path(__file__).parent.parent
LOCALES = ROOT / "locales"
TEMPLATE = LOCALES / "messages.pot"
SOURCE_LANGUAGE = "en"
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None, "plural": (1, 2)}  # N_("…"), language.plural("…", "…", count)
# {name} is filled by app.i18n, %(name)s by the templates; %% is a percent sign there.
PLACEHOLDER = re.compile(r"\{\w*\}|%\(\w+\)[sd]|%%")


def extract() -> Catalog:
    """Return the sentences of the sources, in alphabetical order of their first form."""
    with (ROOT / "babel.cfg").open() as config:
        methods, options = parse_mapping_cfg(config)
    catalog = Catalog()
    for _file, _line, sentence, comments, context in extract_from_dir(ROOT, methods, options, keywords=KEYWORDS):
        catalog.add(sentence, auto_comments=comments, context=context)
    return catalog


def read(path: Path, code: str | None = None) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=code)


def written(catalog: Catalog, code: str | None = None) -> bytes:
    """Return a catalog as the text that stands in the repository."""
    body = BytesIO()
    write_po(body, catalog, no_location=True, omit_header=True, sort_output=True, ignore_obsolete=True, width=120)
    head = "" if code is None else header(catalog, code)
    return head.encode() + body.getvalue()


def header(catalog: Catalog, code: str) -> str:
    return (
        'msgid ""\n'
        'msgstr ""\n'
        f'"Language: {code}\\n"\n'
        '"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n'
        f'"Plural-Forms: {catalog.plural_forms}\\n"\n'
        "\n"
    )


def languages() -> list[str]:
    return [code for code in LANGUAGES if code != SOURCE_LANGUAGE]


def path_of(code: str) -> Path:
    return LOCALES / code / "LC_MESSAGES" / "messages.po"


def update() -> None:
    """Write the template and every language's catalog; what is new in them waits for its translator."""
    fresh = extract()
    LOCALES.mkdir(exist_ok=True)
    TEMPLATE.write_bytes(written(fresh))
    for code in languages():
        path = path_of(code)
        path.parent.mkdir(parents=True, exist_ok=True)
        catalog = read(path, code) if path.exists() else Catalog(locale=code)
        catalog.update(fresh, no_fuzzy_matching=True)
        path.write_bytes(written(catalog, code))


def problems() -> list[str]:
    """Say everything that is wrong, one line each."""
    fresh = extract()
    found: list[str] = []
    if not TEMPLATE.exists() or TEMPLATE.read_bytes() != written(fresh):
        found.append("locales/messages.pot is stale: run `make catalogs`")
    for code in languages():
        path = path_of(code)
        name = path.relative_to(ROOT)
        if path.exists():
            found += [f"{name}: {wrong}" for wrong in problems_of(path, code, fresh)]
        else:
            found.append(f"{name} is missing: run `make catalogs`")
    return found


def problems_of(path: Path, code: str, fresh: Catalog) -> list[str]:
    """Say what is wrong with one language's catalog, beside the sentences of the sources."""
    found: list[str] = []
    if f"Plural-Forms: {Catalog(locale=code).plural_forms}" not in path.read_text():
        found.append("the header lacks the plural forms of the language")
    catalog = read(path, code)
    found += [f"obsolete: {text(message)}" for message in catalog.obsolete.values()]
    found += [
        f"not in the sources any more: {text(message)}"
        for message in sentences(catalog)
        if fresh.get(message.id, message.context) is None
    ]
    for source in sentences(fresh):
        found += [f"{wrong}: {text(source)}" for wrong in _wrong(source, catalog)]
    return found


def sentences(catalog: Catalog) -> Iterable[Message]:
    return (message for message in catalog if message.id)


def text(message: Message) -> str:
    first = message.id if isinstance(message.id, str) else message.id[0]
    return f'"{first}"'


def _wrong(source: Message, catalog: Catalog) -> list[str]:
    translated = catalog.get(source.id, source.context)
    if translated is None:
        return ["missing"]
    forms = [translated.string] if isinstance(translated.string, str) else list(translated.string or ())
    expected = catalog.num_plurals if source.pluralizable else 1
    if len(forms) != expected or not all(forms):
        return ["not translated"]
    wrong = ["fuzzy"] if translated.fuzzy else []
    ids = [source.id] if isinstance(source.id, str) else list(source.id)
    allowed = [sorted(PLACEHOLDER.findall(form)) for form in ids]
    # One form of a plural may leave its number out ("one minute"), but never invent a placeholder.
    for form in forms:
        held = sorted(PLACEHOLDER.findall(form))
        if held not in allowed and not (source.pluralizable and set(held) < set(allowed[-1])):
            wrong.append(f"placeholders {held} instead of {allowed[-1]}")
    if any(form[:1].isspace() or form[-1:].isspace() for form in forms):
        wrong.append("blank at an end")
    return wrong


def main() -> int:
    if sys.argv[1:] == ["--update"]:
        update()
    found = problems()
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
