"""Curvature and movement in the real workflow: their tables against dense matrices, other tables and each other."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from running import configuration, read, small_study, succeed

from isthmus.data.dataset import load_dataset, normalized
from isthmus.data.subsets import subset
from isthmus.models.evaluation import evaluation_mode
from isthmus.training.weights import load_network

CELL = "width=6+depth=1+batch_size=32"


def hessian_of(folder: Path, seed: int, snapshot: str) -> tuple[float, np.ndarray]:
    """Loss and dense Hessian by PyTorch's own `torch.autograd.functional`, in float64, independent of the library."""
    dataset = load_dataset(folder / "results/data/digits.safetensors")
    images = normalized(dataset.train_images, dataset.mean, dataset.std).double().flatten(1)
    chosen = subset(dataset.train_labels, 400)
    network = load_network(folder / f"results/curved/train/{CELL}/0.safetensors", seed, snapshot).double()
    names, values = zip(*((name, value.detach()[0]) for name, value in network.named_parameters()), strict=True)
    sizes = [value.numel() for value in values]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = [part.view_as(like) for part, like in zip(flat.split(sizes), values, strict=True)]
        hidden = dict(zip(names, parts, strict=True))
        first, second = sorted({name.split(".")[0] for name in names})
        x = torch.relu(images[chosen] @ hidden[f"{first}.weight"].T + hidden[f"{first}.bias"])
        return F.cross_entropy(
            x @ hidden[f"{second}.weight"].T + hidden[f"{second}.bias"], dataset.train_labels[chosen]
        )

    flat = torch.cat([value.flatten() for value in values])
    matrix = torch.autograd.functional.hessian(loss, flat, vectorize=True)
    return loss(flat).item(), torch.linalg.eigvalsh(matrix).numpy()


@pytest.mark.parametrize(("snapshot", "epoch"), [("final", 6.0), ("epoch-2", 2.0)])
def test_eigenvalues_are_those_of_pytorchs_own_hessian(finished: Path, snapshot: str, epoch: float) -> None:
    loss, exact = hessian_of(finished, 1, snapshot)
    curvature = read(finished, "curvature", "curved").set_index(["cell", "seed", "epoch"])
    row = curvature.loc[(CELL, 1, epoch)]
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    assert row["top_eigenvalue"] == pytest.approx(exact[-1], rel=1e-3)
    assert row["top_eigenvalue_over_loss"] == pytest.approx(exact[-1] / loss, rel=1e-3)
    assert row["top_eigenvalue_converged"]
    if snapshot != "final":
        assert not row["final"]
        assert np.isnan(row["trace"])
        return
    assert abs(row["trace"] - exact.sum()) < 4 * row["trace_error"]
    assert abs(row["squared_frobenius"] - np.square(exact).sum()) < 4 * row["squared_frobenius_error"]
    assert row["smallest_eigenvalue"] == pytest.approx(exact[0], rel=1e-2)
    assert row["dense_top_eigenvalue"] == pytest.approx(exact[-1], rel=1e-6)
    assert row["dense_trace"] == pytest.approx(exact.sum(), rel=1e-6)
    found = read(finished, "eigenvalues", "curved")
    found = found[(found["seed"] == 1) & (found["matrix"] == "hessian")]
    dense = found[found["method"] == "dense"].sort_values("index")["eigenvalue"]
    np.testing.assert_allclose(dense, exact[::-1], rtol=1e-5, atol=1e-7)
    for end, expected in (("largest", exact[::-1][:4]), ("smallest", exact[:2])):
        chosen = found[(found["method"] == "lanczos") & (found["end"] == end)].sort_values("index")
        np.testing.assert_allclose(chosen["eigenvalue"], expected, rtol=2e-3)
        assert chosen["converged"].all()
        assert (chosen["residual"] <= 1e-3 * chosen["eigenvalue"].abs()).all()


def test_there_is_a_row_for_every_network_and_moment(finished: Path) -> None:
    curvature, networks = read(finished, "curvature", "curved"), read(finished, "networks", "curved")
    assert len(curvature) == len(networks) * 4
    assert (curvature.groupby(["cell", "seed"])["epoch"].apply(sorted).map(tuple) == (0.0, 2.0, 4.0, 6.0)).all()
    assert (curvature["final"] == (curvature["epoch"] == 6)).all()
    assert (curvature["dense_trace"].notna() == curvature["final"]).all()
    assert read(finished, "curvature", "sizes")["dense_trace"].isna().all(), "networks above the limit"
    # Plain gradient descent at a constant rate: the threshold is 2 / rate.
    assert np.allclose(curvature["stability_threshold"], 2 / 0.05)


