"""What has to start quickly imports nothing heavy. That packages import lower ones alone, `make check` tells."""

import json
import os
import pkgutil
import subprocess
import sys

from running import SCRIPTS

import isthmus.figures


def test_figures_are_drawn_without_what_takes_long_to_import() -> None:
    modules = [f"isthmus.figures.{module.name}" for module in pkgutil.iter_modules(isthmus.figures.__path__)]
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, capture_output=True, check=True
    )
    assert not {"torch", "sklearn"} & set(json.loads(done.stdout))
