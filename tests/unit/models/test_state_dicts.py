"""State dictionaries of networks trained elsewhere: what is read from files, under which names, and what is refused."""

from pathlib import Path
from typing import Any

import own_models
import pytest
import safetensors.torch
import torch
from architectures import CLASSES, SHAPE, recipes
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.models.functional import Stacked
from isthmus.models.networks import build
from isthmus.models.state_dicts import load_parameters, parameters_in

IMAGES = (1, 8, 8)


def normalized() -> nn.Module:
    return own_models.normalized_mlp(6, 10, IMAGES)


def stack(made: Any = normalized) -> Stacked:
    return Stacked(made, 3)


@pytest.fixture
def state() -> dict[str, Tensor]:
    """The weights of a network with batch normalization, and statistics that its training left."""
    network = normalized()
    network(torch.randn(16, *IMAGES))
    return network.state_dict()


def parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.rpartition(".")[2] in ("weight", "bias")}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == [name for name, _ in stack().named_parameters()]
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def refusal(state: dict[str, Any], network: nn.Module | None = None) -> str:
    with pytest.raises(UserError) as error:
        parameters_in(state, network or stack())
    return str(error.value)


def test_running_statistics_are_ignored(state: dict[str, Tensor]) -> None:
    assert "2.running_mean" in state
    assert_equal(parameters_in(state, stack()), parameters(state))
    assert_equal(parameters_in(parameters(state), stack()), parameters(state))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "network."])
def test_a_prefix_that_all_names_share_is_taken_off(state: dict[str, Tensor], prefix: str) -> None:
    found = parameters_in({f"{prefix}{name}": value for name, value in state.items()}, stack())
    assert_equal(found, parameters(state))


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        ("", lambda state: state),
        ("model", lambda state: {"model": state, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(())}}}}),
        ("model.state_dict", lambda state: {"model": {"state_dict": state}}),
        ("model.state_dict", lambda state: {"model.state_dict": state}),
        ("ema", lambda state: {f"ema.{k}": v for k, v in state.items()} | {k: 0 * v for k, v in state.items()}),
    ],
)
def test_an_entry_is_a_place_in_nested_dictionaries_or_the_beginning_of_names(
    state: dict[str, Tensor], tmp_path: Path, entry: str, content: Any
) -> None:
    torch.save(content(state), tmp_path / "a.pt")
    assert_equal(load_parameters(tmp_path / "a.pt", entry, stack()), parameters(state))


def test_safetensors_hold_the_same(state: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    assert_equal(load_parameters(tmp_path / "a.safetensors", "", stack()), parameters(state))


def test_tied_parameters_may_have_either_name_or_both(tmp_path: Path) -> None:
    network = Stacked(lambda: own_models.Tied(IMAGES, 10), 2)
    made = own_models.Tied(IMAGES, 10)
    both = made.state_dict()
    safetensors.torch.save_model(made, str(tmp_path / "a.safetensors"))  # keeps one of the names
    for found in (parameters_in(both, network), load_parameters(tmp_path / "a.safetensors", "", network)):
        assert found.keys() == dict(network.named_parameters()).keys()
        assert torch.equal(found["encode.weight"], made.encode.weight)
    apart = both | {"decode.weight": both["decode.weight"] + 1}
    assert "`decode.weight` and `encode.weight` differ" in refusal(apart, network)


def test_weights_in_half_precision_become_float32(state: dict[str, Tensor]) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    found = parameters_in(half, stack())
    assert_equal(found, {name: value.float() for name, value in parameters(half).items()})


@pytest.mark.parametrize("recipe", recipes(2), ids=lambda recipe: f"{recipe.architecture}-{recipe.normalization}")
def test_built_in_architectures_take_the_weights_of_one_network(recipe: Any) -> None:
    network = build(recipe, SHAPE, CLASSES, stack=2)
    wanted = {name: torch.randn(value.shape[1:]) for name, value in network.named_parameters()}
    found = parameters_in({f"module.{name}": value for name, value in wanted.items()}, network)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_does_not_fit_is_named(state: dict[str, Tensor]) -> None:
    missing = {name: value for name, value in state.items() if name != "4.bias"}
    assert refusal(missing) == "it lacks `4.bias`"
    assert refusal(missing | {"4.offset": state["4.bias"]}) == (
        "it lacks `4.bias`; it holds `4.offset`, which the network does not have"
    )
    assert refusal(state | {"4.bias": torch.zeros(7)}) == "`4.bias` has the shape [7]; the network's has [10]"
    assert refusal(state | {"4.bias": 3.0}) == "`4.bias` is not a dense tensor of real numbers but float"
    assert refusal({}).startswith("it lacks `1.weight`, `2.weight`, `2.bias` and 2 more")


def test_buffers_must_be_those_of_the_module() -> None:
    made = own_models.ViT(IMAGES, 10)
    network, state = Stacked(lambda: own_models.ViT(IMAGES, 10), 1), made.state_dict()
    assert "scale" not in parameters_in(state, network)
    assert "the buffer `scale` differs" in refusal(state | {"scale": 2 * state["scale"]}, network)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_damaged_file_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 no weights" * 9)
    with pytest.raises(UserError, match=r"damaged|holds no tensors"):
        load_parameters(tmp_path / name, "", stack())


def test_a_truncated_file_says_so(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        load_parameters(tmp_path / "a.pt", "", stack())


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save(normalized(), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"it holds `torch\.nn\.\S+`, which is code, .*save `model\.state_dict\(\)`"):
        load_parameters(tmp_path / "a.pt", "", stack())


def test_a_missing_entry_names_those_that_are_there(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pt")
    for entry, said in (("", "at its top: name its place"), ("net", "under `net`"), ("epoch", "under `epoch`")):
        with pytest.raises(UserError, match=rf"no state dictionary {said}.*; it holds `model`, `epoch`"):
            load_parameters(tmp_path / "a.pt", entry, stack())
