"""What the rule of a stage takes, without Snakemake: inputs, parameters, resources."""

from types import SimpleNamespace
from typing import Any

import pytest
from helpers import recipe
from running import configuration, small_study

from isthmus.analyses.claims.statements import read_claims
from isthmus.analyses.connect.cost import memory_mb as connect_memory
from isthmus.data.facts import BUILTIN
from isthmus.recipes.recipe import Recipe
from isthmus.study import costs
from isthmus.study.config import load
from isthmus.study.graph import Graph
from isthmus.study.jobs import CHOICES, DEFAULT_MB, DEFAULT_MINUTES, GPU_MB, Jobs
from isthmus.tables.descriptions import stages
from isthmus.training.cost import memory_mb as train_memory

CLAIMS = read_claims()
CELL = "width=8+depth=1+batch_size=128"
EDGE = {"width": [3], "points": [4], "seeds": 3}
FIRST = SimpleNamespace(study="small", cell=CELL, block="0")
OF_SWEEP = SimpleNamespace(study="small", sweep="edge", block="0")


def jobs_of(stage: str, options: dict[str, Any] | None = None, on_gpu: bool = True, **jobs: Any) -> Jobs:
    """The jobs of a stage of the small study, five seeds to a cell, two seeds or pairs to a job."""
    analyses = {} if stage == "train" else {stage: options or {}}
    config = configuration(small=small_study(seed=5) | {"analyses": analyses})
    config["jobs"] |= {"pairs": 2} | jobs
    return Jobs(Graph(load(config), CLAIMS), stage, on_gpu)


def at(block: int, cell: str = CELL) -> SimpleNamespace:
    return SimpleNamespace(study="small", cell=cell, block=str(block))


def sweep(**axes: Any) -> Jobs:
    return jobs_of("manifold", {"sweeps": {"edge": EDGE | axes}})


# Parameters


def test_a_job_is_not_told_what_chose_it() -> None:
    assert jobs_of("movement", {"where": {"width": [8]}}).options(FIRST) == jobs_of("movement").options(FIRST)
    assert jobs_of("connect", {"pairs": 3}).options(FIRST) == jobs_of("connect").options(FIRST)
    assert sweep(seeds=1).options(OF_SWEEP) == sweep(points=[5]).options(OF_SWEEP)


def test_all_other_options_reach_the_job() -> None:
    for stage in ("connect", "curvature", "movement", "robustness", "tickets"):
        described = stages()[stage].options
        assert described is not None
        assert jobs_of(stage).options(FIRST).keys() == described.keys() - set(CHOICES)


def test_the_recipe_is_that_of_the_cell() -> None:
    recipe = jobs_of("train").recipe(FIRST)
    assert recipe["network"]["width"] == 8
    assert Recipe.from_dict(recipe) == jobs_of("train").graph.configuration.studies["small"].cells[CELL].recipe


def test_members_are_the_seeds_or_pairs_of_the_block() -> None:
    assert [jobs_of("train").members(at(block)) for block in (0, 1, 2)] == [[0, 1], [2, 3], [4]]
    assert jobs_of("curvature").members(at(2)) == [4]
    assert jobs_of("connect").members(at(1)) == [[1, 2], [0, 3]]
    assert sweep().members(SimpleNamespace(study="small", sweep="edge", block="1")) == [2]


def test_planes_are_those_of_one_pair_of_a_cell() -> None:
    connect = jobs_of("connect")
    assert [connect.plane_pair(at(block)) for block in (0, 1, 2)] == [[0, 1], [], []]


def test_more_seeds_leave_a_sweep_as_it_is() -> None:
    assert sweep().sweep(OF_SWEEP) == sweep(seeds=9, together=2).sweep(OF_SWEEP)
    assert sweep().sweep(OF_SWEEP) != sweep(points=[5]).sweep(OF_SWEEP)
    assert sweep().sweep(OF_SWEEP)["width"] == [3]


# Inputs


def test_the_data_set_is_that_of_the_cell() -> None:
    assert jobs_of("train").data(FIRST) == "results/data/digits.safetensors"


def test_a_sweep_takes_data_where_it_asks_for_images() -> None:
    assert sweep().data(OF_SWEEP) == []
    assert sweep(data=["images"]).data(OF_SWEEP) == "results/data/digits.safetensors"


def test_a_second_data_set_is_one_that_is_asked_for() -> None:
    assert jobs_of("robustness").shifted_data(FIRST) == []
    assert jobs_of("robustness", {"shifted_data": "digits"}).shifted_data(FIRST) == ["results/data/digits.safetensors"]


