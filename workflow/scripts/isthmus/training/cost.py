"""What training costs, and the terms in which every analysis states its cost: work in calls, memory in MB.

Work is a list of calls (gradients, evaluations, Hessian products, dense algebra, search steps) with the number of
multiplications in each, counted in closed form before anything runs. A job requests resources for these counts at the
generous speeds below; `make plan` combines the same counts with measured speeds. Memory is a generous guess; a job that
needs more gets more when it is retried.

This module does not import torch, since the Snakefile is parsed often. No measuring code imports it, so that a better
estimate reruns nothing.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from isthmus.data.facts import Facts
from isthmus.models.sizes import multiplications, parameters, units
from isthmus.recipes.recipe import Recipe
from isthmus.recipes.schedules import run_length

PROCESS_MB = 1000
# A slow core: multiplications per second in training, and the seconds that any step costs, whatever its size.
MULTIPLICATIONS_PER_SECOND = 5e9
SECONDS_PER_STEP = 2e-3
# Per kind of call: its multiplications relative to a forward pass on its examples, and its steps.
GENEROUS = {"gradient": (3, 1), "evaluation": (1, 0), "product": (9, 10), "algebra": (1, 0), "search": (1, 1)}
# The fractions of the allowed products and search steps that were taken, measured on small MLPs.
LIKELY_PRODUCTS = 0.4
LIKELY_STEPS = 0.3
EVALUATED_TOGETHER = 256  # examples in an evaluation call, the default of jobs.evaluation_batch_size
# Measured seconds per value; other corruptions take about 10 ns, and JPEG another 200 microseconds per image.
CORRUPTING = {"shot_noise": 6e-8, "gaussian_blur": 8e-8}


@dataclass(frozen=True)
class Calls:
    """`count` calls of a kind for each of `networks` networks (or points of a path), which may share a call.

    size: multiplications of one network's forward pass on the examples of one call; for `algebra`, of the call itself.
    batch_size: decides how many networks are stacked in a call (`isthmus.core.devices.stack_size`); 0 if they never
    are. likely: the expected fraction of `count`, if `count` is the limit of a search that may end earlier.
    """

    kind: str
    count: float
    size: float
    networks: int = 1
    batch_size: int = 0
    likely: float = 1.0


@dataclass(frozen=True)
class Work:
    """The calls of a job, plus seconds that were measured directly and hardly depend on networks or machines."""

    calls: tuple[Calls, ...]
    seconds: float = 0.0

    def slow_seconds(self, likely: bool = False) -> float:
        """Seconds on one slow core. likely: searches take their expected number of calls, not the number allowed."""
        seconds = self.seconds
        for each in self.calls:
            passes, steps = GENEROUS[each.kind]
            once = passes * each.size / MULTIPLICATIONS_PER_SECOND + steps * SECONDS_PER_STEP
            seconds += (each.likely if likely else 1.0) * each.count * each.networks * once
        return seconds

    def minutes(self) -> int:
        """A generous guess of the minutes this takes on one slow core, at least 10."""
        return 10 + round(self.slow_seconds() / 60)


def evaluations(examples: float, forward: int, networks: int, batch_size: int) -> Calls:
    """One evaluation of each of `networks` on `examples` examples."""
    return Calls("evaluation", examples / EVALUATED_TOGETHER, EVALUATED_TOGETHER * forward, networks, batch_size)


def sizes_of(recipe: Recipe, facts: Facts) -> tuple[int, int, int]:
    """Numbers of training examples, of examples for batch-norm statistics, and of multiplications per forward pass."""
    examples = recipe.data.train_size or facts.train_size
    forward = multiplications(recipe.network, facts.shape, facts.classes)
    return examples, recipe.statistics_examples(examples), forward


def examples_at_a_point(recipe: Recipe, facts: Facts, options: Mapping[str, Any], most: int = sys.maxsize) -> float:
    """The number of examples that a point of a path is evaluated on, including those for batch-norm statistics.

    most: what each of the three numbers is at most, beside what the options say.
    """
    examples, statistics, _ = sizes_of(recipe, facts)
    evaluated = min(most, options["evaluation_examples"] or sys.maxsize)
    return min(evaluated, examples) + min(evaluated, facts.test_size) + min(most, statistics)


def corrupting_seconds(images: int, facts: Facts, options: Mapping[str, Any]) -> float:
    """Seconds to corrupt so many images by all `corruptions` of the options at all `severities`."""
    values = prod(facts.shape)
    each = [CORRUPTING.get(name, 1e-8) * values + 2e-4 * (name == "jpeg") for name in options["corruptions"]]
    return images * len(options["severities"]) * sum(each)


def work(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> Work:
    """The work of training `networks` networks for all their epochs, or of evaluating networks trained elsewhere once.

    `options` is not used.
    """
    given, (examples, statistics, forward) = recipe.training, sizes_of(recipe, facts)
    if recipe.trained_elsewhere:
        return Work((evaluations(networks * (examples + facts.test_size + statistics), forward, 1, 1),))
    per_epoch, steps = run_length(given, examples)
    moments = steps / per_epoch / given.history_every + 2
    gradients = steps * (2 if given.sharpness_radius else 1)  # sharpness-aware training takes two a step
    evaluated = moments * (examples + facts.test_size + statistics)
    step = Calls("gradient", gradients, given.batch_size * forward, networks, given.batch_size)
    return Work((step, evaluations(evaluated, forward, networks, given.batch_size)))


def memory_mb(
    recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int, evaluation_batch_size: int
) -> int:
    """A generous guess of the memory that training needs, in MB: process, data, weights and activations."""
    training = recipe.training
    shape, classes = facts.shape, facts.classes
    copies = facts.value_bytes + 5  # as stored, in float32, and some room
    data = (facts.train_size + facts.test_size) * prod(shape) * copies
    kept = 8 + len(training.snapshots) + 2 * (training.sharpness_radius > 0) + 2 * (training.averaging != "none")
    weights = networks * parameters(recipe.network, shape, classes) * 4 * kept
    activations = units(recipe.network, shape, classes)
    trained_on = 0 if recipe.trained_elsewhere else 3 * networks * training.batch_size
    statistics = sizes_of(recipe, facts)[1]
    batch = max(trained_on, evaluation_batch_size, statistics)
    return PROCESS_MB + round((data + weights + 4 * 4 * batch * activations) / 1e6)


def disk_bytes(recipe: Recipe, facts: Facts, options: Mapping[str, Any], networks: int) -> float:
    """Bytes of the weights that stay on disk, as results and as checkpoints of finished networks."""
    snapshots = 2 + len(recipe.training.snapshots) + (recipe.training.averaging != "none")
    return 2.0 * snapshots * networks * 4 * parameters(recipe.network, facts.shape, facts.classes)


def run_time(minutes: int, attempt: int, longest: int | None) -> int:
    """Minutes to request for a job that should take `minutes`: more in every further attempt, but at most `longest`.

    If the time runs out, the next attempt resumes the job.

    >>> run_time(60, 1, 100), run_time(60, 2, 100), run_time(60, 2, None)
    (60, 100, 120)
    """
    return attempt * minutes if longest is None else min(attempt * minutes, longest)
