"""The Dockerfile's steps without Docker: what it copies, into a folder of its own; what it runs, with its own words.

A machine with an engine builds the image itself, as CI does. Here the parts that go wrong are tried: a file that is needed
and not copied, a package that the lock file lacks, a health check that does not fit.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from app.sandbox import serve_in_thread
from tests.ports import reserve_port
from tests.waiting import WAIT_SECONDS, wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage of the Dockerfile."""

    base: str
    copies: list[tuple[str | None, list[str], str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)


def read_dockerfile() -> list[Stage]:
    """Take the Dockerfile apart, as far as this test needs it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append(Stage(rest.split(" AS ")[0]))
        elif word == "COPY":
            parts = rest.split()
            origin = parts.pop(0).removeprefix("--from=") if parts[0].startswith("--from=") else None
            stages[-1].copies.append((origin, parts[:-1], parts[-1]))
        elif word == "RUN":
            stages[-1].runs.append(rest)
        elif word == "ENV":
            stages[-1].environment |= dict(part.split("=", 1) for part in shlex.split(rest))
        elif word:
            stages[-1].words[word] = rest
    return stages


def is_sent_to_docker(name: str) -> bool:
    """Whether .dockerignore lets a file of the repository's top into the build."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch(name, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read_dockerfile()


def test_docker_is_sent_what_the_dockerfile_copies_and_nothing_else(stages: list[Stage]):
    copied = {
        Path(each).name for stage in stages for origin, sources, _ in stage.copies if not origin for each in sources
    }
    if not (ROOT / ".git").exists():
        pytest.skip("what Docker is sent: run the tests in a clone")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.partition("/")[0] for line in tracked.splitlines()} | {".env", ".git", ".venv", "data"}

    assert {name for name in top if is_sent_to_docker(name)} == copied


def test_the_image_runs_as_nobody_special_and_keeps_its_data_aside(stages: list[Stage]):
    final = stages[-1]

    assert final.words["USER"] == "10001:10001"
    assert json.loads(final.words["VOLUME"]) == ["/data"]
    assert final.words["EXPOSE"] == "3000"
    assert final.words["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(final.words["ENTRYPOINT"]) + json.loads(final.words["CMD"]) == ["python", "-m", "app", "serve"]
    assert final.environment["DATABASE_URL"] == "sqlite+aiosqlite:////data/portal.db"
    assert final.environment["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.fixture(scope="module")
def container(stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The folder in which the portal would run, and the Python that would run it; without a package index: skipped."""
    folder = tmp_path_factory.mktemp("container")
    portal, venv = folder / "portal", folder / "venv"
    portal.mkdir()
    for stage in stages:
        for origin, sources, target in stage.copies:
            for source in [] if origin else sources:
                _copy(ROOT / source, portal / target)
        for run in stage.runs:
            # The commands that make users and folders are for root of a container.
            if "/opt/venv" not in run and not run.startswith("python -m venv"):
                continue
            command = run.replace("/opt/venv", shlex.quote(str(venv))).replace(
                "python -m venv", f"{shlex.quote(sys.executable)} -m venv"
            )
            # pip asks the compilers that it finds for their versions, and they may write into their user's home.
            home = {**os.environ, "HOME": str(folder)}
            done = subprocess.run(
                command, shell=True, cwd=portal, env=home, capture_output=True, text=True, check=False
            )
            if done.returncode and re.search(
                r"NewConnectionError|Temporary failure in name resolution|Max retries", done.stderr
            ):
                pytest.skip("the image's own packages: no package index can be reached")
            assert done.returncode == 0, f"{run}\n{done.stdout}\n{done.stderr}"
    yield portal, venv / "bin" / "python"
    shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
    else:
        shutil.copy2(source, target / source.name if target.is_dir() else target)


@pytest.mark.image
def test_the_portal_starts_from_what_was_copied_and_is_healthy(stages, container, start, tmp_path: Path):
    portal, python = container
    final, port = stages[-1], reserve_port()
    data = tmp_path / "data"
    data.mkdir()
    entry = json.loads(final.words["ENTRYPOINT"]) + json.loads(final.words["CMD"])
    settings = {
        **{name: value for name, value in final.environment.items() if name != "PATH"},
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "DATABASE_URL": final.environment["DATABASE_URL"].replace("/data/", f"{data}/"),
        "PORT": str(port),
        "SECRET_KEY": "a-key-that-is-only-for-tests",
        "DOKPLOY_API_TOKEN": "sandbox-token",
        "STACK_DOMAIN_SUFFIX": "ai.example.com",
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "ALLOW_OPEN_PORTAL": "true",
    }
    with serve_in_thread() as emulator:
        process = start(str(python), *entry[1:], cwd=portal, **settings, DOKPLOY_URL=emulator)
        health = process.answers(f"http://127.0.0.1:{port}/health").json()
        assert health["status"] == "healthy"

        # Each part that was copied is used: templates and locales by the page, static by its links.
        page = httpx.get(f"http://127.0.0.1:{port}/?lang=nl", timeout=WAIT_SECONDS, trust_env=False)
        assert "AI Stack Deployer" in page.text
        assert 'lang="nl"' in page.text
        for path in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)):
            url = f"http://127.0.0.1:{port}{path}"
            assert httpx.get(url, timeout=WAIT_SECONDS, trust_env=False).status_code == 200

        check = _health_check(final)
        # Docker, too, asks several times.
        wait_until(lambda: _run_check(check, settings, portal) == 0)
        assert process.terminate() == 0
        assert _run_check(check, settings, portal) != 0
    assert (data / "portal.db").exists()
    # Nothing was written beside the sources.
    assert {path.name for path in portal.iterdir()} <= {"app", "templates", "static", "locales", "requirements.lock"}


def _health_check(stage: Stage) -> list[str]:
    options, _, command = stage.words["HEALTHCHECK"].partition("CMD ")
    start_period = re.search(r"--start-period=(\d+)s", options)
    assert start_period is not None
    assert int(start_period[1]) <= 30
    checked: list[str] = json.loads(command)
    return checked


def _run_check(command: list[str], environment: dict[str, str], folder: Path) -> int:
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, timeout=WAIT_SECONDS, check=False
    ).returncode