def test_a_block_of_pairs_reads_the_blocks_of_its_networks() -> None:
    connect, folder = jobs_of("connect"), f"results/small/train/{CELL}"
    assert connect.weights(at(0)) == [f"{folder}/0.safetensors", f"{folder}/1.safetensors"]  # (0, 1), (0, 2)
    assert connect.networks(at(3)) == [f"{folder}/{block}.networks.parquet" for block in (0, 2)]  # (0, 4), (1, 4)


# Resources


def test_every_further_try_gets_more_memory_and_time_up_to_the_limit_of_the_partition() -> None:
    train = jobs_of("train")
    assert train.memory_mb(FIRST, 3) == 3 * train.memory_mb(FIRST, 1) > 0
    assert train.minutes(FIRST, 3) == 3 * train.minutes(FIRST, 1) > 0
    assert jobs_of("train", longest_minutes=15).minutes(FIRST, 3) == 15


@pytest.mark.parametrize("stage", ["train", "connect", "curvature", "movement", "robustness", "tickets"])
def test_resources_are_those_of_the_work_of_the_stage(stage: str) -> None:
    jobs, cost = jobs_of(stage), costs.cost_of(stage)
    assert cost is not None
    cell = jobs.graph.configuration.studies["small"]
    given = (cell.cells[CELL].recipe, BUILTIN["digits"], cell.analyses.get(stage, {}), 2)
    assert jobs.work(FIRST) == cost.work(*given)
    assert jobs.minutes(FIRST, 1) == cost.work(*given).minutes()
    assert jobs.memory_mb(FIRST, 1) == cost.memory_mb(*given, 256)


def test_paths_take_memory_for_hessians_only_if_they_are_asked_for() -> None:
    def memory(points: int, images: int) -> int:
        options = {"line_points": 25, "sharpness": {"points": points, "images": images}}
        return connect_memory(recipe(512, 2, 16, {"train_size": 1000}, {}, {}), BUILTIN["digits"], options, 1, 1)

    assert memory(0, 500) == memory(0, 1000) < memory(3, 500) < memory(3, 1000)


def test_statistics_take_memory_for_as_many_examples_as_there_are() -> None:
    def memory(statistics_size: int) -> int:
        data, training = {"train_size": 1000}, {"statistics_size": statistics_size}
        return train_memory(recipe(512, 2, 16, data, {"normalization": "batch"}, training), BUILTIN["digits"], {}, 1, 1)

    assert memory(100) < memory(1000) == memory(4096)


def test_resources_of_a_sweep_are_those_of_its_networks() -> None:
    jobs, cost = sweep(), costs.cost_of("manifold")
    assert cost is not None
    options = jobs.graph.configuration.studies["small"].analyses["manifold"]
    assert jobs.work(OF_SWEEP) == cost.work(options, options["sweeps"]["edge"], 2, 64)  # images of 8 x 8 pixels
    assert jobs.memory_mb(OF_SWEEP, 1) == cost.memory_mb(options, options["sweeps"]["edge"], 2)


def test_an_analysis_without_a_cost_asks_for_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.study.jobs.cost_of", lambda stage: None)
    jobs = jobs_of("movement")
    assert jobs.work(FIRST) is None
    assert (jobs.memory_mb(FIRST, 2), jobs.minutes(FIRST, 2)) == (2 * DEFAULT_MB, 2 * DEFAULT_MINUTES)
    assert jobs.disk_bytes(FIRST) == 0


def test_jobs_ask_for_gpus_and_their_partition_where_the_configuration_does() -> None:
    assert jobs_of("train").resources["gpu"] == 0
    asked = {"gpu": 2, "gpu_resources": {"slurm_partition": "gpu", "gpu_model": "a100"}}
    resources = jobs_of("train", **asked).resources
    assert resources.keys() == {"mem_mb", "runtime", "gpu", "slurm_partition", "gpu_model"}
    assert (resources["gpu"], resources["gpu_model"]) == (2, "a100")
    assert jobs_of("train", on_gpu=False, **asked).resources.keys() == {"mem_mb", "runtime"}
    usual = jobs_of("train").memory_mb(FIRST, 1)
    assert jobs_of("train", **asked).memory_mb(FIRST, 2) == 2 * (usual + GPU_MB)
    assert jobs_of("train", on_gpu=False, **asked).memory_mb(FIRST, 1) == usual


def test_weights_take_four_bytes_a_parameter_initial_and_final_as_result_and_as_checkpoint() -> None:
    parameters = 64 * 8 + 8 + 8 * 10 + 10
    assert jobs_of("train").disk_bytes(FIRST) == 2 * 2 * 2 * 4 * parameters  # of two networks


def test_facts_are_those_of_the_data_set() -> None:
    assert jobs_of("train").facts(FIRST) == BUILTIN["digits"]
