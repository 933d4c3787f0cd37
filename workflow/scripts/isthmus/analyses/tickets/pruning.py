"""Lottery tickets: iterative magnitude pruning with rewinding, and controls of the same density.

Each level prunes the network that the previous level trained, rewinds the remaining weights to an early step of the
dense run, and trains them again with the same code and data order (Frankle & Carbin 2019; rewinding to a later step:
Frankle et al. 2020). Next to the ticket, a level may have these networks with as many weights:

* `one_shot`: the dense network's weights pruned at once;
* `random`: as many weights per layer as the ticket, at random positions, rewound to the same values;
* `reinitialized`: the ticket's mask with a new initialization, trained from the first step;
* `magnitude_at_initialization`: the initial weights pruned by magnitude, trained from the first step;
* `twin`: the ticket on another order of the data, for the straight line between the two (Frankle et al. 2020).

Small networks of a level train in stacks. A mask keeps weights, gradients and momentum at zero; the arithmetic stays
dense, so sparsity saves no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from isthmus.core import seeds
from isthmus.core.errors import UserError
from isthmus.core.tensors import Tensors
from isthmus.models.masks import Kept, Pool, magnitude_mask, pools, prunable, random_mask, schedule
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State
from isthmus.training.starts import Start, start_of
from isthmus.training.trainer import Member

CONTROLS = ("one_shot", "random", "reinitialized", "magnitude_at_initialization")
KINDS = ("ticket", *CONTROLS, "twin")
FROM_TICKET = ("ticket", "random", "reinitialized", "twin")  # kinds with a mask derived from the ticket's


@dataclass(frozen=True)
class Entry:
    """A network to train at a level: its seed, kind, mask and start."""

    seed: int
    kind: str
    mask: Tensors
    start: Start

    @property
    def number(self) -> int:
        """Its number as a member of a stack."""
        return self.seed * len(KINDS) + KINDS.index(self.kind)

    @property
    def member(self) -> Member:
        """What it trains on: its seed's labels and, unless it is the twin, its seed's order of the data."""
        noise = seeds.integer(self.seed, seeds.Stream.SGD_NOISE) if self.kind == "twin" else self.seed
        return Member(self.seed, noise, self.mask)


@dataclass(frozen=True)
class Origin:
    """What all levels of a network go back to: its initial weights, the rewinding point and its dense final weights."""

    initial: Tensors
    rewound: Start
    dense: Tensors


@dataclass(frozen=True)
class Found:
    """What a level passes to the next: the ticket's mask and its trained weights, None if it diverged."""

    mask: Tensors
    weights: Tensors | None


@dataclass(frozen=True)
class Plan:
    """The levels of a study: how much each keeps, and which weights are ranked together.

    sizes: the number of weights of each prunable tensor, by name.
    """

    recipe: Recipe
    shape: tuple[int, ...]
    classes: int
    options: Mapping[str, Any]
    sizes: dict[str, int] = field(init=False)
    kept: tuple[Kept, ...] = field(init=False)  # of levels 1, 2, ...
    ranked: tuple[Pool, ...] = field(init=False)

    def __post_init__(self) -> None:
        with torch.device("meta"):
            network = build(self.recipe.network, self.shape, self.classes)
        options, names = self.options, prunable(network)
        object.__setattr__(self, "sizes", {name: network.get_parameter(name).numel() for name in names})
        object.__setattr__(self, "kept", tuple(schedule(fractions(options), options["output_rate"])))
        object.__setattr__(self, "ranked", tuple(pools(names, options["scope"], options["output_rate"])))

    def whole(self, weights: Tensors) -> Tensors:
        """The mask that keeps everything."""
        return {name: torch.ones_like(weights[name], dtype=torch.bool) for name in self.sizes}

    def kinds(self, level: int) -> list[str]:
        """The kinds of networks that have rows at a level."""
        return ["ticket", *self.options["controls"]] if level else ["dense"]

    def entries(self, seed: int, level: int, origin: Origin, before: Found | None) -> list[Entry]:
        """The networks of a seed to train at a level. before: what level - 1 found, None if it diverged."""
        twin = ["twin"] if self.options["stability"] else []
        if level == 0:
            return [Entry(seed, kind, self.whole(origin.dense), origin.rewound) for kind in twin]
        kinds = [*self.kinds(level), *twin]
        if before is None or before.weights is None:
            kinds = [kind for kind in kinds if kind not in FROM_TICKET]
            ticket: Tensors = {}
        else:
            ticket = magnitude_mask(before.weights, before.mask, self.ranked, self.kept[level - 1])
        return [self._entry(seed, kind, level, origin, ticket) for kind in KINDS if kind in kinds]

    def _entry(self, seed: int, kind: str, level: int, origin: Origin, ticket: Tensors) -> Entry:
        kept, start, mask = self.kept[level - 1], origin.rewound, ticket
        if kind == "one_shot":
            mask = magnitude_mask(origin.dense, None, self.ranked, kept)
        elif kind == "random":
            mask = random_mask(ticket, seeds.generator(seed, seeds.Stream.RANDOM_MASKS, level))
        elif kind == "reinitialized":
            start = Start(self._new_weights(seed, level), {}, 0)
        elif kind == "magnitude_at_initialization":
            mask, start = magnitude_mask(origin.initial, None, self.ranked, kept), Start(origin.initial, {}, 0)
        return Entry(seed, kind, mask, start)

    def _new_weights(self, seed: int, level: int) -> Tensors:
        """A new initialization for a level of a network."""
        network = build(self.recipe.network, self.shape, self.classes)
        network.initialize((seeds.integer(seed, seeds.Stream.REINITIALIZATION, level),))
        return {name: value.detach()[0] for name, value in network.named_parameters()}


def fractions(options: Mapping[str, Any]) -> list[float]:
    """The fractions of weights kept at levels 1, 2, ..., in falling order."""
    if options["kept_fractions"] is not None:
        return sorted(options["kept_fractions"], reverse=True)
    return [(1 - options["fraction"]) ** level for level in range(1, options["levels"] + 1)]


def rewound(states: Sequence[State], initial: Mapping[int, Tensors], step: int) -> dict[int, Start]:
    """Weights and optimizer states after `step` steps, by seed, from the states at which training paused.

    Raises UserError if a network had already stopped.
    """
    found = {}
    for seed in initial:
        state = next(state for state in states if seed in state.seeds)
        if seed not in state.live:
            raise UserError(f"network {seed} stopped at step {state.results[seed]['steps']}, before rewind_step {step}")
        found[seed] = start_of(state, seed)
    return found
