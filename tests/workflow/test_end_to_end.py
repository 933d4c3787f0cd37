"""The whole workflow on a grid of seconds: its tables against a plain PyTorch loop, its figures, its report."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from running import configuration, succeed

from isthmus.core import seeds
from isthmus.data.dataset import Dataset, normalized
from isthmus.training.weights import load_network, load_weights

STUDY = {
    "training": {"epochs": 5, "learning_rate": 0.05, "batch_scaling": "sqrt", "reference_batch_size": 32},
    "grid": {"width": [6, 12], "depth": [1, 2], "batch_size": [32, 128], "seed": 3, "label_noise": [0.0, 0.1]},
}
CELL = "width=12+depth=2+batch_size=128+label_noise=0.0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    succeed(folder, configuration(tiny=STUDY) | {"jobs": {"seeds": 3}})
    return folder


def read(folder: Path, table: str) -> pd.DataFrame:
    return pq.read_table(folder / f"results/tables/{table}.parquet").to_pandas()


def test_the_tables_hold_what_a_plain_loop_finds(finished: Path, digits: Dataset) -> None:
    images = normalized(digits.train_images, digits.mean, digits.std).flatten(1)
    labels = digits.train_labels
    weights = [
        value.clone().requires_grad_()
        for value in load_weights(finished / f"results/tiny/train/{CELL}/0.safetensors", 1, "initial").values()
    ]

    def logits(x: torch.Tensor) -> torch.Tensor:
        for layer in range(0, 4, 2):
            x = torch.relu(x @ weights[layer].T + weights[layer + 1])
        return x @ weights[4].T + weights[5]

    # The parameters come in the order of their names: bias before weight.
    names = list(load_weights(finished / f"results/tiny/train/{CELL}/0.safetensors", 1, "initial"))
    weights = [
        weights[names.index(name)]
        for name in sorted(names, key=lambda name: (int(name.split(".")[0]), name[-1] == "s"))
    ]
    peak = 0.05 * (128 / 32) ** 0.5
    optimizer = torch.optim.SGD(weights, peak, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5 * 12)
    for epoch in range(5):
        order = torch.from_numpy(seeds.generator(1, seeds.Stream.ORDER, epoch).permutation(len(images)))
        for batch in order.split(128):
            optimizer.zero_grad()
            F.cross_entropy(logits(images[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
    networks = read(finished, "networks").set_index(["cell", "seed"])
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
    assert row["parameters"] == (64 + 1) * 12 + (12 + 1) * 12 + (12 + 1) * 10
    assert row["steps"] == 60
    assert row["generalization_gap"] == row["train_accuracy"] - row["test_accuracy"]


def test_every_network_has_its_rows(finished: Path) -> None:
    networks, history = read(finished, "networks"), read(finished, "history")
    keys = ["study", "cell", "seed"]
    assert len(networks) == 2 * 2 * 2 * 2 * 3
    assert not networks.duplicated(keys).any()
    assert len(history) == len(networks) * 6
    last = history[history["epoch"] == 5].set_index(keys).sort_index()
    ends = networks.set_index(keys).sort_index()
    for column in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "movement"):
        assert (last[column] == ends[column]).all(), column
    noisy = networks[networks["label_noise"] > 0]
    assert (noisy["train_accuracy_clean"] > noisy["train_accuracy"]).mean() > 0.9


def test_a_network_is_rebuilt_from_its_file(finished: Path, digits: Dataset) -> None:
    network = load_network(finished / f"results/tiny/train/{CELL}/0.safetensors", seed=2).eval()
    with torch.no_grad():
        outputs = network(normalized(digits.test_images, digits.mean, digits.std)[None])[0]
    accuracy = (outputs.argmax(1) == digits.test_labels).double().mean().item()
    networks = read(finished, "networks").set_index(["cell", "seed"])
    assert networks.loc[(CELL, 2), "test_accuracy"] == accuracy


def test_figures_are_drawn_and_redrawn_from_the_tables_alone(finished: Path) -> None:
    figures = sorted((finished / "results/figures/tiny").iterdir())
    assert {path.suffix for path in figures} == {".pdf", ".png"}
    assert len(figures) == 6
    before = {path.name: path.read_bytes() for path in figures}
    config = configuration(tiny=STUDY) | {"jobs": {"seeds": 3}}
    rules = ("--allowed-rules", "draw_training", "--forcerun", "draw_training", "--until", "draw_training")
    for path in figures[:2]:
        path.unlink()
    for part in (finished / "results/tiny").rglob("*.parquet"):
        part.unlink()
    succeed(finished, config, "figures", *rules)
    assert {path.name: path.read_bytes() for path in figures} == before


def test_the_report_holds_every_figure_with_its_caption(finished: Path) -> None:
    config = configuration(tiny=STUDY) | {"jobs": {"seeds": 3}}
    succeed(finished, config)
    succeed(finished, config, "--report", "report.html")
    report = (finished / "report.html").read_text()
    for title in ("Test accuracy and generalization gap", "Learning curves", "Published claims, and what was measured"):
        assert title in report
    assert '"1. Claims"' in report  # the first of the categories, which are sorted by name


def test_claims_are_tested_on_the_collected_tables(finished: Path) -> None:
    claims, networks = read(finished, "claims").set_index("claim"), read(finished, "networks")
    assert {path.name for path in (finished / "results/figures").glob("*.*")} == {"claims.pdf", "claims.png"}
    assert claims.loc["A4a", ["direction", "reason"]].tolist() == ["not measured", "no study makes the table `tickets`"]
    row = claims.loc["A2a"]
    clean = networks[(networks["label_noise"] == 0) & ~networks["diverged"]]
    means = clean.groupby("batch_size")["test_accuracy"].mean()
    assert (row["study"], row["as_published"], row["networks"]) == ("tiny", False, len(clean))
    assert row["value"] == pytest.approx(means.iloc[0] - means.iloc[-1])
