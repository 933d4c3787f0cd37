"""What the rules of the workflow ask, without Snakemake: blocks, tables, figures, checkpoints."""

from pathlib import Path
from typing import Any

import pytest
from running import SCRIPTS, configuration, small_study

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.digest import digest
from isthmus.core.errors import ConfigurationError
from isthmus.study.config import load
from isthmus.study.figure_files import figure_tables, figures_of, in_report, kinds, overall_stages
from isthmus.study.graph import Graph, code
from isthmus.study.schema import axis_columns
from isthmus.tables.descriptions import stages

CLAIMS = read_claims()
CELLS = [f"width={width}+depth=1+batch_size=128" for width in (4, 8)]


def graph_of(jobs: dict[str, Any] | None = None, seed: int = 3, **analyses: dict[str, Any]) -> Graph:
    """The graph of the small study with these analyses; two seeds and two pairs to a job unless `jobs` differs."""
    config = configuration(small=small_study(seed=seed) | {"analyses": analyses})
    config["jobs"] |= {"pairs": 2} | (jobs or {})
    return Graph(load(config), CLAIMS)


def test_the_code_of_a_script_is_the_digest_of_its_library_modules() -> None:
    assert code("train.py") == digest(SCRIPTS / "train.py")
    assert code("isthmus/figures/train.py") == digest(SCRIPTS / "isthmus/figures/train.py")


def test_how_tables_are_written_counts_where_they_are_collected_alone() -> None:
    assert code("collect_table.py") == digest(SCRIPTS / "collect_table.py", plumbing=True)
    assert code("collect_table.py") != digest(SCRIPTS / "collect_table.py")


def test_claims_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        Graph(load(configuration(small=small_study())), CLAIMS | {"claims": [{"id": "A1"}]})


def test_blocks_hold_seeds_and_pairs_in_the_numbers_of_the_configuration() -> None:
    graph = graph_of(connect={})
    assert graph.blocks("small", "train") == {0: (0, 1), 1: (2,)}
    assert graph.blocks("small", "connect") == {0: ((0, 1), (0, 2)), 1: ((1, 2),)}


def test_a_study_has_training_and_the_analyses_it_asks_for() -> None:
    graph = graph_of(movement={}, curvature={})
    names = [stage.name for stage in graph.stages_of(graph.configuration.studies["small"])]
    assert names == ["train", "curvature", "movement"]


# Data sets


def test_a_data_set_is_prepared_from_the_files_that_are_named(tmp_path: Path) -> None:
    config = configuration(small=small_study())
    config["datasets"] = {"own": {"source": "parquet", "train": ["~/a.parquet", "b.parquet"], "test": "c.parquet"}}
    graph = Graph(load(config), CLAIMS)
    assert graph.sources("own") == [str(Path.home() / "a.parquet"), "b.parquet", "c.parquet"]
    assert graph.sources("digits") == []


def test_where_a_data_set_is_looked_for_is_no_part_of_its_content() -> None:
    config = configuration(small=small_study())
    here, there = (Graph(load(config | {"datasets": {"MNIST": {"root": root}}}), CLAIMS) for root in ("a", "b"))
    assert here.configuration.datasets["MNIST"]["root"] != there.configuration.datasets["MNIST"]["root"]
    assert here.content("MNIST") == there.content("MNIST")
    assert here.content("MNIST")["source"] == "builtin"


# Tables


def test_a_table_is_collected_from_every_block_of_every_cell_that_is_measured() -> None:
    graph = graph_of(movement={"where": {"width": [8]}})
    trained = [f"results/small/train/{cell}/{block}.networks.parquet" for cell in CELLS for block in (0, 1)]
    assert graph.parts("networks") == trained
    moved = [f"results/small/movement/{CELLS[1]}/{block}.movement.parquet" for block in (0, 1)]
    assert graph.parts("movement") == moved
    assert graph.parts("curvature") == []


def test_a_table_of_a_sweep_has_the_blocks_of_the_sweep_and_one_of_a_study_a_single_one() -> None:
    sweep = {"width": [3], "points": [4], "seeds": 5}
    graph = graph_of(manifold={"sweeps": {"edge": sweep}}, relations={})
    assert graph.parts("walks") == [f"results/small/manifold/edge/{block}.walks.parquet" for block in (0, 1, 2)]
    assert graph.parts("effects") == ["results/small/relations/all/0.effects.parquet"]


def test_all_tables_are_those_of_the_stages_and_of_the_claims() -> None:
    graph = graph_of(movement={})
    assert graph.collected() == ["networks", "history", "movement", "kernels"]
    names = (*graph.collected(), "cells", "claims", "summaries")
    assert graph.tables() == [f"results/tables/{name}.parquet" for name in names]


