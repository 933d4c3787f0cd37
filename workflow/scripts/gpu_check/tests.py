"""The tests in tests/gpu on this device, a case for each file."""

import importlib
import os
import re
import subprocess
import sys

from gpu_check.case import Case, Measured, Options, Unfinished
from gpu_check.needs import ROOT

COUNTED = ("passed", "failed", "skipped", "error")


def cases(options: Options) -> list[Case]:
    """The files of tests/gpu in alphabetical order. Raises ModuleNotFoundError without pytest."""
    importlib.import_module("pytest")
    files = sorted((ROOT / "tests" / "gpu").glob("test_*.py"))
    return [Case(path.stem, lambda left, path=path: _run(str(path), options.device, left)) for path in files]


def _run(path: str, device: str, seconds: float) -> Measured:
    """How many tests ended how. Raises RuntimeError with the end of pytest's output if one failed."""
    command = [
        *(sys.executable, "-m", "pytest", path, "--device", device, "-m", "gpu"),
        *("--override-ini", "addopts=--strict-markers --import-mode=importlib", "-q", "-rfE", "--no-header"),
    ]
    # Without whatever plugins this machine has: warnings are errors in these tests.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        raise Unfinished("out of time") from late
    found = {word.rstrip("s"): int(count) for count, word in re.findall(r"(\d+) (\w+)", _last_line(done.stdout))}
    if done.returncode:
        raise RuntimeError("\n".join((done.stdout + done.stderr).splitlines()[-12:]))
    return {word: found.get(word, 0) for word in COUNTED if word in found or word == "passed"}


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]
