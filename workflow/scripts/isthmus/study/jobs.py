"""The jobs of one stage: the inputs, parameters and resources of its rule.

Rules name the methods directly, because these take Snakemake's `wildcards`. They read the strings `study`, `cell` (or
`sweep`) and `block`; any object that has these will do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from isthmus.data.facts import Facts
from isthmus.recipes.recipe import Recipe
from isthmus.study.costs import cost_of
from isthmus.study.graph import Graph
from isthmus.tables.descriptions import stages
from isthmus.training.cost import Work, run_time

# Options that select what an analysis works on. They do not change a job's results, so jobs do not get them.
CHOICES = ("where", "pairs", "sweeps")
# What a job requests if its stage has no module `cost`.
DEFAULT_MB, DEFAULT_MINUTES = 4000, 60
# Of the node's memory, what a GPU's libraries take beside that: a guess, as no GPU has been seen (docs/gpu.md).
GPU_MB = 2000


@dataclass(frozen=True)
class Jobs:
    """The jobs of the stage called `stage`. gpu: whether they run on GPUs if the configuration requests these."""

    graph: Graph
    stage: str
    gpu: bool = True

    @property
    def unit(self) -> str:
        """What the members of a block are: `seed`, `pair`, or `sweep` for seeds of the analysis's own networks."""
        return stages()[self.stage].unit

    def options(self, wildcards: Any) -> dict[str, Any]:
        """The options of the analysis that determine what a job measures."""
        return {key: value for key, value in self._options(wildcards).items() if key not in CHOICES}

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """The recipe of a cell as a job gets it: values that YAML and JSON can hold, without estimates."""
        return self.cell_recipe(wildcards).as_dict()

    def members(self, wildcards: Any) -> list[Any]:
        """The seeds, or the pairs of seeds, of a block."""
        held = self._blocks(wildcards)[int(wildcards.block)]
        return [list(pair) for pair in held] if self.unit == "pair" else list(held)

    def plane_pair(self, wildcards: Any) -> list[int]:
        """The first pair of a cell, whose planes are drawn; empty for blocks without it."""
        first = list(next(iter(self._blocks(wildcards).values()))[0])
        return first if first in self.members(wildcards) else []

    def sweep(self, wildcards: Any) -> dict[str, Any]:
        """The axes of a sweep, without `seeds` and `together`, so that more seeds do not rerun full blocks."""
        return {key: value for key, value in self._sweep(wildcards).items() if key not in ("seeds", "together")}

    # Inputs

    def checkpoints(self, wildcards: Any) -> list[str]:
        """The files of the networks of a block, trained elsewhere."""
        return [file for files in self._checkpoints(wildcards)[0].values() for file in files]

    def snapshots(self, wildcards: Any) -> dict[str, dict[str, Any]]:
        """How the networks of a block are read from these files, by snapshot; their digests rerun jobs."""
        (files, entries), contents = self._checkpoints(wildcards), self.graph.configuration.contents
        return {
            name: {"files": each, "entry": entries[name], "contents": [contents[file] for file in each]}
            for name, each in files.items()
        }

    def data(self, wildcards: Any) -> str | list[str]:
        """The prepared data set of a cell, or of the study if a sweep uses its images."""
        wanted = self.unit != "sweep" or "images" in self._sweep(wildcards)["data"]
        return _data_file(self.cell_recipe(wildcards).data.name) if wanted else []

    def shifted_data(self, wildcards: Any) -> list[str]:
        """The second data set that networks are tested on, if one is requested."""
        name = self._options(wildcards)["shifted_data"]
        return [_data_file(name)] if name else []

    def weights(self, wildcards: Any) -> list[str]:
        """The files of weights with the networks of a block of pairs."""
        return self._training_files(wildcards, "safetensors")

    def networks(self, wildcards: Any) -> list[str]:
        """The parts of the table `networks` with the networks of a block of pairs."""
        return self._training_files(wildcards, "networks.parquet")

    # Resources

    @property
    def resources(self) -> dict[str, Any]:
        """What a job requests: memory, run time, GPUs, and `jobs.gpu_resources`."""
        settings = self.graph.settings
        gpu = {"gpu": settings["gpu"]} | settings["gpu_resources"] if self.gpu else {}
        return {"mem_mb": self.memory_mb, "runtime": self.minutes} | gpu

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """A generous estimate of the memory of a job, in MB, multiplied by the number of the attempt."""
        cost, settings = cost_of(self.stage), self.graph.settings
        libraries = GPU_MB if self.gpu and (settings["gpu"] or settings["gpu_resources"]) else 0
        if cost is None:
            return attempt * (DEFAULT_MB + libraries)
        size = [] if self.unit == "sweep" else [settings["evaluation_batch_size"]]
        return attempt * (cost.memory_mb(*self._priced(wildcards), *size) + libraries)

    def minutes(self, wildcards: Any, attempt: int) -> int:
        """A generous estimate of the run time of a job, longer for later attempts, at most `jobs.longest_minutes`."""
        work = self.work(wildcards)
        minutes = DEFAULT_MINUTES if work is None else work.minutes()
        return run_time(minutes, attempt, self.graph.settings["longest_minutes"])

    def work(self, wildcards: Any) -> Work | None:
        """The work of a job; None if its stage has no module `cost`."""
        cost = cost_of(self.stage)
        if cost is None:
            return None
        inputs = [prod(self.facts(wildcards).shape)] if self.unit == "sweep" else []
        return cost.work(*self._priced(wildcards), *inputs)

    def disk_bytes(self, wildcards: Any) -> float:
        """The bytes of weights that a job leaves on disk."""
        leaves: Callable[..., float] | None = getattr(cost_of(self.stage), "disk_bytes", None)
        return leaves(*self._priced(wildcards)) if leaves else 0.0

    def facts(self, wildcards: Any) -> Facts:
        """The sizes of the data set."""
        return self.graph.configuration.facts[self.cell_recipe(wildcards).data.name]

    def cell_recipe(self, wildcards: Any) -> Recipe:
        """The recipe of a cell; for a sweep, that of the first cell of its study."""
        cells = self.graph.configuration.studies[wildcards.study].cells
        return (next(iter(cells.values())) if self.unit == "sweep" else cells[wildcards.cell]).recipe

    def _checkpoints(self, wildcards: Any) -> tuple[dict[str, list[str]], dict[str, str]]:
        """The files of the networks of a block, and the entries in them, by snapshot; none of networks trained here."""
        study = self.graph.configuration.studies[wildcards.study]
        if study.checkpoints is None:
            return {}, {}
        axes = study.cells[wildcards.cell].axes
        return study.checkpoints.files(axes, self.members(wildcards)), study.checkpoints.entries

    def _priced(self, wildcards: Any) -> tuple[Any, ...]:
        """The first arguments of every function in a module `cost`."""
        options, count = self._options(wildcards), len(self.members(wildcards))
        if read := stages()[self.stage].reads:  # what there is to be done follows from what that one keeps
            options = options | {read: self.graph.configuration.studies[wildcards.study].analyses[read]}
        if self.unit == "sweep":
            return options, self._sweep(wildcards), count
        return self.cell_recipe(wildcards), self.facts(wildcards), options, count

    def _options(self, wildcards: Any) -> dict[str, Any]:
        return self.graph.configuration.studies[wildcards.study].analyses.get(self.stage, {})

    def _sweep(self, wildcards: Any) -> dict[str, Any]:
        return self._options(wildcards)["sweeps"][wildcards.sweep]

    def _blocks(self, wildcards: Any) -> dict[int, tuple[Any, ...]]:
        sweep = wildcards.sweep if self.unit == "sweep" else ""
        return self.graph.blocks(wildcards.study, self.stage, sweep)

    def _training_files(self, wildcards: Any, suffix: str) -> list[str]:
        folder = f"results/{wildcards.study}/train/{wildcards.cell}"
        return [f"{folder}/{block}.{suffix}" for block in sorted(self.graph.training_blocks(self.members(wildcards)))]


def _data_file(dataset: str) -> str:
    return f"results/data/{dataset}.safetensors"
