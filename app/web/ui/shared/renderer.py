"""The renderer of pages: one Jinja environment a language, and nothing of HTTP."""

from typing import Final
from urllib.parse import urlencode

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket

from app.i18n import LANGUAGES, Language
from app.resources import folder
from app.web.assets import asset
from app.web.projector import STATE_TEXTS
from app.web.ui.shared.view import Page, Viewer

TEMPLATES_DIR: Final = folder("templates")


class Renderer:
    """Renders pages in every language. version: shown at the foot of each page."""

    def __init__(self, version: str) -> None:
        self._environments = {code: _environment(language, version) for code, language in LANGUAGES.items()}

    def render(self, page: Page, viewer: Viewer) -> str:
        """Return the whole document, or the part of one that the page is."""
        # Two slashes in front would lead to another host.
        here = "/" + viewer.path.partition("?")[0].lstrip("/\\")
        return (
            self._environments[viewer.language.code]
            .get_template(page.template)
            .render(
                page=page,
                viewer=viewer,
                path=here,
                # Where another theme leads back to.
                here=f"{here}?{urlencode(viewer.query)}" if viewer.query else here,
                language_link=lambda code: f"{here}?{urlencode({**viewer.query, 'lang': code})}",
            )
        )


class _Compiled(BytecodeCache):
    """What templates compile to: the same in every language, so that only the first environment compiles them."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._code.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


_COMPILED: Final = _Compiled()


def _environment(language: Language, version: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_COMPILED,
    )
    environment.policies["ext.i18n.trimmed"] = True  # as in babel.cfg: a sentence may span lines
    environment.install_gettext_translations(language.catalog, newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    environment.globals.update(
        language=language,
        languages=tuple(LANGUAGES.values()),
        version=version,
        asset=asset,
        state_texts={state: language.text(text) for state, text in STATE_TEXTS.items()},
    )
    return environment
