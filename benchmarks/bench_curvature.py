"""Top eigenvalue, top five and trace of the Hessian: against PyHessian, and against curvlinops with SciPy's eigsh.

Same network, same images, same loss, one thread; set-up included, tolerance 1e-3, trace to a standard error of 5 %. The
peers have no such target for the trace: PyHessian is charged the number of its samples that their own scatter asks for,
and curvlinops as many products as ours took, for its Hutch++. The number of images is an argument (default 1,000).
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

warnings.simplefilter("ignore")

from curvlinops import HessianLinearOperator, hutchpp_trace  # noqa: E402
from pyhessian import hessian  # noqa: E402

from isthmus.landscape.hessian.lanczos import eigenvalues  # noqa: E402
from isthmus.landscape.hessian.operator import CurvatureOperator  # noqa: E402
from isthmus.landscape.hessian.trace import traces  # noqa: E402
from isthmus.models.evaluation import evaluation_mode, losses  # noqa: E402
from isthmus.models.networks import build  # noqa: E402
from isthmus.study.config import load  # noqa: E402

ROUNDS, TOLERANCE, PRECISION = 2, 1e-3, 0.05
NETWORKS = {
    "mlp 512 x 3": ({"architecture": "mlp"}, 512, 3, (1, 28, 28)),
    "cnn width 4": ({"architecture": "cnn", "normalization": "batch", "hidden_units": 64}, 4, 2, (3, 32, 32)),
}


class Plain(nn.Module):
    """A stack of one as an ordinary module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images[None])[0]
        return outputs


def trained(section: dict[str, Any], width: int, depth: int, shape: tuple[int, int, int], count: int) -> Any:
    """A network trained for a while on smooth images of ten classes, so that its Hessian has a bulk and outliers."""
    grid = {"width": [width], "depth": [depth], "batch_size": [64], "seed": 1}
    study = {"network": section, "data": {"name": "CIFAR10"}, "grid": grid}
    (cell,) = load({"studies": {"bench": study}}).studies["bench"].cells.values()
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.AvgPool2d(5, 1, 2)
    templates = smooth(torch.randn(10, *shape, generator=generator)) * 4
    labels = torch.randint(10, (count,), generator=generator)
    images = templates[labels] + smooth(torch.randn(count, *shape, generator=generator)) * 4
    network = build(cell.recipe.network, shape, 10)
    network.initialize((0,))
    parameters, momentum = list(network.parameters()), [torch.zeros_like(p) for p in network.parameters()]
    for _ in range(150):
        chosen = torch.randint(count, (64,), generator=generator)
        loss = losses(network(images[None, chosen]), labels[None, chosen], "cross_entropy").sum()
        for parameter, buffer, gradient in zip(
            parameters, momentum, torch.autograd.grad(loss, parameters), strict=True
        ):
            buffer.mul_(0.9).add_(gradient)
            with torch.no_grad():
                parameter -= 0.02 * buffer
    return network, images, labels


def sides(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, dict[str, Callable[[], Any]]]:
    """By quantity and contestant, functions that return what they found and the seconds to charge for it."""
    plain, criterion = Plain(network), nn.CrossEntropyLoss()

    def timed(function: Callable[[], Any]) -> tuple[Any, float]:
        started = time.perf_counter()
        return function(), time.perf_counter() - started

    def ours(count: int) -> Any:
        operator = CurvatureOperator(network, images, labels, "cross_entropy")
        how: Any = {"tolerance": TOLERANCE, "look_for_copies": False, "start": operator.gradient}
        found = eigenvalues(operator, count, np.random.default_rng(0), **how)
        return found.values, found.products

    def ours_trace() -> Any:
        operator = CurvatureOperator(network, images, labels, "cross_entropy")
        # The search for the top eigenvalue deflates the trace, and is charged to it here.
        generator = np.random.default_rng(0)
        top = eigenvalues(operator, 1, generator, tolerance=TOLERANCE, start=operator.gradient)
        return traces(operator, top.space, generator, PRECISION).trace.value, operator.products

    def theirs(count: int) -> Any:
        pyhessian = hessian(plain, criterion, data=(images, labels), cuda=False)
        return np.array(pyhessian.eigenvalues(maxIter=200, tol=TOLERANCE, top_n=count)[0]), None

    def theirs_trace() -> tuple[Any, float]:
        pyhessian = hessian(plain, criterion, data=(images, labels), cuda=False)
        samples, seconds = timed(lambda: np.array(pyhessian.trace(maxIter=12, tol=0.0)))
        needed = max(2.0, (samples.std(ddof=1) / (PRECISION * abs(samples.mean()))) ** 2)
        return (samples.mean(), round(needed)), seconds / len(samples) * needed

    def linear_operator() -> Any:
        return HessianLinearOperator(plain, criterion, list(plain.parameters()), [(images, labels)])

    def scipy(count: int) -> Any:
        operator = linear_operator().to_scipy()
        return np.sort(eigsh(operator, k=count, which="LA", tol=TOLERANCE)[0])[::-1], None

    def scipy_trace() -> Any:
        return float(hutchpp_trace(linear_operator(), max(3, ours_trace_products[0] // 3 * 3))), None

    ours_trace_products = [ours_trace()[1]]
    return {
        "top eigenvalue": {
            "isthmus": lambda: timed(lambda: ours(1)),
            "PyHessian": lambda: timed(lambda: theirs(1)),
            "curvlinops + eigsh": lambda: timed(lambda: scipy(1)),
        },
        "top five": {
            "isthmus": lambda: timed(lambda: ours(5)),
            "PyHessian": lambda: timed(lambda: theirs(5)),
            "curvlinops + eigsh": lambda: timed(lambda: scipy(5)),
        },
        "trace to 5 %": {
            "isthmus": lambda: timed(ours_trace),
            "PyHessian": theirs_trace,
            "curvlinops Hutch++": lambda: timed(scipy_trace),
        },
    }


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name, (section, width, depth, shape) in NETWORKS.items():
        network, images, labels = trained(section, width, depth, shape, count)
        with evaluation_mode(network, images[None]):
            loss = losses(network(images[None]), labels[None], "cross_entropy").item()
            size = sum(parameter.numel() for parameter in network.parameters())
            print(f"{name}: {size:,} weights, {count:,} images, loss {loss:.3f}", flush=True)
            for quantity, contestants in sides(network, images, labels).items():
                seconds: dict[str, list[float]] = {side: [] for side in contestants}
                for _ in range(ROUNDS):
                    for side, run in contestants.items():
                        (found, products), spent = run()
                        seconds[side].append(spent)
                        shown = np.array2string(np.atleast_1d(found), precision=4)
                        print(
                            f"    {quantity}, {side}: {spent:.2f} s, {shown}, products or samples {products}",
                            flush=True,
                        )
                best = {side: min(values) for side, values in seconds.items()}
                ratios = ", ".join(f"{side} {best[side] / best['isthmus']:.1f}x" for side in list(best)[1:])
                print(f"  {quantity}: isthmus {best['isthmus']:.2f} s; {ratios}", flush=True)


if __name__ == "__main__":
    main()
