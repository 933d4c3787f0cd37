"""What the jobs of each stage cost, according to the modules `cost` of training and of the analyses.

Such a module has `work`, which counts the calls of a job (`isthmus.training.cost.Work`), and `memory_mb`, an estimate
of its memory. It may have `disk_bytes`, what a job leaves on disk. If an analysis has no such module, all its jobs
request the same memory and time, and `make plan` counts that time as their cost.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


@cache
def cost_of(stage: str) -> ModuleType | None:
    """The module `cost` of a stage; None if it has none."""
    name = "isthmus.training.cost" if stage == "train" else f"isthmus.analyses.{stage}.cost"
    try:
        return import_module(name) if find_spec(name) else None
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None  # a stage without a package, such as drawing figures
        raise
