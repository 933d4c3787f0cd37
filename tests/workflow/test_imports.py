"""What imports what: the contracts of pyproject.toml hold, and what has to start quickly imports nothing heavy."""

import json
import os
import pkgutil
import subprocess
import sys

import pytest
from importlinter import cli
from running import ROOT, SCRIPTS

import isthmus.figures


def test_the_packages_import_each_other_as_the_contracts_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the linter puts the folder in front
    status = cli.lint_imports(no_cache=True, no_logo=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_figures_are_drawn_without_what_takes_long_to_import() -> None:
    """The contracts know packages of others as wholes only, not that pyplot, which opens windows, stays unused."""
    modules = [f"isthmus.figures.{module.name}" for module in pkgutil.iter_modules(isthmus.figures.__path__)]
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, capture_output=True, check=True
    )
    assert not {"torch", "sklearn", "statsmodels", "matplotlib.pyplot"} & set(json.loads(done.stdout))
