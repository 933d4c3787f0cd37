"""Studies, cells and blocks, and the names of their folders.

A cell is one combination of all axes except the seed, as its name says: `width=128+depth=2+batch_size=32`. A name
depends only on its cell and a block's number only on its members, so a new seed, width or study adds names but changes
none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from isthmus.recipes.cells import combinations
from isthmus.recipes.pairs import choose_pairs, pair_blocks
from isthmus.recipes.recipe import Recipe
from isthmus.tables.descriptions import Stage

SECTIONS = ("data", "network", "training")
WHOLE = "all"  # folder name, instead of a cell's, for stages that process a whole study in one job


@dataclass(frozen=True)
class Cell:
    """One combination of axes: `axes` has their values, `recipe` has everything."""

    study: str
    name: str
    axes: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Checkpoints:
    """The files of networks trained elsewhere, by snapshot: `final` and, if it is known, `initial`.

    patterns: of their paths, in the form of Python's `str.format`. entries: where in a file the state dictionary is, as
    `isthmus.models.state_dicts` reads it.
    """

    patterns: dict[str, str]
    entries: dict[str, str]

    @classmethod
    def of(cls, networks: dict[str, str]) -> "Checkpoints":
        """Those in the section `networks` of a study, with its defaults."""
        patterns, entries = {"final": networks["checkpoints"]}, {"final": networks["state_dict"]}
        if "initial" in networks:
            patterns["initial"] = networks["initial"]
            entries["initial"] = networks.get("initial_state_dict", networks["state_dict"])
        return cls(patterns, entries)

    def files(self, axes: dict[str, Any], seeds: Iterable[int]) -> dict[str, list[str]]:
        """The files of the networks of a cell with these seeds, by snapshot, in the order of the seeds.

        >>> Checkpoints({"final": "runs/{width}-{seed:02d}.pt"}, {"final": ""}).files({"width": 8}, [0, 1])
        {'final': ['runs/8-00.pt', 'runs/8-01.pt']}
        """
        return {name: [pattern.format(**axes, seed=seed) for seed in seeds] for name, pattern in self.patterns.items()}


@dataclass(frozen=True)
class Elsewhere:
    """The tables of a study whose networks were trained and measured elsewhere.

    source: whose measurements they are. remarks: what to know about them. files: path and columns, by table. folder:
    where the files are, with `cells.parquet` if there is one. axes: those of every cell, by its name. seeds: those of
    all networks.
    """

    source: str
    remarks: str
    folder: str
    files: dict[str, tuple[str, frozenset[str]]]
    axes: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """A named block of the configuration: its cells by name, its seeds, and its analyses with their options.

    checkpoints: the files of its networks, if these were trained elsewhere. A study made of tables has no cells to be
    trained.
    """

    name: str
    cells: dict[str, Cell]
    seeds: tuple[int, ...]
    analyses: dict[str, dict[str, Any]]
    checkpoints: Checkpoints | None = None
    elsewhere: Elsewhere | None = None

    def axes(self) -> dict[str, dict[str, Any]]:
        """The axes of every cell, by its name; width and depth are those of the network where they are no axes."""
        if self.elsewhere:
            return self.elsewhere.axes
        networks = {name: cell.recipe.network for name, cell in self.cells.items()}
        return {
            name: {"width": networks[name].width, "depth": networks[name].depth} | cell.axes
            for name, cell in self.cells.items()
        }

    def cells_of(self, stage: str) -> list[str]:
        """Names of the cells that a stage works on: all for training, those that `where` selects for an analysis.

        An analysis that trains its own networks has the names of its sweeps instead, and an analysis of the whole
        study, which has no `where`, has a single folder.
        """
        options = self.analyses.get(stage, {"where": {}})
        if "sweeps" in options:
            return list(options["sweeps"])
        if "where" not in options:
            return [WHOLE]
        where = options["where"]
        return [
            name
            for name, cell in self.cells.items()
            if all(cell.axes[axis] in values for axis, values in where.items())
        ]

    def members_of(self, stage: Stage, cell: str = "") -> list[Any]:
        """The members of a cell for a stage: the seeds of its networks, or the requested pairs of them.

        All cells of a study have the same members. If the stage has sweeps, `cell` names one of them, each with its own
        number of seeds. A whole study has one member, 0.
        """
        if stage.unit == "study":
            return [0]
        if stage.unit == "seed":
            return list(self.seeds)
        if stage.unit == "sweep":
            return list(range(self.analyses[stage.name]["sweeps"][cell]["seeds"]))
        return choose_pairs(self.seeds, self.analyses[stage.name]["pairs"])

    def blocks_of(self, stage: Stage, jobs: dict[str, Any], cell: str = "") -> dict[int, tuple[Any, ...]]:
        """The members of a stage by block index; one job handles a block."""
        members = self.members_of(stage, cell)
        if stage.unit == "pair":
            return pair_blocks(members, jobs["pairs"])
        together = self.analyses[stage.name]["sweeps"][cell]["together"] if stage.unit == "sweep" else None
        return blocks(members, together or jobs["seeds"])


def cells(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The axes of every cell of a grid."""
    return combinations({axis: values for axis, values in grid.items() if axis != "seed"})


def is_own(study: dict[str, Any]) -> bool:
    """Whether the networks of a study are the user's own, and not those of a built-in architecture."""
    return "module" in study["network"]


def is_trained_elsewhere(study: dict[str, Any]) -> bool:
    """Whether a study has files of weights in the place of training."""
    return "networks" in study


def sections_of(study: dict[str, Any], axes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections `data`, `network`, `training` of one cell, with its axes filled in and learning rate looked up.

    The learning rate is None if it is given by batch size and this one is missing.
    """
    sections = {section: dict(study[section]) for section in SECTIONS}
    network = sections["network"]
    if is_own(study):
        network = dict(network.get("arguments", {}))
        sections["network"] = {"module": study["network"]["module"], "arguments": network}
    for axis, value in axes.items():
        home = next((sections[name] for name in ("data", "training") if axis in study[name]), network)
        (sections["training"] if axis == "batch_size" else home)[axis] = value
    rate = sections["training"]["learning_rate"]
    if isinstance(rate, dict):
        sections["training"]["learning_rate"] = rate.get(str(axes["batch_size"]))
    return sections


def blocks(seeds: Iterable[int], size: int) -> dict[int, tuple[int, ...]]:
    """Seeds by the index of their block; block b has the seeds b * size, ..., b * size + size - 1."""
    found: dict[int, list[int]] = {}
    for seed in sorted(seeds):
        found.setdefault(seed // size, []).append(seed)
    return {index: tuple(members) for index, members in sorted(found.items())}
