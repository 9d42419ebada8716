"""Processes that do the same at the same moment: `python -m tests.together module:function arguments...` is one of them.

Not by `multiprocessing`, which leaves a process of its own beside the tests for as long as they run.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.waiting import WAIT_SECONDS

ROOT: Final = Path(__file__).parents[1]
_READY: Final = "ready"


def run_together(function: Callable[..., Any], *arguments: str, times: int) -> list[Any]:
    """Call a function of a test module in several processes, and return what each answers, as JSON has it.

    It is given `begin`, which waits until all are there, and the arguments.
    """
    name = f"{function.__module__}:{function.__name__}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.together", name, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(times)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == _READY
        answers = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            said, _ = process.communicate(timeout=WAIT_SECONDS)
            assert process.returncode == 0
            answers.append(json.loads(said.splitlines()[-1]))
        return answers
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _begin() -> None:
    print(_READY, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    module, _, called = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), called)(_begin, *sys.argv[2:])), flush=True)