def test_weights_and_masks_are_asked_for_as_much_as_tables() -> None:
    asked = graph_of(tickets={}, movement={}).tensors()
    assert len(asked) == len(set(asked))
    assert {path.split("/")[2] for path in asked} == {"train", "tickets"}
    assert [path for path in asked if "train" in path] == [
        path.removesuffix(".history.parquet") + ".safetensors" for path in graph_of().parts("history")
    ]


def test_studies_share_their_tables() -> None:
    graph = Graph(load(configuration(a=small_study(), b=small_study())), CLAIMS)
    assert graph.collected() == ["networks", "history"]
    assert [path.split("/")[1] for path in graph.parts("history")] == ["a", "a", "b", "b"]


def test_claims_are_tested_on_the_tables_they_name_as_far_as_these_are_made() -> None:
    claimed = set(graph_of(movement={}).claimed_tables())
    assert "results/tables/networks.parquet" in claimed
    assert "results/tables/history.parquet" not in claimed
    assert claimed <= set(graph_of(movement={}).tables())
    assert claimed < set(graph_of(movement={}, connect={}).claimed_tables())


def two_studies() -> Graph:
    """A study with train_size and nesterov as axes, and one with a learning rate instead."""
    first = small_study(width=[4], train_size=[None, 300], nesterov=[True])
    second = small_study(width=[4], learning_rate=[1, 0.05])
    return Graph(load(configuration(first=first, second=second)), CLAIMS)


def test_the_cells_of_all_studies_have_the_axes_of_each_and_null_for_others() -> None:
    shared = {"width": 4, "depth": 1, "batch_size": 128}
    own = [{"nesterov": True, "train_size": size} for size in (None, 300)]
    others = [{"learning_rate": rate} for rate in (1.0, 0.05)]
    graph = two_studies()
    assert [{key: row[key] for key in row if key not in ("study", "cell")} for row in graph.cells("first")] == [
        shared | axes for axes in own
    ]
    names = dict.fromkeys(("learning_rate", "nesterov", "train_size"))
    assert list(graph.cells()[0]) == ["study", "cell", *shared, *names], "as in the name of a cell"
    found = [(row.pop("study"), row.pop("cell"), row) for row in graph.cells()]
    assert [(study, axes) for study, _, axes in found] == [
        *(("first", shared | names | axes) for axes in own),
        *(("second", shared | names | axes) for axes in others),
    ]
    assert [cell for _, cell, _ in found] == [
        cell for study in graph.configuration.studies.values() for cell in study.cells
    ]


def test_the_cells_of_a_study_are_the_same_whatever_other_studies_there_are() -> None:
    alone = Graph(load(configuration(first=small_study(width=[4], train_size=[None, 300], nesterov=[True]))), CLAIMS)
    assert alone.cells("first") == alone.cells() == two_studies().cells("first")


def test_an_axis_is_a_column_of_the_type_of_its_key() -> None:
    rows = two_studies().cells()
    columns = axis_columns({name: [row[name] for row in rows] for name in rows[0]})
    types = {column.name: (column.type, column.nullable) for column in columns}
    assert types == {"learning_rate": ("float64", True), "nesterov": ("bool", True), "train_size": ("int64", True)}
    values = {"optimizer": ["adam"], "name": ["digits"], "until_train_loss": [None]}
    assert [column.type for column in axis_columns(values)] == ["string", "string", "float64"]


def test_an_analysis_of_a_study_reads_the_tables_of_networks_and_pairs() -> None:
    sweep = {"width": [3], "points": [4], "seeds": 1}
    graph = graph_of(connect={}, manifold={"sweeps": {"edge": sweep}}, relations={})
    names = [Path(path).stem for path in graph.network_tables("small")]
    assert names == ["networks", "history", "connections", "paths", "planes", "cells"]


def test_quantities_are_those_of_the_tables_that_are_there() -> None:
    few, more = graph_of(relations={}).quantities("small"), graph_of(movement={}, relations={}).quantities("small")
    assert {quantity["table"] for quantity in few} == {"networks"}
    assert {quantity["table"] for quantity in more} == {"networks", "kernels"}
    assert len(more) > len(few) > 0


# Figures


def test_figures_are_drawn_for_what_a_study_asks_for_and_for_the_claims() -> None:
    figures = graph_of(movement={}).figures()
    wanted = [figure for name in ("train", "movement") for figure in stages()[name].figures]
    assert figures[:3] == [f"results/figures/claims.{kind}" for kind in ("pdf", "png", "csv")]
    assert figures[3:] == [f"results/figures/small/{figure.name}.{kind}" for figure in wanted for kind in kinds(figure)]


