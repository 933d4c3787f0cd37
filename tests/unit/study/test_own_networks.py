"""Networks of the user's own in the configuration: recipes, cells, and mistakes that are found before any job runs."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import ROOT, configuration, folder_with, loaded_from

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.errors import ConfigurationError
from isthmus.core.files import read_yaml
from isthmus.recipes.recipe import ModuleRecipe, Recipe
from isthmus.study.config import Configuration, load
from isthmus.study.graph import Graph
from isthmus.study.jobs import Jobs
from isthmus.study.schema import axis_columns

ANALYSES: dict[str, Any] = {"connect": {}, "curvature": {}, "movement": {}, "tickets": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the modules, which keeps their descriptions. Modules are not to be changed."""
    return folder_with(tmp_path_factory, "own_models.py")


@pytest.fixture(autouse=True)
def working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def study(name: str = "mlp", arguments: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """A study of an own network; the grid has only what every grid must have, and keyword arguments."""
    return {
        "network": {"module": f"own_models.py:{name}"} | ({} if arguments is None else {"arguments": arguments}),
        "training": {"epochs": 1},
        "grid": {"batch_size": [128], "seed": 2} | others.pop("grid", {}),
    } | others


def loaded(**studies: Any) -> Configuration:
    return loaded_from("presets", configuration(**studies))


def mistakes(**studies: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        loaded(**studies)
    return str(refused.value)


def network_of(cell: Any) -> ModuleRecipe:
    assert isinstance(cell.recipe.network, ModuleRecipe)
    return cell.recipe.network


def test_axes_are_arguments_and_names_of_cells() -> None:
    cells = loaded(own=study(grid={"width": [4, 6], "depth": [1], "label_noise": [0, 0.1]})).studies["own"].cells
    assert list(cells) == [f"width={w}+depth=1+batch_size=128+label_noise={n}" for w in (4, 6) for n in (0.0, 0.1)]
    networks = [network_of(cell) for cell in cells.values()]
    assert [each.arguments for each in networks] == [{"width": w, "depth": 1} for w in (4, 4, 6, 6)]
    assert [each.parameters for each in networks[::2]] == [65 * w + (w + 1) * 10 for w in (4, 6)]
    assert networks[0].module == "presets/own_models.py:mlp"


def test_a_network_needs_neither_width_nor_depth_and_any_argument_can_be_an_axis() -> None:
    given = study("ViT", {"dropout": 0.0}, grid={"heads": [1, 2]}, analyses=ANALYSES)
    configured = loaded(own=given)
    networks = [network_of(cell) for cell in configured.studies["own"].cells.values()]
    assert [each.arguments for each in networks] == [{"dropout": 0.0, "heads": heads} for heads in (1, 2)]
    assert {(each.width, each.depth) for each in networks} == {(1, 1)}
    rows = Graph(configured, read_claims()).cells("own")
    assert [(row["width"], row["depth"], row["heads"]) for row in rows] == [(1, 1, 1), (1, 1, 2)]
    (column,) = axis_columns({name: [row[name] for row in rows] for name in rows[0]})
    assert (column.name, column.type) == ("heads", "int64")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.5, 1], "float64"), (["a", None], "string"), ([True, False], "bool"), ([None], "string")],
)
def test_an_argument_is_a_column_of_the_type_of_its_values(values: list[Any], expected: str) -> None:
    assert [column.type for column in axis_columns({"cell": ["x"], "mine": values, "width": [1]})] == [expected]


def test_a_job_gets_a_recipe_without_estimates_and_with_the_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "edited"))
    grid, wildcards = (
        {"width": [4], "depth": [1]},
        SimpleNamespace(study="own", cell="width=4+depth=1+batch_size=128", block=0),
    )

    def recipe() -> dict[str, Any]:
        return Jobs(Graph(loaded(own=study(grid=grid)), read_claims()), "train").recipe(wildcards)

    before = recipe()
    assert "multiplications" not in before["network"]
    assert Recipe.from_dict(json.loads(json.dumps(before))).as_dict() == before
    file = Path("presets/own_models.py")
    file.write_text("# a comment\n" + file.read_text())
    assert recipe() == before
    file.write_text(file.read_text() + "\nNUMBER = 3\n")
    assert recipe()["network"].pop("source") != before["network"].pop("source")
    assert recipe()["training"] == before["training"]


