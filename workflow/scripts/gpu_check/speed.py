"""How fast the workflow's own calls are, and what share of this device they use.

The published CNN (arXiv 2604.07603) on random images of CIFAR-10's size: what is measured does not depend on what they
show. Peaks are those of a large matrix product. Of a step's multiplications, the forward pass is a third.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpu_check.case import Case, Measured, Options
from gpu_check.ways import matrix_precision
from isthmus import api
from isthmus.core.devices import Settings, allow_tf32
from isthmus.data.dataset import Dataset
from isthmus.models.architectures import architecture
from isthmus.models.sizes import multiplications
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import load
from isthmus.training.timing import timed, training_step

SHAPE, CLASSES, SEEDS, BATCH = (3, 32, 32), 10, 5, 128
PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
POINTS, EIGENVALUES, PRECISION = 61, 5, 0.05
TOLERANCE = 1e-3  # of eigenvalues, relative
AGREE = 2e-2  # how far the top eigenvalue of another library may be, relative


class Work:
    """The sizes of the cases."""

    def __init__(self, options: Options) -> None:
        small = options.smallest
        self.device = torch.device(options.device)
        self.width, self.rows, self.seconds = (2, 256, 0.05) if small else (32, 8192, 0.5)
        self.examples, self.hessian, self.epochs = (256, 32, 1) if small else (10_000, 1000, 5)
        self.points, self.batch = (5, 32) if small else (POINTS, BATCH)
        self.layouts = (False,) if small else (False, True)


def cases(options: Options) -> list[Case]:
    """Peaks, training, a curve, curvature."""
    work = Work(options)
    allow_tf32(False)  # as in jobs; cases of a precision change it for themselves
    peaks = [Case(f"peak {each}", lambda _, each=each: peak(work, each)) for each in PRECISIONS]
    training = [Case(f"training {each}", lambda _, each=each: training_speed(work, each)) for each in PRECISIONS]
    others: dict[str, Callable[[Work], Measured]] = {
        "curve": curve,
        "isthmus": ours,
        "PyHessian": pyhessian,
        "curvlinops": curvlinops,
    }
    return [*peaks, *training, *(Case(name, lambda _, run=run: run(work)) for name, run in others.items())]


def peak(work: Work, precision: str) -> Measured:
    """Operations a second of a product of two square matrices; a multiplication and an addition are two."""
    left, right = (torch.randn(2, work.rows, work.rows, device=work.device).to(PRECISIONS[precision])).unbind()
    with matrix_precision(precision):
        taken = _seconds(lambda: left @ right, work)
    return {"precision": precision, "tflops": 2 * work.rows**3 / taken / 1e12}


def training_speed(work: Work, precision: str) -> Measured:
    """Images a second of the published CNN, by the library's best way for five seeds and by a plain loop."""
    recipe, dataset = recipe_of(work, "bfloat16" if precision == "bfloat16" else "float32"), images_of(work)
    found: dict[str, float] = {}
    with matrix_precision(precision):
        for last in work.layouts:
            settings = Settings(work.device, channels_last=last)
            step = training_step(recipe, dataset, 1, work.batch, settings)
            found["channels_last" if last else "contiguous"] = work.batch / _seconds(step, work)
        for name, capture in (("stacked", False), ("captured", True)):
            step = training_step(recipe, dataset, SEEDS, work.batch, Settings(work.device, capture=capture))
            found[name] = SEEDS * work.batch / _seconds(step, work)
        plain = work.batch / _seconds(plain_step(work, recipe, dataset, precision), work)
        speed = max(found.values())
        tflops = speed * 6 * multiplications(recipe.network, SHAPE, CLASSES) / 1e12
        share = tflops / peak(work, precision)["tflops"]
    rates = {f"{name}_images_s": rate for name, rate in found.items()}
    return {
        "precision": precision,
        "images_s": speed,
        "plain_images_s": plain,
        "times_plain": speed / plain,
        "tflops": tflops,
        "share_of_peak": share,
        **rates,
    }