def test_figures_have_their_numbers_beside_them_unless_they_draw_single_measurements() -> None:
    summaries = {figure.name: figure.summary for stage in stages().values() for figure in stage.figures}
    assert summaries["test-accuracy"] == "summaries"
    assert summaries["effects"] == "effects"
    assert summaries["claims"] == "claims"
    assert summaries["planes"] == ""
    assert all(summaries[figure.name] for stage in stages().values() for figure in stage.figures if figure.lines)


def test_a_figure_that_requires_another_analysis_is_drawn_beside_it_only() -> None:
    outliers = "results/figures/small/manifold-outliers.pdf"
    manifold = {"sweeps": {"edge": {"width": [3], "points": [4], "seeds": 1}}}
    assert outliers not in graph_of(manifold=manifold).figures()
    assert outliers in graph_of(manifold=manifold, curvature={}).figures()
    assert [figure.name for figure in figures_of("manifold", "curvature")] == ["manifold-outliers"]
    assert "manifold-outliers" not in [figure.name for figure in figures_of("manifold")]


def test_figures_are_drawn_from_their_tables_each_named_once() -> None:
    tables = ["results/tables/networks.parquet", "results/tables/history.parquet"]
    own = ["results/{study}/cells/cells.parquet", "results/{study}/train/summaries.parquet"]
    assert figure_tables("train") == [*tables, *own]
    assert figure_tables("claims") == ["results/tables/claims.parquet"]
    assert "results/tables/curvature.parquet" in figure_tables("manifold", "curvature")


def test_the_report_shows_the_claims_first_and_other_figures_by_study() -> None:
    claims, accuracy = figures_of("claims")[0], figures_of("train")[0]
    first, other = in_report(claims, "png"), in_report(accuracy, "csv")
    assert first["category"] == f"1. {stages()['claims'].title}" < other["category"] == stages()["train"].title
    assert first["labels"] == {"figure": claims.title, "as": "figure"}
    assert other["labels"] == {"study": "{study}", "figure": accuracy.title, "as": "numbers (CSV)"}
    assert other["caption"] == f"../report/{accuracy.name}.rst"


def test_claims_are_the_stage_of_all_studies() -> None:
    assert "claims" in [stage.name for stage in overall_stages()]
    assert not {stage.name for stage in overall_stages()} & {"train", "relations", "manifold"}


# Checkpoints


def full(graph: Graph, stage: str) -> set[int]:
    return graph.full_blocks(graph.configuration.studies["small"], stages()[stage])


def test_a_block_is_full_when_it_has_all_its_seeds() -> None:
    assert full(graph_of(), "train") == {0}
    assert full(graph_of(seed=4), "train") == {0, 1}


def test_a_block_of_pairs_is_full_when_the_blocks_of_its_networks_are_too() -> None:
    assert full(graph_of(connect={}), "connect") == set()  # seed 2 is alone in its block
    assert full(graph_of(seed=4, connect={}), "connect") == {0, 1, 2}
    assert full(graph_of({"pairs": 1}, connect={}), "connect") == {0}
    assert full(graph_of(connect={}, relations={}), "relations") == set()


def test_pairs_lie_in_the_blocks_of_both_their_networks() -> None:
    assert graph_of().training_blocks([(0, 1)]) == {0}
    assert graph_of().training_blocks([(0, 5), (2, 4)]) == {0, 1, 2}


def test_checkpoints_of_full_blocks_whose_results_are_there_are_done_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in (0, 1, 2):
        Path("results/checkpoints/small/train", CELLS[0], str(block)).mkdir(parents=True)
    results = Path("results/small/train", CELLS[0])
    results.mkdir(parents=True)
    for block in (0, 2):  # the last one may still grow
        (results / f"{block}.safetensors").touch()
    finished = list(graph_of(seed=5).finished_checkpoints())
    assert finished == [Path("results/checkpoints/small/train", CELLS[0], "0")]


def test_summaries_are_made_for_every_stage_that_has_quantities() -> None:
    graph = graph_of(movement={})
    assert graph.summaries() == [f"results/small/{stage}/summaries.parquet" for stage in ("train", "movement")]
    tables = [f"results/tables/{name}.parquet" for name in ("networks", "kernels", "movement")]
    assert graph.summarized_tables("small", "movement") == [*tables, "results/small/cells/cells.parquet"]


@pytest.mark.parametrize("stage", ["train", "connect", "relations"])
def test_figures_are_drawn_again_when_code_of_their_stage_of_means_or_of_their_numbers_changes(stage: str) -> None:
    names = ("numbers", "means", stage)
    wanted = [digest(SCRIPTS / "isthmus" / "figures" / f"{name}.py") for name in names]
    assert graph_of().drawing(stage)["code"] == wanted