def test_costs_are_counted_for_every_analysis() -> None:
    graph = Graph(loaded(own=study(grid={"width": [4], "depth": [1]}, analyses=ANALYSES)), read_claims())
    wildcards = SimpleNamespace(study="own", cell="width=4+depth=1+batch_size=128", block="0")
    for stage in ("train", *ANALYSES):
        work = Jobs(graph, stage).work(wildcards)
        assert work is not None
        assert all(call.size > 0 for call in work.calls)
        assert Jobs(graph, stage).memory_mb(wildcards, 1) > 1000


def test_mistakes_of_the_section_are_named_without_running_the_module() -> None:
    grid = {"width": [4], "depth": [1]}
    mixed = study(grid=grid)
    mixed["network"]["blocks"] = 2
    found = mistakes(
        mixed=mixed,
        twice=study(arguments={"width": 3}, grid=grid),
        lost=study() | {"network": {"module": "nowhere.py:build"}},
        built={"network": {"arguments": {"a": 1}}, "grid": {"batch_size": [128], "seed": 1}},
        taken=study(grid=grid | {"kind": ["a"], "heads": [1, "two"], "list": [[1]]}),
    )
    assert "studies.mixed.network.blocks: a `module` has no such key" in found
    assert "studies.twice.grid.width: also given as network.arguments.width" in found
    assert "studies.lost.network.module: presets/nowhere.py:build was given; there is no file" in found
    assert "studies.built.network.arguments: these belong to a `module`" in found
    assert "studies.built.grid: the key `width` is missing" in found
    assert "studies.taken.grid.kind: an axis cannot have this name" in found
    assert 'studies.taken.grid.heads: [1, "two"] was given' in found
    assert "studies.taken.grid.list: [[1]] was given; an axis takes single values" in found


def test_mistakes_of_the_module_name_the_study_and_the_arguments() -> None:
    aligned = {"connect": {"kinds": ["linear", "linear-aligned"]}}
    repaired = {"connect": {"kinds": ["linear-aligned", "linear-repaired"]}}
    found = mistakes(
        axis=study(grid={"width": [4], "depth": [1], "hight": [3]}),
        refused=study("Refused", {"what": "always dropping"}),
        aligned=study("Branching", analyses=aligned),
        repaired=study("ViT", analyses=repaired),
        alone=study("normalized_mlp", {"width": 4}, data={"train_size": 257}),
    )
    assert "studies.axis.network.module: presets/own_models.py:mlp with" in found
    assert "has no argument `hight`" in found
    assert "studies.refused.network.module" in found
    assert "its outputs are random in evaluation; switch that off" in found
    assert "studies.aligned.analyses.connect.kinds: give kinds without linear-aligned; the module cannot be" in found
    unrepaired = "studies.repaired.analyses.connect.kinds: give kinds without linear-repaired; the module cannot be"
    assert f"{unrepaired} repaired (the hidden units of layers.0.self_attn.in_proj_weight are not computed by" in found
    assert "studies.repaired.analyses.connect.kinds: give kinds without linear-aligned" not in found
    assert "studies.alone.grid.batch_size: 128 was given; with 257 examples it leaves a batch of one" in found


def test_the_example_to_copy_can_be_run() -> None:
    file = ROOT / "presets" / "own-model.yaml"
    (study_of_file,) = load(read_yaml(file), files=[file]).studies.values()
    assert {network_of(cell).arguments["width"] for cell in study_of_file.cells.values()} == {4, 8, 16}
    assert all(network_of(cell).stacks and network_of(cell).batch_norm for cell in study_of_file.cells.values())


@pytest.mark.exhaustive
def test_the_examples_of_larger_networks_can_be_run_and_aligned() -> None:
    file = ROOT / "presets" / "own-models-cifar.yaml"
    studies = load(read_yaml(file), files=[file]).studies
    networks = {name: [network_of(cell) for cell in each.cells.values()] for name, each in studies.items()}
    assert {name for name, each in networks.items() if each[0].batch_norm} == {"own-resnet"}
    assert all(network.matching > 0 for each in networks.values() for network in each)
