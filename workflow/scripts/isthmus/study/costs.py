"""What the jobs of each stage cost, as the modules `cost` of training and of the analyses say.

Such a module has `work`, which counts the calls of a job (`isthmus.training.cost.Work`), and `memory_mb`, a guess of
its memory; it may have `disk_bytes`, what its jobs leave on the disk. Jobs of an analysis without
one all ask for the same memory and time, and `make plan` takes that time for their cost.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


@cache
def cost_of(stage: str) -> ModuleType | None:
    """The module that says what a stage costs; None where there is none."""
    name = "isthmus.training.cost" if stage == "train" else f"isthmus.analyses.{stage}.cost"
    try:
        return import_module(name) if find_spec(name) else None
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None  # a stage that has no package, such as the drawing of figures
        raise
