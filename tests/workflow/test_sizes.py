"""The tables say how many examples everything was measured on: the study `sizes`, where each number is another."""

from pathlib import Path

import pytest
from running import read

# Of 300 training and 360 test examples. What is asked for beyond these is not there to be used.
EXPECTED: dict[str, dict[str, int]] = {
    "networks": {"train_examples": 300, "test_examples": 360},
    "history": {},
    "connections": {"train_examples": 300, "test_examples": 350, "hessian_examples": 60},
    "paths": {"train_examples": 300, "test_examples": 350},
    "planes": {"train_examples": 70, "test_examples": 70, "statistics_examples": 70},
    "layers": {"train_examples": 300, "test_examples": 320},
    "curvature": {"images": 50},
    "eigenvalues": {"images": 50},
    "spectrum": {"images": 50},
    "perturbations": {"images": 300},
    "fragility": {"images": 150, "test_images": 70},
    "fragility_corruptions": {"images": 70},
    "gradient_noise": {"images": 200, "examples": 300},
    "local_learning_coefficients": {"examples": 300},
    "kernels": {"images": 20},
    "robustness": {"images": 90},
    "tickets": {"corrupted_examples": 340},
    "stability": {"train_examples": 300, "test_examples": 340},
    "further_training": {"train_examples": 300, "test_examples": 360},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_tables_say_how_many_examples_were_used(finished: Path, name: str) -> None:
    rows = read(finished, name, "sizes")
    rows = rows[~rows["diverged"]] if "diverged" in rows else rows
    assert len(rows)
    for column, size in ({"statistics_examples": 80} | EXPECTED[name]).items():
        assert rows[column].tolist() == [size] * len(rows), column


def test_without_batch_normalization_there_are_no_statistics(finished: Path) -> None:
    for name in ("networks", "history"):
        rows = read(finished, name, "plain")
        assert len(rows)
        assert (rows["statistics_examples"] == 0).all()


def test_what_is_measured_at_some_rows_only_is_counted_there(finished: Path) -> None:
    connections, paths, tickets = (read(finished, name, "sizes") for name in ("connections", "paths", "tickets"))
    aligned = (connections["kind"] == "linear-aligned") & ~connections["diverged"]
    assert connections.loc[aligned, "alignment_examples"].tolist() == [70]
    assert connections.loc[~aligned, "alignment_examples"].isna().all()
    ends = paths["t"].isin([0.0, 1.0]) & ~paths["diverged"]
    assert paths.loc[ends, "hessian_examples"].tolist() == [60] * 2 * 3
    assert paths.loc[~ends, "hessian_examples"].isna().all()
    stable = tickets["stability_train_loss"].notna()
    assert stable.any()
    assert (~stable & ~tickets["diverged"]).any()
    for column, size in (("stability_train_examples", 300), ("stability_test_examples", 340)):
        assert (tickets.loc[stable, column] == size).all()
        assert tickets.loc[~stable, column].isna().all()
    measured = tickets["top_eigenvalue"].notna()
    assert (tickets.loc[measured, "curvature_images"] == 40).all()
    for name in ("manifold", "walks"):
        rows = read(finished, name, "sizes")
        asked = rows["data"].map({"random": 1000, "images": 360})  # at most all test images
        assert (rows["off_data_points"] == asked).all()
