"""The graph of jobs: the blocks, tables and figures of a checked configuration.

The rules of the workflow use it, and `isthmus.study.jobs` for what a single job reads and needs. Nothing here depends
on Snakemake.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.analyses.claims.statements import parse_claims
from isthmus.core.digest import digest
from isthmus.core.files import expanded
from isthmus.recipes.cell_table import CELLS
from isthmus.recipes.cells import AXES, axis_order
from isthmus.recipes.pairs import Pair
from isthmus.study.config import Configuration
from isthmus.study.data_checks import FILES
from isthmus.study.elsewhere import figures_without_data, given_files, measured_in
from isthmus.study.figure_files import CELLS_OF_STUDY, SUMMARIES_OF_STAGE, kinds, overall_stages, table_files
from isthmus.study.grid import Study
from isthmus.tables.descriptions import Figure, Stage, stages, table
from isthmus.tables.quantities import Quantity, compared, quantities

SCRIPTS = Path(__file__).resolve().parents[2]

DATA_PACKAGE = "results/tables/datapackage.json"
"""The description of all tables, which other programs understand."""

KEEP_TENSORS = ("train", "tickets")
"""The stages whose jobs keep weights or masks."""


def code(script: str) -> str:
    """The digest of the library code behind a script; as a parameter of jobs, it reruns them when that code changes."""
    return digest(SCRIPTS / script, plumbing=script == "collect_table.py")


class Graph:
    """The jobs of a checked configuration. claims: the content of `workflow/claims.yaml`.

    Raises ConfigurationError if the claims are invalid.
    """

    def __init__(self, configuration: Configuration, claims: dict[str, Any]) -> None:
        self.configuration = configuration
        self.settings = configuration.jobs
        self.claims = claims
        self._claimed = {"networks", *(claim.table for claim in parse_claims(claims))}
        self.blocks = cache(self._blocks)  # every job needs them

    def _blocks(self, study: str, stage: str, sweep: str = "") -> dict[int, tuple[Any, ...]]:
        """The seeds or pairs of seeds that each job of a stage handles, by block number."""
        return self.configuration.studies[study].blocks_of(stages()[stage], self.settings, sweep)

    def stages_of(self, study: Study) -> list[Stage]:
        """Training and the analyses that a study requests, or whose tables it is made of."""
        given = study.elsewhere.files if study.elsewhere else {}
        return [
            stage
            for stage in stages().values()
            if stage.name in ("train", *study.analyses) or any(made.name in given for made in stage.tables)
        ]

    def studies_trained(self, elsewhere: bool) -> str:
        """The names of the studies whose networks were trained elsewhere, or are trained here, as a pattern."""
        studies = self.configuration.studies.items()
        return "|".join(name for name, study in studies if bool(study.checkpoints) == elsewhere) or "(?!)"

    # Data sets

    def sources(self, dataset: str) -> list[str]:
        """The files that a data set is prepared from, if the configuration names them one by one."""
        described = self.configuration.datasets[dataset]
        given = [described[key] for key in FILES.get(described["source"], ()) if described["source"] != "folder"]
        return [str(expanded(path)) for paths in given for path in ([paths] if isinstance(paths, str) else paths)]

    def content(self, dataset: str) -> dict[str, Any]:
        """What determines a data set's content, not where to find it; for folders, a digest of what is in them."""
        described = self.configuration.datasets[dataset]
        content = {key: value for key, value in described.items() if key not in ("root", "download")}
        if content["source"] == "folder":
            from isthmus.data import image_folders  # needs Pillow, which other data sets do without

            content |= {half: image_folders.digest(content[half]) for half in FILES["folder"]}
        return content

    # Tables

    def parts(self, name: str) -> list[str]:
        """The files that a table is collected from, in the order of studies, cells and blocks."""
        stage = stages()[table(name).stage]
        found = []
        for study in self.configuration.studies.values():
            if study.elsewhere and name in study.elsewhere.files:
                found.append(f"results/{study.name}/taken/{name}.parquet")
            elif stage in self.stages_of(study):
                found += [
                    f"results/{study.name}/{stage.name}/{cell}/{block}.{name}.parquet"
                    for cell in study.cells_of(stage.name)
                    for block in self.blocks(study.name, stage.name, cell if stage.unit == "sweep" else "")
                ]
        return found

    def tensors(self) -> list[str]:
        """The files of weights and masks, which a user needs as much as the tables."""
        return [
            f"results/{study.name}/{stage.name}/{cell}/{block}.safetensors"
            for study in self.configuration.studies.values()
            for stage in self.stages_of(study)
            if stage.name in KEEP_TENSORS and not study.elsewhere
            for cell in study.cells_of(stage.name)
            for block in self.blocks(study.name, stage.name)
        ]

    def given_files(self, study: str, name: str) -> list[str]:
        """The files from which a table is taken that was measured elsewhere."""
        elsewhere = self.configuration.studies[study].elsewhere
        return given_files(elsewhere, name) if elsewhere else []

    def unknown_columns(self, name: str) -> list[str]:
        """The columns of a table that a study made of tables lacks, so that they may be null."""
        given = [study.elsewhere.files for study in self.configuration.studies.values() if study.elsewhere]
        lacking = [files[name][1] for files in given if name in files]
        return [column.name for column in table(name).columns if any(column.name not in known for known in lacking)]

    def collected(self) -> list[str]:
        """The names of the tables that are collected from the studies, each once."""
        found = {
            made.name: None
            for study in self.configuration.studies.values()
            for stage in self.stages_of(study)
            for made in stage.tables
        }
        return list(found)

    def tables(self) -> list[str]:
        """The files of all tables: those collected from the studies, and those made from them."""
        made = [made.name for stage in overall_stages() for made in stage.tables]
        return table_files([*self.collected(), *made])

    def cells(self, *studies: str) -> list[dict[str, Any]]:
        """The rows of the table `cells`: those of `studies`, or of all studies.

        They have a column for every axis of these studies, null where a study does not have the axis. Width and depth
        are those of the network where they are no axes.
        """
        chosen = studies or self.configuration.studies
        found = [(name, *each) for name in chosen for each in self.configuration.studies[name].axes().items()]
        axes = axis_order({*AXES, *(axis for _, _, own in found for axis in own)})
        return [{"study": study, "cell": cell} | {axis: own.get(axis) for axis in axes} for study, cell, own in found]

    def claimed_tables(self) -> list[str]:
        """The files of the collected tables that claims use, if a study makes them, and of `cells`."""
        return table_files([*(name for name in self.collected() if name in self._claimed), CELLS])

    def network_tables(self, study: str) -> list[str]:
        """The tables of a study's networks, pairs and cells, which an analysis of the whole study reads."""
        asked = self.stages_of(self.configuration.studies[study])
        names = [made.name for stage in asked if stage.unit in ("seed", "pair") for made in stage.tables]
        return [*table_files(names), CELLS_OF_STUDY.format(study=study)]

    def quantities(self, study: str) -> list[dict[str, Any]]:
        """The quantities in these tables; jobs have them as a parameter, to rerun when a description changes."""
        made = {Path(path).stem for path in self.network_tables(study)}
        return [asdict(each) for each in compared() if each.table in made and self._has(study, each)]

    def _has(self, study: str, quantity: Quantity) -> bool:
        """Whether the tables of a study have the columns of a quantity."""
        elsewhere = self.configuration.studies[study].elsewhere
        return elsewhere is None or measured_in(quantity, elsewhere)

    def summaries(self) -> list[str]:
        """The files that the table `summaries` is collected from: one for each stage of a study that has quantities."""
        return [
            SUMMARIES_OF_STAGE.format(study=study.name, stage=stage.name)
            for study in self.configuration.studies.values()
            for stage in self.stages_of(study)
            if self.summarized(study.name, stage.name)
        ]

    def summarized(self, study: str, stage: str) -> list[dict[str, Any]]:
        """The quantities of a stage, as far as the study has them."""
        made = {table.name for table in stages()[stage].tables}
        return [asdict(each) for each in quantities() if each.table in made and self._has(study, each)]

    def summarized_tables(self, study: str, stage: str) -> list[str]:
        """The files that a stage's quantities are summarized from."""
        names = dict.fromkeys(["networks", *(quantity["table"] for quantity in self.summarized(study, stage))])
        return [*table_files(list(names)), CELLS_OF_STUDY.format(study=study)]

    # Figures

    def figures(self) -> list[str]:
        """The files of all figures: PDF for papers, PNG for the report, and CSV with the numbers that they show."""
        drawn = [("results/figures", figure) for stage in overall_stages() for figure in stage.figures]
        for study in self.configuration.studies.values():
            drawn += [(f"results/figures/{study.name}", figure) for figure in self.figures_of_study(study)]
        return [f"{folder}/{figure.name}.{kind}" for folder, figure in drawn for kind in kinds(figure)]

    def figures_of_study(self, study: Study) -> list[Figure]:
        """The figures of a study, in the order of its stages."""
        asked = self.stages_of(study)
        names = {stage.name for stage in asked}
        return [figure for stage in asked for figure in stage.figures if set(figure.requires) <= names]

    def drawing(self, stage: str) -> dict[str, Any]:
        """The parameters of a job that draws a stage's figures: what they show, and the digests of the code for it.

        Figures of means need no code of their own, so that a stage may have no module in `isthmus.figures`.
        """
        folder = SCRIPTS / "isthmus" / "figures"
        own = folder / f"{stage}.py"
        modules = [folder / "numbers.py", folder / "means.py", *([own] if own.exists() else [])]
        figures = {figure.name: asdict(figure) for figure in stages()[stage].figures}
        digests = [digest(path) for path in modules]
        return {"stage": stage, "figures": figures, "code": digests, "elsewhere": self.elsewhere}

    def elsewhere(self, wildcards: Any) -> dict[str, Any]:
        """What is said under the figures of a study made of tables, and those without data; empty for other studies."""
        study = self.configuration.studies.get(getattr(wildcards, "study", ""))
        if study is None or study.elsewhere is None:
            return {}
        absent = [figure.name for figure in figures_without_data(self.figures_of_study(study), study.elsewhere)]
        return {"source": study.elsewhere.source, "remarks": study.elsewhere.remarks, "without_data": absent}

    def measured_by(self) -> dict[str, str]:
        """Whose measurements the studies made of tables are, by study."""
        studies = self.configuration.studies.values()
        return {study.name: study.elsewhere.source for study in studies if study.elsewhere}

    # Checkpoints

    def full_blocks(self, study: Study, stage: Stage) -> set[int]:
        """The blocks that no new seed can change: they are full, and so are their networks' training blocks.

        A sweep has none, because it may grow along its other axes. Neither does an analysis of a whole study.
        """
        if stage.unit not in ("seed", "pair"):
            return set()
        members = self.blocks(study.name, stage.name)
        full = {block for block, held in members.items() if len(held) == self.settings[f"{stage.unit}s"]}
        if stage.unit == "seed":
            return full
        trained = self.full_blocks(study, stages()["train"])
        return {block for block in full if self.training_blocks(members[block]) <= trained}

    def training_blocks(self, pairs: Iterable[Pair]) -> set[int]:
        """The training blocks that hold the networks of these pairs."""
        return {seed // self.settings["seeds"] for pair in pairs for seed in pair}

    def finished_checkpoints(self) -> Iterator[Path]:
        """The folders of checkpoints that no job will need again. Blocks that may still grow keep theirs."""
        for study in self.configuration.studies.values():
            for stage in self.stages_of(study):
                for cell in study.cells_of(stage.name):
                    for block in self.full_blocks(study, stage):
                        own = Path(study.name, stage.name, cell)
                        folder = Path("results/checkpoints", own, str(block))
                        if folder.exists() and any(Path("results", own).glob(f"{block}.*")):
                            yield folder
