"""Has Lighthouse judge the deploy page, as on a phone and on a desktop: `python -m tests.browser.lighthouse`.

Each of its four scores is to be 100. It wants Chromium and npx, which fetches Lighthouse into npm's own cache.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from app.logging import configure_logging
from app.sandbox import SandboxSettings, serve_in_thread
from tests.programs import find_program
from tests.servers import portal_settings, serve_portal, sqlite_url

VERSION: Final = "12.8.2"
PRESETS: Final[Mapping[str, list[str]]] = {"mobile": [], "desktop": ["--preset=desktop"]}
WANTED: Final = 100
_PATIENCE: Final = 300


def judge(npx: str, chromium: str, url: str, preset: str, folder: Path) -> Mapping[str, Any]:
    """What Lighthouse reports of a page."""
    report = folder / f"{preset}.json"
    command = [
        *(npx, "--yes", f"lighthouse@{VERSION}", url, *PRESETS[preset]),
        *("--chrome-flags=--headless=new --no-sandbox", "--no-enable-error-reporting", "--quiet"),
        *("--output=json", f"--output-path={report}"),
    ]
    subprocess.run(command, cwd=folder, env={**os.environ, "CHROME_PATH": chromium}, check=True, timeout=_PATIENCE)
    read: dict[str, Any] = json.loads(report.read_text())
    return read


def scores(report: Mapping[str, Any]) -> dict[str, int]:
    """The score of each category; what could not be judged has none, and so 0."""
    return {category["title"]: round((category["score"] or 0) * 100) for category in report["categories"].values()}


def faults(report: Mapping[str, Any]) -> list[str]:
    """What a score suffers from. An audit without a score does not concern the page, unless it broke."""
    found = []
    for category in report["categories"].values():
        for each in category["auditRefs"]:
            audit = report["audits"][each["id"]]
            score = 0 if audit["scoreDisplayMode"] == "error" else audit["score"]
            if each["weight"] and score is not None and score < 1:
                found.append(f"{category['title']}: {audit['title']} {audit.get('displayValue', '')}".strip())
    return found


def main() -> int:
    chromium, npx = find_program("chromium"), shutil.which("npx")
    if chromium is None or npx is None:
        print("Chromium and npx are needed (Debian: apt-get install chromium npm).", file=sys.stderr)
        return 1
    configure_logging("error", readable=False)
    with tempfile.TemporaryDirectory() as name, serve_in_thread(SandboxSettings()) as emulator:
        folder = Path(name)
        with serve_portal(portal_settings(emulator, sqlite_url(folder))) as portal:
            reports = {preset: judge(npx, chromium, portal.url, preset, folder) for preset in PRESETS}
    table = {preset: scores(report) for preset, report in reports.items()}
    print(f"{'Lighthouse ' + VERSION:<20}{''.join(f'{preset:>10}' for preset in table)}{'wanted':>10}")
    for category in table["mobile"]:
        print(f"{category:<20}{''.join(f'{of[category]:>10}' for of in table.values())}{WANTED:>10}")
    good = all(score >= WANTED for of in table.values() for score in of.values())
    if not good:
        for preset, report in reports.items():
            print("\n".join(f"{preset}: {each}" for each in faults(report)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
