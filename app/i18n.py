"""Languages: their catalogs, the choice for a visitor, and the format of sentences, numbers and durations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from io import BytesIO
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton, get_datetime_format
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from babel.units import format_unit

from app.resources import folder

LOCALES_DIR: Final = folder("locales")

# Unicode's isolates: what stands between them cannot turn the words around it, nor be turned by them.
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"


@dataclass(frozen=True)
class Language:
    """One language: `code` as in `lang=`, `name` as its speakers write it, `direction` as in `dir=`."""

    code: str
    name: str
    direction: str

    @property
    def short(self) -> str:
        """A few letters that its speakers know it by, where there is little room."""
        return self.code.upper() if self.direction == "ltr" else self.name

    @cached_property
    def locale(self) -> Locale:
        """Babel's locale of this language."""
        return Locale.parse(self.code)

    @cached_property
    def catalog(self) -> Translations:
        """The sentences of this language, compiled in memory from the text that translators edit."""
        path = LOCALES_DIR / self.code / "LC_MESSAGES" / "messages.po"
        if not path.exists():  # English is the language of the sources
            return Translations()
        with path.open("rb") as file:
            catalog = read_po(file, locale=self.code)
        compiled = BytesIO()
        write_mo(compiled, catalog)
        compiled.seek(0)
        return Translations(compiled)

    def text(self, sentence: str, params: Mapping[str, str | int | float] | None = None) -> str:
        """Translate a sentence and fill its placeholders; text among them is isolated where the script runs left."""
        translated: str = self.catalog.gettext(sentence) if sentence else ""
        return translated.format_map(self._shown(params)) if params else translated

    def plural(self, one: str, many: str, count: int, params: Mapping[str, str | int | float] | None = None) -> str:
        """Translate a sentence that counts, in as many forms as the language has; `{count}` is the number."""
        translated: str = self.catalog.ngettext(one, many, count)
        return translated.format_map(self._shown({**(params or {}), "count": count}))

    def number(self, value: float, decimals: int = 1) -> str:
        """Write a number, in Latin digits, with at most so many decimals."""
        return format_decimal(round(value, decimals), locale=self.locale, numbering_system="latn")

    def size(self, amount: int) -> str:
        """Write a number of bytes in megabytes, or in gigabytes where it is a whole number of them."""
        megabytes = amount // 2**20
        if megabytes % 1024 or not megabytes:
            return self._unit(megabytes, "digital-megabyte")
        return self._unit(megabytes // 1024, "digital-gigabyte")

    def duration(self, seconds: float) -> str:
        """Write a duration in words that fit beside a station: `0.4 s`, `41 s`, `2 min`."""
        if seconds < 10:
            return self._unit(max(0.1, round(seconds, 1)), "duration-second")  # nothing takes no time at all
        if seconds < 90:
            return self._unit(round(seconds), "duration-second")
        return self._unit(round(seconds / 60), "duration-minute")

    def moment(self, value: datetime) -> str:
        """Write a date and time to the minute, in UTC, and say so."""
        value = value.astimezone(UTC)
        date = format_skeleton("yMMMd", value, locale=self.locale)
        time = format_skeleton("Hm", value, locale=self.locale)
        pattern = str(get_datetime_format("medium", locale=self.locale))
        return pattern.replace("{1}", date).replace("{0}", f"{time}\u00a0UTC")

    def clock(self, value: datetime) -> str:
        """Write a time of day to the second, in UTC, which whoever shows it says."""
        return format_skeleton("Hms", value.astimezone(UTC), locale=self.locale)

    def exact_duration(self, seconds: float) -> str:
        """Write a duration so that two of them can be compared: `41 s`, `1 min 48 s`, `2 h 5 min`."""
        whole = round(seconds)
        if whole < 60:
            return self.duration(seconds)
        units = [("hour", whole // 3600), ("minute", whole // 60 % 60), ("second", whole % 60)]
        shown = units[:2] if whole >= 3600 else units[1:]
        return "\u00a0".join(self._unit(amount, unit) for unit, amount in shown if amount)

    def share(self, of_one: float) -> str:
        """Write a share as a percentage, all of it only where it is all."""
        return format_percent(math.floor(of_one * 100) / 100, locale=self.locale, numbering_system="latn")

    def day(self, value: date, *, long: bool = False) -> str:
        """Write a day of this year: `8 Nov`, or `8 November`."""
        return format_skeleton("MMMMd" if long else "MMMd", value, locale=self.locale)

    def _unit(self, amount: float, unit: str) -> str:
        # Amount and unit must not part at the end of a line.
        written = format_unit(amount, unit, "short", locale=self.locale, numbering_system="latn")
        return written.replace(" ", "\u00a0")

    def _shown(self, params: Mapping[str, str | int | float]) -> dict[str, str]:
        shown: dict[str, str] = {}
        for key, value in params.items():
            if isinstance(value, int | float):
                shown[key] = self.number(value)
            elif self.direction == "rtl":
                shown[key] = f"{_FIRST_STRONG_ISOLATE}{value}{_POP_ISOLATE}"
            else:
                shown[key] = value
        return shown


LANGUAGES: Final[dict[str, Language]] = {
    language.code: language
    for language in (
        Language("en", "English", "ltr"),
        Language("nl", "Nederlands", "ltr"),
        Language("ar", "العربية", "rtl"),
        Language("de", "Deutsch", "ltr"),
        Language("fr", "Français", "ltr"),
        Language("es", "Español", "ltr"),
    )
}


def choose_language(*, asked: str | None, cookie: str | None, accept: str | None, default: str) -> Language:
    """Pick the visitor's language: `?lang=`, then the cookie, then `Accept-Language`, then the default."""
    for code in (asked, cookie):
        if code and (language := LANGUAGES.get(code.lower())):
            return language
    for code in _accepted(accept or ""):
        if language := LANGUAGES.get(code):
            return language
    return LANGUAGES[default]


def _accepted(header: str) -> list[str]:
    """Languages of an Accept-Language header, most wanted first, without their regions."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(header[:500].split(",")):
        tag, _, quality = part.partition(";")  # blanks may stand around the semicolon
        try:
            weight = float(quality.strip().lower().removeprefix("q=")) if quality else 1.0
            code = Locale.parse(tag.strip(), sep="-").language
        except (ValueError, UnknownLocaleError):
            continue
        if weight > 0:
            wanted.append((-weight, place, code))
    return [code for _, _, code in sorted(wanted)]
