"""Read Markdown pages: their sections, code blocks, links and anchors."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = tuple(
    sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
)
"""Every page, by its path from the top of the repository."""

_BLOCK: Final = re.compile(r"^ *```.*?^ *```$", flags=re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text()


def section(page: str, heading: str) -> str:
    """Return the text of a section, down to the next heading of its level or above."""
    text = read(page)
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, flags=re.MULTILINE)
    assert found, f"{page} has no section {heading!r}"
    rest = text[found.end() :]
    # A comment in a block is no heading; the text keeps its length.
    masked = _BLOCK.sub(lambda block: "x" * len(block[0]), rest)
    end = re.search(rf"^#{{1,{len(found[1])}}} ", masked, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def blocks(text: str, language: str | None = None) -> list[tuple[str, str]]:
    """Return the fenced blocks as language and content, or those of one language."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return [(of, body) for _, of, body in found if language in {None, of}]


def prose(text: str) -> str:
    """Return a text without its fenced blocks."""
    return _BLOCK.sub("", text)


def code(text: str) -> str:
    """Return what stands in fenced blocks and between backticks, one a line."""
    return "\n".join([body for _, body in blocks(text)] + re.findall(r"`([^`\n]+)`", prose(text)))


def words(text: str) -> int:
    """Count the words of a page's prose and tables; addresses of links, rules and comments are none."""
    plain = re.sub(r"\]\([^)]*\)|<!--.*?-->|<[^>]+>|\|?[ -]*\|", " ", prose(text), flags=re.DOTALL)
    return len(re.findall(r"[\w'{}/_.-]*\w[\w'{}/_.-]*", plain))


def links(text: str) -> list[str]:
    """Return the targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page: those of its headings, as GitHub makes them, and its own."""
    plain = prose(text)
    headings = re.findall(r"^#+ (.+)$", plain, flags=re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', plain))
