"""Descriptions of modules of the user's own: what the checks, the graph of jobs and the plan need, without torch.

A module is described once, in a process of its own (`isthmus.models.inspection`), and again if its source, its
arguments, the shape of the data or the code that describes it changes. Descriptions are kept in files.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from isthmus.core.digest import LIBRARY, digest, digest_beside
from isthmus.core.errors import ConfigurationError, UserError
from isthmus.core.files import sha256_of
from isthmus.core.messages import shown
from isthmus.core.resume import Record, read_record, write_record

FOLDER = Path("results/models")
INSPECTION = LIBRARY / "models" / "inspection.py"


@dataclass(frozen=True)
class Asked:
    """What is asked of `isthmus.models.inspection`: the fields of a subclass."""

    @cached_property
    def file(self) -> Path:
        """Where the answer is kept."""
        parts = asdict(self) | _versions()
        return FOLDER / f"{sha256_of(json.dumps(parts, sort_keys=True).encode())[:16]}.json"


@dataclass(frozen=True)
class Request(Asked):
    """A module to be described. source: a digest of its file, or the version of its package (`source_of`).

    tokens: how many there are, if its inputs are tokens, else 0.
    """

    module: str
    arguments: Mapping[str, Any]
    source: str
    shape: tuple[int, ...]
    classes: int
    tokens: int = 0


@dataclass(frozen=True)
class LossRequest(Asked):
    """A loss of the user's own to be checked. source: as for modules; real: whether targets are real numbers."""

    loss: str
    source: str
    classes: int
    real: bool


@dataclass(frozen=True)
class CheckpointRequest(Asked):
    """A file with the weights of a network trained elsewhere, to be checked.

    content: a digest of the file. entry: where in it the state dictionary is. network: the section of a recipe.
    """

    checkpoint: str
    content: str
    entry: str
    network: Mapping[str, Any]
    shape: tuple[int, ...]
    classes: int


@dataclass(frozen=True)
class Description:
    """What is known about a module without running it again.

    parameters: trainable scalars; activations: numbers per example that differentiation keeps; multiplications: of a
    forward pass on one example; random: whether outputs in training are random; last_layer: the linear layer or
    convolution that is called last, empty if there is none; prunable: names of the weights that can be pruned. Five say
    why something is impossible, and are empty if it is not: training on a batch of one example (alone), several
    networks at once (together), second derivatives (curved), permuting hidden units (aligned), restoring their
    statistics (repaired). kept: why the hidden units in some parameters keep their positions, by parameter; matching:
    multiplications to compare all pairs of hidden units of two networks.
    """

    parameters: int
    activations: int
    multiplications: int
    batch_norm: bool
    convolutional: bool
    random: bool
    last_layer: str
    prunable: Sequence[str]
    alone: str
    together: str
    curved: str
    aligned: str
    repaired: str
    kept: Mapping[str, str]
    matching: int


@cache
def _versions() -> dict[str, str]:
    """What a description depends on besides the module."""
    return {"torch": version("torch"), "code": digest(INSPECTION)}


def source_of(module: str) -> str:
    """A digest of the file that `module` names and of the files beside it that it imports, or a package's version.

    Raises ConfigurationError if there is no such file or package, or if the file is not Python.
    """
    if not module.isprintable():
        raise ConfigurationError(f"{shown(module)} was given; it has characters that cannot be printed")
    place, colon, name = module.rpartition(":")
    if not colon or not place or not name:
        needed = "a file or a package, and a function in it: `models.py:build` or `torchvision.models:resnet18`"
        raise ConfigurationError(f"{module} was given; needed is {needed}")
    if place.endswith(".py"):
        try:
            return digest_beside(Path(place))
        except FileNotFoundError:
            raise ConfigurationError(f"{module} was given; there is no file {place}") from None
        except SyntaxError as error:
            raise ConfigurationError(f"{place}, line {error.lineno}, is not Python: {error.msg}") from error
    package = place.split(".")[0]
    found = find_spec(package) if package.isidentifier() else None
    if found is None or not found.has_location:  # neither are a folder without Python files and what has no files
        raise ConfigurationError(f"{module} was given; no package {package} is installed; a file has to end in .py")
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return digest_beside(Path(str(found.origin)))


def describe(requests: Sequence[Request]) -> list[Description | UserError]:
    """The description of each module, or why there is none; one process describes all that are not known yet."""
    return [UserError(each["error"]) if "error" in each else Description(**each) for each in _answers(requests)]


def mistakes(requests: Sequence[LossRequest] | Sequence[CheckpointRequest]) -> list[str]:
    """What is wrong with each loss or file of weights, in a sentence; empty if nothing is."""
    return [answer.get("error", "") for answer in _answers(requests)]


def _answers(requests: Sequence[Asked]) -> list[dict[str, Any]]:
    known: dict[Path, Any] = {}
    for request in requests:
        if request.file not in known:
            kept = read_record(request.file)
            known[request.file] = None if kept is None else kept.content
    waiting = list({request.file: request for request in requests if known[request.file] is None}.values())
    for request, answer in zip(waiting, _inspected(waiting) if waiting else [], strict=True):
        known[request.file] = answer
        if "error" not in answer:
            write_record(request.file, Record(request.file.stem, answer))
    return [known[request.file] for request in requests]


def _inspected(requests: Sequence[Asked]) -> list[dict[str, Any]]:
    """The answers of `isthmus.models.inspection`. Raises ConfigurationError if it ends without any."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests.json"), Path(folder, "answers.json")
        asked.write_text(json.dumps([asdict(request) for request in requests]), encoding="utf-8")
        path = os.pathsep.join([str(LIBRARY.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "isthmus.models.inspection", str(asked), str(answered)]
        ended = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        if not answered.exists():
            last = "\n".join(ended.stderr.splitlines()[-5:])
            what = "modules, losses or files of weights could not be described"
            raise ConfigurationError(f"{what}; the process ended with:\n{last}")
        return json.loads(answered.read_text(encoding="utf-8"))
