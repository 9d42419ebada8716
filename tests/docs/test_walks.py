"""The README and the tutorial: their commands are run, and print what the page shows."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.docs.markdown import ROOT, blocks, read, section
from tests.ports import reserve_ports
from tests.programs import need_program
from tests.servers import http_client
from tests.waiting import WAIT_SECONDS, wait_until

MARK = "=== the next block ==="


def run_in_one_shell(portal_port: int, commands: list[str], folder: Path) -> list[str]:
    """Run blocks of commands as a reader would type them, and return what each of them printed."""
    script = f"\nprintf '\\n{MARK}\\n'\n".join(commands)
    script = script.replace("localhost:3000", f"localhost:{portal_port}")
    script = script.replace("localhost:3001", f"localhost:{portal_port + 1}")
    done = subprocess.run(
        ["bash", "-u"],
        input=script,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=10 * WAIT_SECONDS,  # all of its commands together
        check=False,
    )
    assert done.stderr == ""
    return [part.strip("\n") for part in done.stdout.split(f"\n{MARK}\n")]


def settled(text: str, port: int) -> str:
    """Return an output in which whatever differs from run to run is the same."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    text = re.sub(r"asd_[\w-]{32}", "KEY", text)
    return text.replace(f"localhost:{port + 1}", "localhost:3001").strip("\n")


def as_pattern(shown: str) -> str:
    """Make a pattern of what a page shows: `…` is anything within a line, and alone any number of lines."""
    lines = [r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in shown.splitlines()]
    return "".join(lines)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A sandbox as `make demo` starts it, and its port."""
    need_program("curl")
    port, folder = reserve_ports(2), tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "sandbox"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def reaches_dokploy() -> bool:
        assert process.poll() is None
        with suppress(httpx.TransportError):
            return bool(client.get(f"http://127.0.0.1:{port}/health").json()["dokploy"]["reachable"])
        return False

    try:
        with http_client() as client:
            wait_until(reaches_dokploy, pause=0.05)
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


@pytest.mark.parametrize(
    "walk",
    [
        section("README.md", "Use it from a program"),
        read("docs/tutorial.md").partition("## Deploy from the command line")[2],
    ],
    ids=["README", "tutorial"],
)
def test_a_walk_prints_what_it_shows(demo: int, tmp_path: Path, walk: str):
    parts = blocks(walk)
    commands = [body for language, body in parts if language == "sh"]
    shown = [body for language, body in parts if language != "sh"]
    assert [language == "sh" for language, _ in parts] == [True, False] * len(commands)

    printed = run_in_one_shell(demo, commands, tmp_path)

    for command, said, promised in zip(commands, printed, shown, strict=True):
        pattern = as_pattern(settled(promised, 3000))
        assert re.fullmatch(pattern, settled(said, demo) + "\n"), f"{command}\nprinted:\n{said}"
