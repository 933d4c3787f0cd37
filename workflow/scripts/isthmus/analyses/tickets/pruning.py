"""Lottery tickets: iterative magnitude pruning with rewinding, and the controls of the same density.

A level prunes what the level before has trained, rewinds what is left to an early step of the dense network, and
trains it again by the same code and on the same order of the data (Frankle & Carbin 2019; rewinding to a later step:
Frankle et al. 2020). Beside the ticket of a level, with as many weights:

* `one_shot`: the dense network's weights pruned at once;
* `random`: as many weights per layer as the ticket has, at random places, rewound to the same values;
* `reinitialized`: the ticket's mask on a new initialization, trained from the first step;
* `magnitude_at_initialization`: the initial weights pruned by magnitude, trained from the first step;
* `twin`: the ticket on another order of the data, for the straight line between the two (Frankle et al. 2020).

All of a level trains in one stack where networks are small. A mask holds weights, gradients and momentum at zero;
the arithmetic stays dense, and nothing becomes faster by being sparse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from isthmus.core import seeds
from isthmus.core.errors import UserError
from isthmus.core.tensors import Tensors
from isthmus.models.architectures import build, initialize
from isthmus.models.masks import Kept, Pool, magnitude_mask, masked, pools, prunable, random_mask, schedule
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State
from isthmus.training.trainer import Member

CONTROLS = ("one_shot", "random", "reinitialized", "magnitude_at_initialization")
KINDS = ("ticket", *CONTROLS, "twin")
FROM_TICKET = ("ticket", "random", "reinitialized", "twin")  # kinds whose mask follows from the ticket's


@dataclass(frozen=True)
class Start:
    """Where a network starts: its weights by name `[...]`, the optimizer's state by slot, and the step of the run."""

    weights: Tensors
    optimizer: dict[str, Tensors]
    step: int


@dataclass(frozen=True)
class Entry:
    """A network to be trained at a level: of which seed, of which kind, with which mask, from where."""

    seed: int
    kind: str
    mask: Tensors
    start: Start

    @property
    def number(self) -> int:
        """The number under which it is a member of a stack."""
        return self.seed * len(KINDS) + KINDS.index(self.kind)

    @property
    def member(self) -> Member:
        """What it trains on: its seed's labels, and its seed's order of the data unless it is the twin."""
        noise = seeds.integer(self.seed, seeds.Stream.SGD_NOISE) if self.kind == "twin" else self.seed
        return Member(self.seed, noise, self.mask)


@dataclass(frozen=True)
class Origin:
    """What all levels of a network go back to: its initial weights, where it is rewound to, and its dense end."""

    initial: Tensors
    rewound: Start
    dense: Tensors


@dataclass(frozen=True)
class Found:
    """What a level leaves to the next: the ticket's mask, and its trained weights, None where it diverged."""

    mask: Tensors
    weights: Tensors | None


@dataclass(frozen=True)
class Plan:
    """The levels of a study: what each keeps, and what is ranked together. sizes: numbers of weights, by name, of
    all that can be pruned."""

    recipe: Recipe
    shape: tuple[int, int, int]
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
        """The networks of a seed to train at a level; `before` is what level - 1 found, None where it diverged."""
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
        initialize(network, (seeds.integer(seed, seeds.Stream.REINITIALIZATION, level),))
        return {name: value.detach()[0] for name, value in network.named_parameters()}


def fractions(options: Mapping[str, Any]) -> list[float]:
    """The fractions of weights kept at levels 1, 2, ..., falling."""
    if options["kept_fractions"] is not None:
        return sorted(options["kept_fractions"], reverse=True)
    return [(1 - options["fraction"]) ** level for level in range(1, options["levels"] + 1)]


def begin(entries: Sequence[Entry]) -> State:
    """The state of a stack of networks that start at the same step, before it. Raises ValueError where they do not."""
    starts = [entry.start for entry in entries]
    if len({start.step for start in starts}) != 1:
        raise ValueError("networks of a stack start at the same step")
    numbers = tuple(entry.number for entry in entries)
    first = [masked(entry.start.weights, entry.mask) for entry in entries]
    weights = {name: torch.stack([each[name] for each in first]) for name in first[0]}
    slots = starts[0].optimizer
    optimizer = {
        slot: {
            name: value if value.dim() == 0 else torch.stack([start.optimizer[slot][name] for start in starts])
            for name, value in content.items()
        }
        for slot, content in slots.items()
    }
    snapshots = {number: {"initial": each} for number, each in zip(numbers, first, strict=True)}
    return State(numbers, numbers, starts[0].step, weights, optimizer, snapshots, {number: [] for number in numbers})


def rewound(states: Sequence[State], initial: Mapping[int, Tensors], step: int) -> dict[int, Start]:
    """Where the networks stand after `step` steps, by seed, from the states that training paused in.

    Raises UserError where a network had finished before.
    """
    found = {}
    for seed in initial:
        state = next(state for state in states if seed in state.seeds)
        if seed not in state.live:
            raise UserError(f"network {seed} stopped at step {state.results[seed]['steps']}, before rewind_step {step}")
        member = state.live.index(seed)

        def own(tensors: Tensors, member: int = member) -> Tensors:
            return {name: (value[member] if value.dim() else value).cpu().clone() for name, value in tensors.items()}

        slots = {slot: own(content) for slot, content in state.optimizer.items()}
        found[seed] = Start(own(state.weights), slots, step)
    return found
