"""A case of the check, and how it can end other than well."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

Measured = dict[str, Any]


class Skipped(Exception):
    """The machine lacks what a case needs; the message says what."""


class Unfinished(Exception):
    """A case ran out of time; the next call goes on with it. `measured`: how far it got."""

    def __init__(self, why: str, measured: Measured | None = None) -> None:
        super().__init__(why)
        self.measured = measured or {}


@dataclass(frozen=True)
class Options:
    """device: `cuda` or `cpu`. smallest: whether every case takes its smallest size.

    data: a folder with torchvision's data sets, or None. folder: where studies run and keep their checkpoints.
    """

    device: str
    smallest: bool
    data: Path | None
    folder: Path


@dataclass(frozen=True)
class Case:
    """run: measures, given the seconds that are left. limit: seconds after which it is given up as not measured."""

    name: str
    run: Callable[[float], Measured]
    limit: float = inf