def plain_step(work: Work, recipe: Recipe, dataset: Dataset, precision: str) -> Callable[[], None]:
    """A step of a plain loop over images that lie on the device, normalized."""
    network = architecture(recipe.network, SHAPE, CLASSES).to(work.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images, labels = ((dataset.train_images - 127.5) / 74.0).to(work.device), dataset.train_labels.to(work.device)

    def step() -> None:
        chosen = torch.randint(len(images), (work.batch,), device=work.device)
        optimizer.zero_grad()
        with torch.autocast(work.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = network(images[chosen])
        F.cross_entropy(outputs.float(), labels[chosen]).backward()
        optimizer.step()

    return step


def curve(work: Work) -> Measured:
    """Fit a Bezier curve between two networks, and evaluate it at 61 points."""
    model, first, second, data = problem(work, work.examples)
    began = time.perf_counter()
    bend = api.fit_curve(model, first, second, data, epochs=work.epochs, learning_rate=0.01, batch_size=work.batch)
    fitted = time.perf_counter()
    api.barrier(model, first, second, data, bend=bend, points=work.points, batch_size=2000)
    ended = time.perf_counter()
    steps = work.epochs * -(-work.examples // work.batch)
    return {
        "fit_s": fitted - began,
        "fit_images_s": steps * work.batch / (fitted - began),
        "profile_s": ended - fitted,
        "points": work.points,
        "profile_images_s": work.points * work.examples / (ended - fitted),
    }


def ours(work: Work) -> Measured:
    """Top five eigenvalues, and the trace to a standard error of 5 %."""
    model, weights, _, data = problem(work, work.hessian)

    def top() -> Any:
        return api.top_eigenvalues(model, data, EIGENVALUES, weights=weights, tolerance=TOLERANCE)

    found, taken = _timed_once(top, work)
    trace, also = _timed_once(lambda: api.trace(model, data, weights=weights, precision=PRECISION), work)
    return {
        "eigenvalues_s": taken,
        "trace_s": also,
        "top": float(found.values[0]),
        "fifth": float(found.values[-1]),
        "products": int(found.products),
        "trace": float(trace.value),
        "trace_error": float(trace.error),
    }


def pyhessian(work: Work) -> Measured:
    """The same with PyHessian. Raises RuntimeError if its top eigenvalue is another."""
    from pyhessian import hessian

    model, weights, _, (images, labels) = problem(work, work.hessian)
    plain = fixed(model, weights, images)
    theirs = hessian(plain, nn.CrossEntropyLoss(), data=(images, labels), cuda=work.device.type == "cuda")
    (values, _), taken = _timed_once(lambda: theirs.eigenvalues(maxIter=100, tol=TOLERANCE, top_n=EIGENVALUES), work)
    samples, also = _timed_once(lambda: theirs.trace(maxIter=20, tol=1e-9), work)
    # Charged the samples that their own scatter asks for.
    wanted = (np.std(samples, ddof=1) / (PRECISION * abs(np.mean(samples)))) ** 2
    return _agreed(work, float(values[0])) | {
        "eigenvalues_s": taken,
        "trace_s": also * max(wanted, 1.0) / len(samples),
        "trace": float(np.mean(samples)),
    }


def curvlinops(work: Work) -> Measured:
    """The same with curvlinops and SciPy's eigsh, and its Hutch++. RuntimeError if the top eigenvalue is another."""
    from curvlinops import HessianLinearOperator, hutchpp_trace
    from scipy.sparse.linalg import eigsh

    model, weights, _, (images, labels) = problem(work, work.hessian)
    plain = fixed(model, weights, images)
    theirs = HessianLinearOperator(plain, nn.CrossEntropyLoss(), list(plain.parameters()), [(images, labels)])
    values, taken = _timed_once(
        lambda: eigsh(theirs.to_scipy(), k=EIGENVALUES, which="LA", tol=TOLERANCE, return_eigenvectors=False), work
    )
    trace, also = _timed_once(lambda: hutchpp_trace(theirs, num_matvecs=60), work)
    return _agreed(work, float(values.max())) | {"eigenvalues_s": taken, "trace_s": also, "trace": float(trace)}


def _agreed(work: Work, top: float) -> Measured:
    """The top eigenvalue of another library, if it is ours. Raises RuntimeError otherwise."""
    model, weights, _, data = problem(work, work.hessian)
    mine = float(api.top_eigenvalues(model, data, weights=weights, tolerance=TOLERANCE).values[0])
    if abs(top - mine) > AGREE * abs(mine):
        raise RuntimeError(f"their top eigenvalue is {top}, ours {mine}")
    return {"top": top}


def recipe_of(work: Work, precision: str) -> Recipe:
    """The published CNN."""
    study = {
        "data": {"name": "CIFAR10"},
        "network": {"architecture": "cnn", "normalization": "batch", "blocks": 3, "hidden_units": 256},
        "training": {"learning_rate": 0.01, "precision": precision},
        "grid": {"width": [work.width], "depth": [2], "batch_size": [work.batch], "seed": 1},
    }
    (cell,) = load({"studies": {"check": study}}).studies["check"].cells.values()
    return cell.recipe


def images_of(work: Work) -> Dataset:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (work.examples, *SHAPE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (work.examples,), generator=generator)
    constants = torch.full((3,), 127.5), torch.full((3,), 74.0)
    return Dataset("random", CLASSES, "", images, labels, images[:1], labels[:1], *constants)


def problem(work: Work, examples: int) -> tuple[nn.Module, Mapping[str, Tensor], Mapping[str, Tensor], Any]:
    """A model, two networks at initialization, and data on the device. Their cost is that of trained ones."""
    recipe, dataset, networks = recipe_of(work, "float32"), images_of(work), []
    for seed in range(2):
        torch.manual_seed(seed)
        made = architecture(recipe.network, SHAPE, CLASSES).to(work.device)
        networks.append({name: value.detach() for name, value in made.named_parameters()})
    images = ((dataset.train_images[:examples] - 127.5) / 74.0).to(work.device)
    data = images, dataset.train_labels[:examples].to(work.device)
    return architecture(recipe.network, SHAPE, CLASSES).to(work.device), networks[0], networks[1], data


def fixed(model: nn.Module, weights: Mapping[str, Tensor], images: Tensor) -> nn.Module:
    """The model in evaluation mode with these weights, its running statistics those of all the images."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
        norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
        # In evaluation mode, so that each layer gets what those before it make of these very statistics.
        for norm in norms:
            norm.register_forward_pre_hook(_take_statistics)
        model.eval()(images)
        for norm in norms:
            norm._forward_pre_hooks.clear()
    return model


def _take_statistics(norm: Any, arguments: tuple[Tensor, ...]) -> None:
    variance, mean = torch.var_mean(arguments[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _seconds(step: Callable[[], object], work: Work) -> float:
    """Seconds of a call: the fastest of three rounds, after a first call that may load libraries."""
    step()
    many = max(1, round(work.seconds / 3 / max(timed(step, work.device), 1e-6)))

    def repeat() -> None:
        for _ in range(many):
            step()

    return min(timed(repeat, work.device) for _ in range(3)) / many


def _timed_once(call: Callable[[], Any], work: Work) -> tuple[Any, float]:
    """What a call returns, and its wall-clock seconds."""
    began = time.perf_counter()
    found = call()
    if work.device.type == "cuda":
        torch.cuda.synchronize()
    return found, time.perf_counter() - began
