"""Bezier curves between networks, fitted and evaluated: against plain PyTorch in the style of dnn-mode-connectivity.

The published CNN at base width 8 and random images of the size of CIFAR-10: two epochs of fitting on 50,000 images,
batch 128, then 61 points of the curve on 10,000 training and 10,000 test images. The plain side is the method of
Garipov et al.'s repository: a `DataLoader` with two workers (over tensors that are normalized already, so that no
decoding counts against it), a weighted sum of three control points in every forward pass, one t after another, and
before each a pass over the training images in batches that updates the running statistics of batch norm. It evaluates
under `torch.no_grad`, which the repository does not. Our side takes the statistics over 2,048 fixed images in one pass;
the same number on both sides is a line of its own. Every contestant runs in processes of its own.

By default 60 steps and 2 points are measured and the rest is extrapolated, some minutes; `--full` runs it all, once.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from bench_training import plain_network
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.data.examples import pair_labels, place_examples
from isthmus.data.subsets import subset
from isthmus.landscape.at_points import evaluate_path
from isthmus.landscape.curves import fit, fitted, new_curves
from isthmus.landscape.paths import Path, curve
from isthmus.models.evaluation import evaluate, evaluation_mode, losses
from isthmus.models.networks import build, count_parameters
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import load

SHAPE, CLASSES = (3, 32, 32), 10
TRAINING, EVALUATED = 50_000, 10_000
EPOCHS, BATCH, POINTS = 2, 128, 61
STEPS = EPOCHS * -(-TRAINING // BATCH)
PAIR = (0, 1)
WORKERS = 2
SAME = "statistics, as many images"
"""The plain pass for batch-norm statistics over as few images as ours."""

Seconds = dict[str, float]
Side = Callable[["Amount", int], Seconds]


@dataclass(frozen=True)
class Amount:
    """How much of the work is measured: steps of the fit, and points of the curve."""

    steps: int
    points: int

    def whole(self, measured: Seconds) -> Seconds:
        """Seconds of the whole work from those of this much of it."""
        factors = {"data": 1.0, "fit": STEPS / self.steps, "fit, arithmetic": STEPS / self.steps}
        return {part: seconds * factors.get(part, POINTS / self.points) for part, seconds in measured.items()}


@contextmanager
def clock(seconds: Seconds, part: str) -> Iterator[None]:
    """Add the seconds of what is inside to a part."""
    started = time.perf_counter()
    yield
    seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started


@cache
def recipe() -> Recipe:
    study = {
        "data": {"name": "CIFAR10"},
        "network": {"architecture": "cnn", "normalization": "batch", "blocks": 3, "hidden_units": 256},
        "training": {"epochs": EPOCHS, "learning_rate": 0.01},
        "grid": {"width": [8], "depth": [2], "batch_size": [BATCH], "seed": 2},
    }
    (cell,) = load({"studies": {"bench": study}}).studies["bench"].cells.values()
    return cell.recipe


@cache
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Tensor:
        return torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=generator)

    def labels(count: int) -> Tensor:
        return torch.randint(CLASSES, (count,), generator=generator)

    mean, std = torch.full((3,), 127.5), torch.full((3,), 74.0)
    sizes = (TRAINING, EVALUATED)
    train, test = ((images(size), labels(size)) for size in sizes)
    return Dataset("random", CLASSES, "", *train, *test, mean, std)


@cache
def ends() -> Path:
    """The curve before it is fitted: two networks at initialization, which cost what trained ones do."""
    networks = []
    for seed in PAIR:
        network = build(recipe().network, SHAPE, CLASSES)
        network.initialize((seed,))
        networks.append({name: value.detach() for name, value in network.named_parameters()})
    return curve("bezier", *networks)


# Isthmus, as the stage `connect` calls it


def ours(amount: Amount, threads: int) -> Seconds:
    """One curve by the library with the workflow's own settings."""
    cpu, training, seconds = torch.device("cpu"), recipe().training, Seconds()
    devices.set_up(threads, deterministic=False)
    settings = Settings(cpu, channels_last=True)
    parameters = count_parameters(recipe().network, SHAPE, CLASSES)
    stack = devices.stack_size(
        "auto", recipe().network.convolutional, parameters, settings.evaluation_batch_size, cpu, POINTS
    )
    with clock(seconds, "data"):
        examples = place_examples(recipe(), dataset(), PAIR, settings)
        used = examples.subset(EVALUATED)
        images, few = examples.images[used], examples.images[examples.subset(training.statistics_size)][None]
        labels = pair_labels(examples.labels, PAIR, (PAIR,))
    network = build(recipe().network, SHAPE, CLASSES)
    with clock(seconds, "fit"):
        state = new_curves(ends(), (PAIR,))
        steps = replace(training, steps=amount.steps)
        fit(network, ends(), state, labels, examples, steps, settings, lambda state: None, lambda: None)
    path, t = fitted(ends(), state).member(0), np.linspace(0, 1, amount.points)
    network = build(recipe().network, SHAPE, CLASSES, stack)
    sets = {"train": (images, labels[:, 0, used]), "test": (examples.test_images, examples.test_labels)}
    rest = (training.loss, few, settings.evaluation_batch_size)
    with clock(seconds, "statistics"):
        evaluate_path(network, path, t, {}, *rest)
    with clock(seconds, "evaluation"):  # with statistics over two images, which cost nothing
        evaluate_path(network, path, t, sets, rest[0], few[:, :2], rest[2])
    arithmetic(seconds, amount, images, settings)
    return seconds


