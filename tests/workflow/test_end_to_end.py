"""The whole workflow on a grid of seconds: its tables against a plain PyTorch loop, and its figures."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from running import read, succeed
from shared_study import CONFIG, SIZES

from isthmus.core import seeds
from isthmus.data.dataset import Dataset, normalized
from isthmus.training.weights import load_network, load_weights

CELL = "width=8+depth=2+batch_size=128+label_noise=0.0"
RULES = ("list_cells", "summarize", "draw_training")
DRAW = ("--allowed-rules", *RULES, "--forcerun", "draw_training", "--until", "draw_training")


def test_the_tables_hold_what_a_plain_loop_finds(finished: Path, digits: Dataset) -> None:
    images = normalized(digits.train_images, digits.mean, digits.std).flatten(1)
    labels = digits.train_labels
    weights = [
        value.clone().requires_grad_()
        for value in load_weights(finished / f"results/plain/train/{CELL}/0.safetensors", 1, "initial").values()
    ]

    def logits(x: torch.Tensor) -> torch.Tensor:
        for layer in range(0, 4, 2):
            x = torch.relu(x @ weights[layer].T + weights[layer + 1])
        return x @ weights[4].T + weights[5]

    # The parameters come in the order of their names: bias before weight.
    names = list(load_weights(finished / f"results/plain/train/{CELL}/0.safetensors", 1, "initial"))
    weights = [
        weights[names.index(name)]
        for name in sorted(names, key=lambda name: (int(name.split(".")[0]), name[-1] == "s"))
    ]
    peak = 0.05 * (128 / 32) ** 0.5
    optimizer = torch.optim.SGD(weights, peak, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8 * 12)
    for epoch in range(8):
        order = torch.from_numpy(seeds.generator(1, seeds.Stream.ORDER, epoch).permutation(len(images)))
        for batch in order.split(128):
            optimizer.zero_grad()
            F.cross_entropy(logits(images[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
    networks = read(finished, "networks", "plain").set_index(["cell", "seed"])
    row = networks.loc[(CELL, 1)]
    with torch.no_grad():
        test = normalized(digits.test_images, digits.mean, digits.std).flatten(1)
        found = {
            "train_loss": F.cross_entropy(logits(images), labels).item(),
            "train_accuracy": (logits(images).argmax(1) == labels).double().mean().item(),
            "test_loss": F.cross_entropy(logits(test), digits.test_labels).item(),
            "test_accuracy": (logits(test).argmax(1) == digits.test_labels).double().mean().item(),
            "weight_norm_final": torch.cat([value.flatten().double() for value in weights]).norm().item(),
        }
    for column, value in found.items():
        assert row[column] == pytest.approx(value, rel=2e-3, abs=2e-3), column
    assert row["learning_rate"] == pytest.approx(peak)
    assert row["parameters"] == (64 + 1) * 8 + (8 + 1) * 8 + (8 + 1) * 10
    assert row["steps"] == 96
    assert row["generalization_gap"] == row["train_accuracy"] - row["test_accuracy"]


def test_every_network_has_its_rows(finished: Path) -> None:
    networks, history = read(finished, "networks"), read(finished, "history")
    keys = ["study", "cell", "seed"]
    assert networks.groupby("study").size().to_dict() == {"curved": 2, "plain": 12, "sizes": 4}
    assert not networks.duplicated(keys).any()
    plain = history[history["study"] == "plain"]
    assert len(plain) == 12 * 9
    last = plain[plain["epoch"] == 8].set_index(keys).sort_index()
    ends = networks[networks["study"] == "plain"].set_index(keys).sort_index()
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "movement"):
        assert (last[column] == ends[column]).all(), column
    noisy = networks[networks["label_noise"] > 0]
    assert len(noisy) == 6
    assert (noisy["train_accuracy_clean"] > noisy["train_accuracy"]).all()


def test_a_network_is_rebuilt_from_its_file(finished: Path, digits: Dataset) -> None:
    network = load_network(finished / f"results/plain/train/{CELL}/0.safetensors", seed=2).eval()
    with torch.no_grad():
        outputs = network(normalized(digits.test_images, digits.mean, digits.std)[None])[0]
    accuracy = (outputs.argmax(1) == digits.test_labels).double().mean().item()
    networks = read(finished, "networks", "plain").set_index(["cell", "seed"])
    assert networks.loc[(CELL, 2), "test_accuracy"] == accuracy


def test_the_console_has_one_line_for_every_job(finished: Path) -> None:
    lines = (finished / "printed").read_text().splitlines()
    ended = [line for line in lines if re.match(r"\d\d:\d\d:\d\d  +\d:\d\d:\d\d  ", line)]
    states = [
        int(each[1]) for line in lines if (each := re.match(r"(\d+)% of the work, \d+ of \d+ jobs, about ", line))
    ]
    assert len(set(ended)) == len(ended) == len(list((finished / "results/benchmarks").rglob("*.tsv")))
    assert states == sorted(states)
    assert len(states) >= 3
    assert re.fullmatch(r"All jobs have finished: \d+ in \d:\d\d:\d\d\.", lines[-1])
    assert max(map(len, ended)) <= 160
    assert len(lines) < 1.5 * len(ended)


def test_figures_are_drawn_and_redrawn_from_the_tables_alone(finished_copy: Path) -> None:
    figures = sorted((finished_copy / "results/figures/sizes").iterdir())
    assert {path.suffix for path in figures} == {".pdf", ".png", ".csv"}
    before = {path.name: path.read_bytes() for path in figures}
    of_training = [path for path in figures if path.stem == "learning-curves"]
    assert len(of_training) == 3
    for path in of_training:
        path.unlink()
    for part in (finished_copy / "results/sizes").rglob("*.parquet"):
        part.unlink()
    config = {"studies": {"sizes": SIZES | {"analyses": {}}}, "jobs": CONFIG["jobs"]}
    succeed(finished_copy, config, "figures", *DRAW)
    assert {path.name: path.read_bytes() for path in figures} == before


@pytest.mark.slow
def test_claims_are_tested_on_the_collected_tables(finished: Path) -> None:
    claims, paths = read(finished, "claims").set_index("claim"), read(finished, "connections", "plain")
    drawn = {path.name for path in (finished / "results/figures").glob("*.*")}
    assert drawn == {"claims.pdf", "claims.png", "claims.csv"}
    row = claims[claims["study"] == "plain"].loc["B2a"]  # a curve with one bend, and the line
    barriers = paths.groupby(["kind", "cell"])["barrier_test_error"].mean()
    assert row["settings"] == len(barriers["linear"]) == 2
    assert row["value"] == pytest.approx((barriers["bezier"] - barriers["linear"]).mean())
