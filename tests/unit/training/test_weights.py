"""Trained weights on disk: what is read is what was written, or an error that names the file."""

from pathlib import Path

import pytest
import torch
from helpers import recipe

from isthmus.core.errors import DataError
from isthmus.data.dataset import Dataset
from isthmus.training.trainer import new_state
from isthmus.training.weights import load_network, load_weights, write_weights

ARCHITECTURES = [("mlp", 2), ("cnn", 1), ("resnet", 8)]


@pytest.fixture(params=ARCHITECTURES, ids=[name for name, _ in ARCHITECTURES])
def written(request: pytest.FixtureRequest, digits: Dataset, tmp_path: Path) -> Path:
    architecture, depth = request.param
    chosen = recipe(width=4, depth=depth, network={"architecture": architecture, "normalization": "layer", "blocks": 2})
    path = tmp_path / "0.safetensors"
    write_weights(path, chosen, digits, [new_state(chosen, digits, (0, 1, 2))], [0, 2])
    return path


def test_only_the_wanted_networks_are_written(written: Path) -> None:
    first, last = (load_weights(written, seed, "initial") for seed in (0, 2))
    assert any(not torch.equal(first[name], last[name]) for name in first)
    with pytest.raises(DataError, match=r"holds no snapshot 1/initial; it holds 0/initial, 2/initial"):
        load_weights(written, 1, "initial")
    with pytest.raises(DataError, match="holds no snapshot 0/final"):
        load_weights(written, 0)


def test_a_network_is_rebuilt_and_takes_many_weights_at_once(written: Path) -> None:
    networks = [load_network(written, seed, "initial") for seed in (0, 2)]
    weights = [load_weights(written, seed, "initial") for seed in (0, 2)]
    stacked = {name: torch.stack([each[name] for each in weights]) for name in weights[0]}
    images = torch.randn(1, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = torch.func.functional_call(networks[0], stacked, (images,))
        for member, network in enumerate(networks):
            torch.testing.assert_close(together[member], network(images)[0])


def test_a_flipped_bit_or_a_cut_is_an_error_that_names_the_file(written: Path) -> None:
    whole = written.read_bytes()
    for damaged in (whole[:-1], whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:], whole[: len(whole) // 2], b""):
        written.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{written.name} is damaged.*delete it"):
            load_weights(written, 0, "initial")
