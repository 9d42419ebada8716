"""The wheel alone: what `pip install` gives is a whole portal, with its pages, its files, its languages and its commands."""

import os
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from app.i18n import LANGUAGES
from tests.acceptance.process import ROOT, Process
from tests.ports import reserve_ports
from tests.servers import http_client
from tests.waiting import WAIT_SECONDS

PAGES = ("/", "/stacks", "/docs", "/sign-in", "/nothing-here")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the wheel, and the packages that it needs from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    # pip asks the compilers that it finds for their versions, and they may write into their user's home.
    home = {**os.environ, "HOME": str(folder)}
    subprocess.run([sys.executable, *build], check=True, timeout=WAIT_SECONDS, env=home)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # No second download of what is here; the wheel's own package stands in front of it.
    (packages / "needed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    install = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--ignore-installed",
        str(wheel),
    ]
    subprocess.run([environment / "bin/python", *install], check=True, timeout=WAIT_SECONDS, env=home)
    return environment


@pytest.fixture
def portal(installed: Path, start: Callable[..., Process], tmp_path: Path) -> str:
    url = f"http://127.0.0.1:{(port := reserve_ports(2))}"
    program = str(installed / "bin/ai-stack-deployer")
    start(program, "sandbox", cwd=tmp_path, HOST="127.0.0.1", PORT=str(port)).answers(f"{url}/ready")
    return url


def test_every_page_is_served_in_every_language(portal: str):
    with http_client(base_url=portal, headers={"accept": "text/html"}) as client:
        for language in LANGUAGES.values():
            for page in PAGES:
                answer = client.get(page, params={"lang": language.code})
                assert answer.status_code == (404 if page == "/nothing-here" else 200), (page, language.code)
                assert f'lang="{language.code}"' in answer.text, (page, language.code)


def test_every_static_file_is_served(portal: str):
    files = [file.relative_to(ROOT).as_posix() for file in (ROOT / "static").rglob("*") if file.is_file()]
    with http_client(base_url=portal) as client:
        answers = {file: client.get(f"/{file}") for file in files}

    assert len(files) > 5
    for file, answer in answers.items():
        assert answer.content == (ROOT / file).read_bytes(), file


def test_nothing_of_it_stands_outside_the_package(installed: Path):
    (packages,) = installed.glob("lib/python*/site-packages")
    found = {each.name for each in packages.iterdir() if not each.name.endswith(".dist-info")}

    assert found == {"app", "needed.pth"}
    assert (packages / "app/store/migrations/script.py.mako").is_file()
    assert (packages / "app/py.typed").is_file()
