"""The times at which networks are measured: the end of training, and the snapshots before it."""

from dataclasses import dataclass

from isthmus.core.tensors import Tensors


@dataclass(frozen=True)
class Moment:
    """When a network is measured: snapshot `name`, passes over the training data, and whether training has ended."""

    name: str
    epoch: float
    final: bool


def moments(snapshots: dict[str, Tensors], epochs: float, during_training: bool) -> list[Moment]:
    """The snapshots of a network to measure, in chronological order; only the final one unless `during_training`.

    epochs: passes over the training data by the end of training.

    >>> [moment.name for moment in moments({"final": {}, "initial": {}, "epoch-2": {}}, 10, during_training=True)]
    ['initial', 'epoch-2', 'final']
    """
    end = Moment("final", epochs, True)
    if not during_training:
        return [end]
    before = [
        Moment(name, 0.0 if name == "initial" else float(name.removeprefix("epoch-")), False)
        for name in snapshots
        if name not in ("last", "final")  # `last`: the end of training beside an averaged `final`
    ]
    return [*sorted(before, key=lambda moment: moment.epoch), end]
