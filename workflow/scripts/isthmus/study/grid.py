"""Studies, cells, blocks: what the workflow works through, and the names of its folders.

A cell is one combination of all axes but the seed, and its name spells it out: `width=128+depth=2+batch_size=32`.
Names depend on the cell alone, and blocks are numbered by what they hold, so that a new seed, width or study
adds names and changes none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from isthmus.recipes.cells import combinations
from isthmus.recipes.pairs import choose_pairs, pair_blocks
from isthmus.recipes.recipe import Recipe
from isthmus.tables.descriptions import Stage

SECTIONS = ("data", "network", "training")
WHOLE = "all"  # in the place of a cell: the folder of what works on the whole study in one job


@dataclass(frozen=True)
class Cell:
    """One combination of axes: `axes` holds their values, `recipe` everything else too."""

    study: str
    name: str
    axes: dict[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Study:
    """A named block of the configuration: its cells by name, its seeds, and its analyses with their options."""

    name: str
    cells: dict[str, Cell]
    seeds: tuple[int, ...]
    analyses: dict[str, dict[str, Any]]

    def cells_of(self, stage: str) -> list[str]:
        """Names of the cells that a stage works on: all of them for training, those in `where` for an analysis.

        An analysis with sweeps of its own, whose networks are not the study's, has these in the place of cells, and one
        of the whole study, which has no `where`, a single folder.
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
        """What a cell holds for a stage: the seeds of its networks, or the pairs of them that are asked for.

        All cells of a study hold the same; `cell` is the sweep where the stage has sweeps, each with its number of
        seeds. The whole study is one member, 0.
        """
        if stage.unit == "study":
            return [0]
        if stage.unit == "seed":
            return list(self.seeds)
        if stage.unit == "sweep":
            return list(range(self.analyses[stage.name]["sweeps"][cell]["seeds"]))
        return choose_pairs(self.seeds, self.analyses[stage.name]["pairs"])

    def blocks_of(self, stage: Stage, jobs: dict[str, Any], cell: str = "") -> dict[int, tuple[Any, ...]]:
        """The members of a stage by the index of the block, that is of the job, that handles them together."""
        members = self.members_of(stage, cell)
        if stage.unit == "pair":
            return pair_blocks(members, jobs["pairs"])
        together = self.analyses[stage.name]["sweeps"][cell]["together"] if stage.unit == "sweep" else None
        return blocks(members, together or jobs["seeds"])


def cells(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The axes of every cell of a grid."""
    return combinations({axis: values for axis, values in grid.items() if axis != "seed"})


def sections_of(study: dict[str, Any], axes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections `data`, `network`, `training` of one cell: its axes in place, its learning rate looked up.

    The learning rate is None where it is given by batch size and this one is missing.
    """
    sections = {section: dict(study[section]) for section in SECTIONS}
    homes = {"width": "network", "depth": "network", "batch_size": "training"}
    for axis, value in axes.items():
        home = homes.get(axis) or next(section for section in SECTIONS if axis in study[section])
        sections[home][axis] = value
    rate = sections["training"]["learning_rate"]
    if isinstance(rate, dict):
        sections["training"]["learning_rate"] = rate.get(str(axes["batch_size"]))
    return sections


def blocks(seeds: Iterable[int], size: int) -> dict[int, tuple[int, ...]]:
    """Seeds by the index of the block that holds them: block b has the seeds b * size, ..., b * size + size - 1."""
    found: dict[int, list[int]] = {}
    for seed in sorted(seeds):
        found.setdefault(seed // size, []).append(seed)
    return {index: tuple(members) for index, members in sorted(found.items())}