def test_the_spectrum_is_a_density_with_the_mean_of_the_eigenvalues(finished: Path) -> None:
    spectrum, curvature = read(finished, "spectrum", "curved"), read(finished, "curvature", "curved")
    for (cell, seed), points in spectrum.groupby(["cell", "seed"]):
        points = points.sort_values("eigenvalue")
        assert np.trapezoid(points["density"], points["eigenvalue"]) == pytest.approx(1, abs=5e-3)
        mean = np.trapezoid(points["density"] * points["eigenvalue"], points["eigenvalue"])
        row = curvature[(curvature["cell"] == cell) & (curvature["seed"] == seed) & curvature["final"]].iloc[0]
        # Four probes; the trace has a standard error of 5 percent besides.
        assert mean * row["parameters"] == pytest.approx(row["trace"], rel=0.35)
        assert points["eigenvalue"].iloc[0] < 0 < row["top_eigenvalue"] < points["eigenvalue"].iloc[-1]


def test_small_noise_raises_the_loss_as_the_trace_says(finished: Path) -> None:
    disturbed, curvature = read(finished, "perturbations", "curved"), read(finished, "curvature", "curved")
    assert set(disturbed["kind"]) == {"noise", "relative_noise", "worst", "adaptive_worst"}
    noise = disturbed[(disturbed["kind"] == "noise") & (disturbed["size"] == 0.01)]
    ends = curvature[curvature["final"]]
    merged = noise.merge(ends, on=["cell", "seed"], suffixes=("", "_c"))
    assert len(merged) == 2
    expected = 0.01**2 / 2 * merged["trace"]  # on other examples, and less the term of the gradient: of this size
    error = merged["relative_rise_error"] * merged["loss"]
    assert (abs(merged["rise"] - expected) < 4 * error + 0.5 * expected).all()
    worst = disturbed[disturbed["kind"] == "worst"]
    assert (worst["rise"] > 0).all()


def test_movement_agrees_with_the_table_of_networks(finished: Path) -> None:
    movement, networks = read(finished, "movement", "curved"), read(finished, "networks", "curved")
    ends = movement[movement["final"] & (movement["layer"] == "all")]
    merged = ends.merge(networks, on=["cell", "seed"], suffixes=("", "_n"))
    assert len(merged) == len(networks)
    np.testing.assert_allclose(merged["distance"], merged["movement"], rtol=1e-5)
    np.testing.assert_allclose(merged["relative"], merged["relative_movement"], rtol=1e-5)
    layers = movement[movement["layer"] != "all"].groupby(["cell", "seed", "epoch"])
    whole = movement[movement["layer"] == "all"].set_index(["cell", "seed", "epoch"])["distance"]
    parts = layers["distance"].apply(lambda each: np.sqrt(np.square(each).sum()))
    np.testing.assert_allclose(parts, whole.loc[parts.index], rtol=1e-9)
    assert (whole[whole.index.get_level_values("epoch") == 0] == 0).all()


def test_the_tangent_kernel_is_the_gram_matrix_of_the_gradients(finished: Path) -> None:
    dataset = load_dataset(finished / "results/data/digits.safetensors")
    images = normalized(dataset.train_images, dataset.mean, dataset.std)
    images = images[subset(dataset.train_labels, 20)].double()
    kernels = []
    for snapshot in ("initial", "final"):
        path = finished / f"results/curved/train/{CELL}/0.safetensors"
        network = load_network(path, 0, snapshot).double()
        gradients = []
        with evaluation_mode(network, images[None]):
            for image in images:
                outputs = network(image[None, None])[0, 0]
                each = [
                    torch.autograd.grad(output, list(network.parameters()), retain_graph=True) for output in outputs
                ]
                gradients.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each]))
        stacked = torch.stack(gradients)  # [examples, outputs, parameters]
        kernels.append(torch.einsum("nop,mop->nm", stacked, stacked) / stacked.shape[1])
    row = read(finished, "kernels", "curved").set_index(["cell", "seed", "epoch"]).loc[(CELL, 0, 6.0)]
    change = (kernels[1] - kernels[0]).norm() / kernels[0].norm()
    assert row["relative_change"] == pytest.approx(change.item(), rel=1e-4)
    assert row["norm"] == pytest.approx(kernels[1].norm().item(), rel=1e-4)
    assert row["images"] == 20


def test_diverged_networks_have_rows_that_say_so(finished: Path) -> None:
    for name, column in (("curvature", "top_eigenvalue"), ("movement", "distance")):
        table = read(finished, name, "sizes")
        lost = table["cell"].str.contains("learning_rate=1e+20", regex=False)
        assert set(table.loc[lost, "seed"]) == set(table.loc[~lost, "seed"]) == {0, 1}
        assert (table["diverged"] == lost).all()
        assert (table[column].isna() == lost).all()
    assert set(read(finished, "perturbations", "sizes")["cell"]) == {"width=4+depth=1+batch_size=32+learning_rate=0.05"}


@pytest.mark.exhaustive
def test_without_images_there_are_no_kernels_and_without_probes_no_spectrum(tmp_path: Path) -> None:
    study = small_study(width=[4])
    study |= {"analyses": {"curvature": {"spectrum": {"probes": 0}}, "movement": {"kernel_images": 0}}}
    tables = ("kernels", "spectrum")
    succeed(tmp_path, configuration(small=study), *(f"results/tables/{name}.parquet" for name in tables))
    for name in tables:
        assert read(tmp_path, name).empty
