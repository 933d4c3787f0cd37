"""Networks trained elsewhere: the files that training would have written, from their weights alone."""

from collections.abc import Mapping
from functools import partial

from torch import nn
from torch.func import functional_call

from isthmus.core.devices import Settings
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.data.examples import place_examples
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.tables.rows import Row, finite
from isthmus.training.checkpoint import State
from isthmus.training.scores import Scoring, norms, not_finite


def imported(
    recipe: Recipe, dataset: Dataset, settings: Settings, snapshots: Mapping[int, Mapping[str, Tensors]]
) -> State:
    """The finished state of networks with these weights, evaluated on the data of the recipe; it has no history.

    snapshots: by seed, then `final` and, if it is known, `initial`, the parameters of a network by name `[...]`. Each
    network is evaluated by itself, so that its numbers do not depend on the others.
    """
    seeds = tuple(snapshots)
    network = build(recipe.network, dataset.shape, dataset.classes).to(settings.device)
    examples = place_examples(recipe, dataset, seeds[:1], settings)
    statistics = examples.subset(recipe.training.statistics_size)
    scoring = Scoring(examples, statistics, recipe.training.loss, settings.evaluation_batch_size, noisy=False)
    results = {}
    for seed, each in snapshots.items():
        placed = {
            name: {key: value[None].to(settings.device) for key, value in weights.items()}
            for name, weights in each.items()
        }
        results[seed] = _result(scoring, network, placed) | {"epochs": float(recipe.training.epochs)}
    kept = {seed: dict(each) for seed, each in snapshots.items()}
    return State(seeds, (), 0, {}, {}, kept, {seed: [] for seed in seeds}, results)


def _result(scoring: Scoring, network: nn.Module, snapshots: Mapping[str, Tensors]) -> Row:
    """The result of a network, a stack of one, as training leaves it in `State.results`."""
    final, initial = snapshots["final"], snapshots.get("initial")
    function = partial(functional_call, network, final)
    (row,) = scoring.rows(network, function, final, initial or final, scoring.examples.labels)
    diverged = not_finite(row)
    if diverged:
        row = dict.fromkeys(row)
    unknown = dict.fromkeys(("stopped", "steps", "averaged", "seconds"))
    return (
        row
        | unknown
        | {
            "diverged": diverged,
            "movement": row["movement"] if initial else None,
            "weight_norm_initial": finite(norms(initial, initial)[0][0]) if initial else None,
        }
    )
