"""What is known about a module before any job runs, and what is refused by name."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import own_models
import pytest
import torch
from running import ROOT

from isthmus.core.errors import ConfigurationError, UserError
from isthmus.models.description import FOLDER, Description, Request, describe, source_of

SHAPE, CLASSES = (2, 8, 8), 5
REFUSED = {
    "frozen": "linear.bias is frozen",
    "unused": "extra.weight does not influence the outputs",
    "scalar": "temperature is a number without a dimension",
    "double": "linear.weight is torch.float64",
    "counting": "the buffer calls changes during training",
    "random buffer": "the buffer projection is drawn at random",
    "shared norm": "the batch normalization norm is called 2 times",
    "two outputs": "returns a tuple",
    "one output": r"returns \[batch, 1\]; needed is \[batch, 5\]",
    "always dropping": "its outputs are random in evaluation",
    "drawing elsewhere": "its outputs in training differ for one seed",
}


def asked(name: str, **arguments: Any) -> Request:
    module = f"own_models.py:{name}"
    return Request(module, arguments, source_of(module), SHAPE, CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory, with the file of the modules."""
    made, before = tmp_path_factory.mktemp("own"), Path.cwd()
    shutil.copy(ROOT / "tests" / "support" / "own_models.py", made)
    os.chdir(made)
    yield made
    os.chdir(before)


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Description | UserError]:
    """The answers to all requests of this file, from one process."""
    requests = {
        "vit": asked("ViT", width=8),
        "dropping": asked("ViT", width=8, dropout=0.1),
        "depthwise": asked("depthwise", width=4),
        "mlp": asked("mlp", width=6, depth=2),
        "branching": asked("Branching"),
        "missing": asked("nothing"),
        "argument": asked("mlp", width=6, depth=2, hight=3),
        "value": asked("mlp", width=6),
        "torchvision": replace(
            asked("mlp"), module="torchvision.models:resnet18", arguments={"num_classes": 5}, source="torchvision"
        ),
        **{what: asked("Refused", what=what) for what in REFUSED},
    }
    return dict(zip(requests, describe(list(requests.values())), strict=True))


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_library_cannot_handle_is_refused_by_name(found: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=REFUSED[what]):
        raise found[what]


def test_mistakes_of_a_call_name_the_function(found: dict[str, Any]) -> None:
    assert "has no attribute 'nothing'" in str(found["missing"])
    assert "has no argument `hight`; it has width, depth, classes, shape" in str(found["argument"])
    assert "needs a value for `depth`" in str(found["value"])
    assert "expected input" in str(found["torchvision"]), "two channels in the place of three"


def test_sizes_are_those_of_the_module(found: dict[str, Any]) -> None:
    torch.manual_seed(0)
    for name, made in {
        "vit": own_models.ViT(SHAPE, CLASSES),
        "depthwise": own_models.depthwise(4, CLASSES, SHAPE),
        "mlp": own_models.mlp(6, 2, CLASSES, SHAPE),
    }.items():
        assert found[name].parameters == sum(value.numel() for value in made.parameters())
    assert found["mlp"].multiplications == 128 * 6 + 6 * 6 + 6 * 5
    # Convolutions on 4x4 pixels: all of the first, depthwise and pointwise of both blocks; then the linear layer.
    assert found["depthwise"].multiplications == 16 * (18 * 4 + 9 * 4 + 4 * 4 + 9 * 4 + 4 * 8) + 8 * 5
    # Six units: all of the first layer, both axes of the second weight, its bias, the inputs of the last.
    assert found["mlp"].matching == 6 * (129 * 6 + 2 * 36 + 6 + 5 * 6)
    # The input of each of the three linear layers; the last two are also all that ReLU keeps.
    assert found["mlp"].activations == 128 + 6 + 6


def test_layers_are_known(found: dict[str, Any]) -> None:
    assert [found[name].last_layer for name in ("vit", "depthwise", "mlp")] == ["head", "15", "5"]
    assert [found[name].batch_norm for name in ("vit", "depthwise", "mlp")] == [False, True, False]
    assert [found[name].convolutional for name in ("vit", "depthwise", "mlp")] == [True, True, False]
    assert found["mlp"].prunable == ["1.weight", "3.weight", "5.weight"]


def test_dropout_is_known_and_lets_each_network_draw_for_itself(found: dict[str, Any]) -> None:
    assert [found[name].random for name in ("vit", "dropping")] == [False, True]
    assert found["dropping"].together == "each draws for itself in training"


def test_what_is_impossible_is_known_with_its_reason(found: dict[str, Any]) -> None:
    assert "item()" in found["branching"].together
    assert "depends on the values of a tensor" in found["branching"].aligned
    for name in ("vit", "depthwise", "mlp"):
        each = found[name]
        assert (each.together, each.curved, each.alone, each.aligned, each.kept) == ("", "", "", "", {})
    assert [found[name].repaired for name in ("depthwise", "mlp")] == ["", ""]
    assert "self_attn.in_proj_weight are not computed by a linear layer" in found["vit"].repaired
    assert found["branching"].repaired == found["branching"].aligned


def test_a_description_is_kept_until_the_source_changes(found: dict[str, Any], folder: Path) -> None:
    request = asked("mlp", width=6, depth=2)
    written = request.file.stat().st_mtime_ns
    assert describe([request]) == [found["mlp"]]
    assert request.file.stat().st_mtime_ns == written
    assert not any((FOLDER / asked("Refused", what=what).file.name).exists() for what in REFUSED), "may be repaired"
    assert replace(request, arguments={"width": 7, "depth": 2}).file != request.file


def test_a_damaged_description_is_made_again(found: dict[str, Any], folder: Path) -> None:
    """A flipped bit would make another number of parameters of it."""
    file = asked("mlp", width=6, depth=2).file
    whole = file.read_text()
    parameters = f'"parameters": {found["mlp"].parameters}'
    assert whole.count(parameters) == 1
    for damaged in (whole.replace(parameters, f'"parameters": {found["mlp"].parameters ^ 1}'), whole[:-9]):
        file.write_text(damaged)
        assert describe([asked("mlp", width=6, depth=2)]) == [found["mlp"]]
        assert file.read_text() == whole


def test_the_source_is_that_of_the_file_and_of_those_beside_it(tmp_path: Path) -> None:
    file, beside = tmp_path / "models.py", tmp_path / "blocks.py"
    file.write_text("import json\nfrom blocks import block\n")
    beside.write_text("def block():\n    return 1\n")
    before = source_of(f"{file}:build")
    beside.write_text("def block():\n    # a comment\n    return 1\n")
    assert source_of(f"{file}:build") == before
    beside.write_text("def block():\n    return 2\n")
    assert source_of(f"{file}:build") != before


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def f(:\n")
    for module, said in {
        "models": "needed is a file or a package",
        f"{tmp_path}/none.py:build": "there is no file",
        f"{tmp_path}/wrong.py:build": "line 1, is not Python",
        "nowhere.models:build": "no package nowhere is installed",
        "/:build": "no package / is installed",
        "models\n.py:build": "cannot be printed",
        "builtins:print": "no package builtins is installed",
    }.items():
        with pytest.raises(ConfigurationError, match=said):
            source_of(module)
    assert source_of("torchvision.models:resnet18").startswith("torchvision 0.")