def arithmetic(seconds: Seconds, amount: Amount, images: Tensor, settings: Settings) -> None:
    """What the same passes take with nothing around them: one network, one batch that lies ready."""
    network = build(recipe().network, SHAPE, CLASSES)
    network.initialize(PAIR[:1])
    batch, labels = images[None, :BATCH], torch.zeros(1, BATCH, dtype=torch.int64)
    with clock(seconds, "fit, arithmetic"):
        for _ in range(amount.steps):
            loss = losses(network(batch), labels, "cross_entropy").sum()
            torch.autograd.grad(loss, tuple(network.parameters()))
    few, size = images[:: len(images) // 1024], settings.evaluation_batch_size
    with evaluation_mode(network, images[None, :2]):
        started = time.perf_counter()
        evaluate(network, few, torch.zeros(1, 1, len(few), dtype=torch.int64), "cross_entropy", size)
        taken = time.perf_counter() - started
    seconds["evaluation, arithmetic"] = taken / len(few) * 2 * EVALUATED * amount.points


# The plain way


class PlainCurve(nn.Module):
    """A quadratic Bezier curve of an ordinary network: only its bend is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain_network(recipe(), SHAPE)
        self.names = [name for name, _ in self.network.named_parameters()]
        path = ends()
        self.controls = [[value[0] for value in part.values()] for part in (path.start, path.bend(), path.end)]
        self.bend = nn.ParameterList(self.controls[1])
        self.controls[1] = list(self.bend)
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)

    def forward(self, images: Tensor, t: float) -> Tensor:
        shares = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
        weights = {
            name: sum(share * value for share, value in zip(shares, values, strict=True))
            for name, *values in zip(self.names, *self.controls, strict=True)
        }
        outputs: Tensor = torch.func.functional_call(self.network, weights, (images,))
        return outputs


@cache
def tensors() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Training examples, those of them that are evaluated, and test examples."""
    data = dataset()
    mean, std = data.mean[:, None, None], data.std[:, None, None]
    training = TensorDataset((data.train_images - mean) / std, data.train_labels)
    used = TensorDataset(*training[subset(data.train_labels, EVALUATED)])
    return training, used, TensorDataset((data.test_images - mean) / std, data.test_labels)


def loader(examples: Any, shuffle: bool = False) -> DataLoader:
    return DataLoader(examples, BATCH, shuffle=shuffle, num_workers=WORKERS, multiprocessing_context="fork")


def plain(amount: Amount, threads: int) -> Seconds:
    """One curve the plain way."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    seconds: Seconds = {"data": 0.0}
    training, used, testing = tensors()
    model = PlainCurve()
    plain_fit(model, training, amount, seconds)
    few = Subset(used, range(recipe().training.statistics_size))
    with torch.no_grad():
        for t in np.linspace(0, 1, amount.points).tolist():
            with clock(seconds, SAME):
                update_statistics(model, loader(few), t)
            with clock(seconds, "statistics"):
                update_statistics(model, loader(used), t)
            with clock(seconds, "evaluation"):
                for examples in (used, testing):
                    plain_evaluation(model, loader(examples), t)
    return seconds


def plain_fit(model: PlainCurve, training: TensorDataset, amount: Amount, seconds: Seconds) -> None:
    """Steps of fitting; the start of the loader's workers counts once an epoch however few steps are measured."""
    optimizer = torch.optim.SGD(model.bend.parameters(), lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    model.train()
    left, starts, taken = amount.steps, 0.0, 0.0
    while left:
        began = time.perf_counter()
        batches = iter(loader(training, shuffle=True))
        batch = next(batches, None)
        starts, started = time.perf_counter() - began, time.perf_counter()
        while batch is not None and left:
            images, labels = batch
            optimizer.zero_grad()
            F.cross_entropy(model(images, torch.rand(()).item()), labels).backward()
            optimizer.step()
            scheduler.step()
            left -= 1
            batch = next(batches, None) if left else None
        taken += time.perf_counter() - started
    seconds["fit"] = taken + EPOCHS * starts * amount.steps / STEPS


def update_statistics(model: PlainCurve, batches: DataLoader, t: float) -> None:
    """Running means over all batches, each weighted by its size: what Garipov et al. call `update_bn`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
    model.train()
    seen = 0
    for images, _ in batches:
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen
        model(images, t)


def plain_evaluation(model: PlainCurve, batches: DataLoader, t: float) -> tuple[float, float]:
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in batches:
        outputs = model(images, t)
        loss += F.cross_entropy(outputs, labels).item() * len(images)
        correct += (outputs.argmax(1) == labels).sum().item()
        count += len(images)
    return loss / count, correct / count


# Rounds and tables


class Contestant:
    """A side of the comparison: one curve in each of some processes, at the same time."""

    def __init__(self, side: Side, threads: int, processes: list[ProcessPoolExecutor]) -> None:
        self.side, self.threads, self.processes = side, threads, processes
        self.rounds: list[Seconds] = []

    def run(self, amount: Amount) -> Seconds:
        """Seconds of each part, the mean of the curves."""
        running = [process.submit(self.side, amount, self.threads) for process in self.processes]
        done = [each.result() for each in running]
        return {part: statistics.mean(seconds[part] for seconds in done) for part in done[0]}

    def median(self, amount: Amount) -> Seconds:
        """The whole work, from the medians of the rounds."""
        return amount.whole({part: statistics.median(each[part] for each in self.rounds) for part in self.rounds[0]})


PARTS = ("data", "fit", "statistics", "evaluation")


def total(seconds: Seconds) -> float:
    return sum(seconds[part] for part in PARTS)


def show(title: str, reference: Seconds, isthmus: Seconds, curves: int = 1) -> None:
    """The seconds of some curves on both sides, and their ratios."""
    print(f"\n{title:34}" + "".join(f"{part:>12}" for part in (*PARTS, "total")))
    for name, side in (("plain", reference), ("isthmus", isthmus)):
        print(f"  {name:32}" + "".join(f"{curves * value:12.1f}" for value in (*(side[p] for p in PARTS), total(side))))
    pairs = [(reference[part], isthmus[part]) for part in PARTS[1:]]
    ratios = [first / second for first, second in [*pairs, (total(reference), total(isthmus))]]
    print(f"  {'plain / isthmus':32}{'':12}" + "".join(f"{ratio:12.2f}" for ratio in ratios))
    size = recipe().training.statistics_size
    fewer = reference | {"statistics": reference[SAME]}
    every = reference | {"statistics": reference["statistics"] * TRAINING / EVALUATED}
    for images, side in ((f"{size:,}, as ours", fewer), (f"{TRAINING:,}, all", every)):
        print(f"  with plain statistics over {images}: {side['statistics'] / isthmus['statistics']:.2f}", end="")
        print(f" for them, {total(side) / total(isthmus):.2f} in total")


def show_rest(isthmus: Seconds, threads: str) -> None:
    """Where our own time goes."""
    whole = total(isthmus)
    shares = ", ".join(f"{part} {isthmus[part] / whole:.0%}" for part in PARTS)
    rates = (STEPS * BATCH / isthmus["fit"], POINTS * 2 * EVALUATED / isthmus["evaluation"])
    print(f"\nWhere the time of isthmus goes ({threads}): {shares}.")
    for part, rate in zip(("fit", "evaluation"), rates, strict=True):
        passes = "forward and backward" if part == "fit" else "forward"
        share = isthmus[f"{part}, arithmetic"] / isthmus[part]
        print(f"  {part}: {rate:,.0f} images/s; bare {passes} passes over resident batches take {share:.0%} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to fit and evaluate curves, against plain PyTorch.")
    parser.add_argument("--full", action="store_true", help="all steps and points, one round, instead of an estimate")
    parser.add_argument("--steps", type=int, default=60, help="steps of the fit to measure")
    parser.add_argument("--points", type=int, default=2, help="points of the curve to measure")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    amount = Amount(STEPS, POINTS) if given.full else Amount(given.steps, given.points)
    contestants = {}
    for name, side in (("plain", plain), ("isthmus", ours)):
        both = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(2)]
        for threads, processes in ((1, both[:1]), (2, both[:1]), (1, both)):
            contestants[name, threads, len(processes)] = Contestant(side, threads, processes)
    for each in contestants.values():  # not counted: imports, data, threads
        each.run(Amount(1, 1) if given.full else Amount(2, 1))
    order = sorted(contestants, key=lambda key: key[1:])  # the two sides of a comparison one right after the other
    for _ in range(1 if given.full else given.rounds):
        for key in order:
            contestants[key].rounds.append(contestants[key].run(amount))
    found = {key: each.median(amount) for key, each in contestants.items()}
    kind = "measured" if given.full else f"seconds, estimated from {amount.steps} steps and {amount.points} points"
    print(f"{kind}: {STEPS} steps of {BATCH}, {POINTS} points on 2 x {EVALUATED:,} images")
    show("one curve, one thread", found["plain", 1, 1], found["isthmus", 1, 1])
    show("one curve, two threads", found["plain", 2, 1], found["isthmus", 2, 1])
    # Two curves on two cores: ours in two jobs; the plain ones in turn, the better of two ways, or in two jobs, too.
    after = min(found["plain", 1, 1], found["plain", 2, 1], key=total)
    twice = {part: 2 * seconds for part, seconds in after.items()}
    show("two curves, plain in turn", twice, found["isthmus", 1, 2])
    show("two curves, plain in two jobs", found["plain", 1, 2], found["isthmus", 1, 2])
    show_rest(found["isthmus", 1, 2], "two jobs")


if __name__ == "__main__":
    main()
