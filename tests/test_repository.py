"""The repository: CI and hooks run what a person runs, and nothing private is named."""

import os
import re
import subprocess

import pytest
import yaml

from tests.docs.markdown import ROOT, read
from tests.waiting import WAIT_SECONDS


def test_ci_runs_what_a_person_runs():
    script = read(".ci/run")

    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "set -euo pipefail" in script
    assert re.findall(r"^(?:CI=true )?make [\w-]+$", script, flags=re.MULTILINE) == [
        "make check",
        "CI=true make test-all",
    ]
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True, timeout=WAIT_SECONDS)
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert {"run": ".ci/run"} in workflow["jobs"]["check-and-test"]["steps"]
    assert {"run": "make audit"} in workflow["jobs"]["audit"]["steps"]


def test_hooks_are_local_and_each_is_a_part_of_make_check():
    config = yaml.safe_load(read(".pre-commit-config.yaml"))
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", read("Makefile"), flags=re.MULTILINE)
    assert check
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in check[1].splitlines()]

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    assert len(entries) == len(commands)
    for entry in entries:
        assert any(command.startswith(entry) for command in commands), entry


def test_nothing_private_is_named():
    if not (ROOT / ".git").exists():
        pytest.skip("private names in the tracked files: run the tests in a clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Put together here, so that this file does not name them either.
    words = (
        "../" + "shared",
        "/work" + "/shared",
        "/work" + "/main",
        "pypi" + ".org",
        "python" + "hosted",
        "registry" + ".npmjs",
    )
    private = re.compile("|".join(re.escape(word) for word in words))
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.suffix not in {".png", ".woff2"} and path.exists():
            assert not private.search(path.read_text()), name
