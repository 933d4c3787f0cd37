"""Training throughput for a block of five seeds, against a plain PyTorch loop with a `DataLoader`.

Images per second, evaluation on all examples before and after training included on both sides. The plain loop is what a
tutorial shows, with the images already normalized tensors (`TensorDataset`), so that no decoding counts against it.
`two jobs` is how the workflow fills two cores: two jobs at a time, of one thread each.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timing import medians
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import load
from isthmus.training.layouts import fastest_layout
from isthmus.training.trainer import new_state, train

SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 2

Shape = tuple[int, int, int]


def random_images(shape: Shape, count: int) -> Dataset:
    """A data set of random images: throughput does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    channels = shape[0]
    return Dataset(
        "random", 10, "", images, labels, images[:256], labels[:256],
        torch.full((channels,), 127.5), torch.full((channels,), 74.0),
    )  # fmt: skip


def recipe_of(architecture: str, width: int, depth: int, batch: int, count: int) -> Recipe:
    batch_norm = architecture == "cnn"
    training = {"epochs": EPOCHS, "history_every": EPOCHS, "learning_rate": 0.01}
    if batch_norm:
        training["statistics_size"] = max(count // 12, 2)  # the share that the default takes of CIFAR-10
    study = {
        "data": {"name": "CIFAR10", "train_size": count},
        "network": {"architecture": architecture, "normalization": "batch" if batch_norm else "none"},
        "training": training,
        "grid": {"width": [width], "depth": [depth], "batch_size": [batch], "seed": 1},
    }
    (cell,) = load({"studies": {"bench": study}}).studies["bench"].cells.values()
    return cell.recipe


def plain_network(recipe: Recipe, shape: Shape) -> nn.Module:
    layers: list[nn.Module] = []
    inputs, width = shape[0], recipe.network.width
    if recipe.network.architecture == "mlp":
        layers, inputs = [nn.Flatten()], shape[0] * shape[1] * shape[2]
        for _ in range(recipe.network.depth):
            layers, inputs = [*layers, nn.Linear(inputs, width), nn.ReLU()], width
        return nn.Sequential(*layers, nn.Linear(inputs, 10))
    for block in range(3):
        for _ in range(recipe.network.depth):
            outputs = width * 2**block
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 16, 256), nn.ReLU(), nn.Linear(256, 10))


def plain(recipe: Recipe, dataset: Dataset, threads: int) -> None:
    """The five networks by a plain loop, one after another."""
    torch.set_num_threads(threads)
    mean, std = dataset.mean[:, None, None], dataset.std[:, None, None]
    training = TensorDataset((dataset.train_images - mean) / std, dataset.train_labels)
    testing = TensorDataset((dataset.test_images - mean) / std, dataset.test_labels)
    for seed in SEEDS:
        torch.manual_seed(seed)
        network = plain_network(recipe, tuple(dataset.train_images.shape[1:]))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        loader = DataLoader(training, recipe.training.batch_size, shuffle=True)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
        plain_evaluation(network, training, testing)
        for _ in range(EPOCHS):
            for images, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(network(images), labels).backward()
                optimizer.step()
                scheduler.step()
        plain_evaluation(network, training, testing)


def plain_evaluation(network: nn.Module, *sets: TensorDataset) -> None:
    network.eval()
    with torch.no_grad():
        for each in sets:
            for images, labels in DataLoader(each, 1000):
                outputs = network(images)
                F.cross_entropy(outputs, labels).item(), (outputs.argmax(1) == labels).sum().item()
    network.train()


def ours(recipe: Recipe, count: int, shape: Shape, threads: int, stack: int, channels_last: bool) -> None:
    """The five networks by `isthmus.training.trainer`, `stack` at a time, as a job trains them."""
    devices.set_up(threads, deterministic=False)
    dataset, settings = random_images(shape, count), Settings(torch.device("cpu"), channels_last)
    for start in range(0, len(SEEDS), stack):
        state = new_state(recipe, dataset, SEEDS[start : start + stack])
        train(recipe, state, dataset, settings, lambda state: None, lambda: None)


def compare(
    name: str, architecture: str, width: int, depth: int, batch: int, shape: Shape, count: int, precisions: list[str]
) -> None:
    """Print the throughput of every side for one kind of network."""
    recipe, dataset = recipe_of(architecture, width, depth, batch, count), random_images(shape, count)
    convolutional = recipe.network.convolutional
    ways = [("one by one", 1, False), ("stacked", len(SEEDS), False)]
    if convolutional:
        ways = [("contiguous", 1, False), ("channels-last", 1, True)]
    print(f"{name}: {count} images of {shape}, batch {batch}, five seeds")
    # Jobs keep the memory of freed tensors, and the plain loop does not, so they have processes of their own.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as workers:
        sides = {f"plain, {threads} thread(s)": partial(plain, recipe, dataset, threads) for threads in (1, 2)}

        def jobs(number: int, *arguments: Any) -> None:
            for job in [workers.submit(ours, *arguments) for _ in range(number)]:
                job.result()

        for precision in precisions if convolutional else ["float32"]:
            chosen = replace(recipe, training=replace(recipe.training, precision=precision))
            found = workers.submit(fastest_layout, chosen, dataset, Settings(torch.device("cpu"))).result()
            print(f"  measured by a job, {precision}: {found['milliseconds']} ms a step")
            for label, stack, last in ways:
                for threads, number in ((1, 1), (2, 1), (1, 2)):
                    what = "two jobs" if number == 2 else f"{threads} thread(s)"
                    given = chosen, count, shape, threads, stack, last
                    sides[f"{label}, {precision}, {what}"] = partial(jobs, number, *given)
        taken = medians(sides, repetitions=2)
    images = EPOCHS * count * len(SEEDS)
    best = min(taken["plain, 1 thread(s)"], taken["plain, 2 thread(s)"])
    for side, seconds in taken.items():
        done = 2 * images if "two jobs" in side else images
        print(f"  {side:36} {done / seconds:10.0f} images/s   {done / images * best / seconds:6.2f} x the better plain")


def main() -> None:
    """Some ten minutes; with `--bfloat16` an hour on a processor that has no instructions for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bfloat16", action="store_true", help="train convolutional networks in bfloat16 as well")
    precisions = ["float32", "bfloat16"] if parser.parse_args().bfloat16 else ["float32"]
    compare("MLP, width 32, depth 3", "mlp", 32, 3, 32, (1, 8, 8), 1437, precisions)
    compare("MLP, width 512, depth 2", "mlp", 512, 2, 128, (1, 28, 28), 5000, precisions)
    compare("published CNN, base width 8", "cnn", 8, 2, 128, (3, 32, 32), 512, precisions)
    compare("published CNN, base width 32", "cnn", 32, 2, 128, (3, 32, 32), 128, precisions)


if __name__ == "__main__":
    main()
