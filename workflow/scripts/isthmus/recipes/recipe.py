"""A recipe: everything that determines a trained network except its seed.

The dataclasses hold one cell of a study, with every key of the configuration's sections `data`, `network` and
`training` filled in. `workflow/schemas/config.schema.yaml` describes each key and holds the defaults. Equal recipes
with equal seeds and equal data give equal networks.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DataRecipe:
    """What the network learns: the data set, a subset of it, and label noise."""

    name: str
    train_size: int | None
    selection: str
    selection_seed: int
    label_noise: float
    label_noise_draw: str


@dataclass(frozen=True)
class NetworkRecipe:
    """A built-in architecture; the data determine the input shape and the number of classes."""

    architecture: str
    width: int
    depth: int
    normalization: str
    activation: str
    blocks: int
    hidden_units: int
    taper: int

    @property
    def convolutional(self) -> bool:
        """Whether the network has convolutions."""
        return self.architecture != "mlp"

    @property
    def batch_norm(self) -> bool:
        """Whether the network has batch normalization."""
        return self.normalization == "batch"

    stacks = True

    def hidden_widths(self) -> list[int]:
        """Units of an `mlp`'s hidden layers, first to last; each has 1 / `taper` of the previous units, at least 1."""
        return [max(1, self.width // self.taper**layer) for layer in range(self.depth)]


@dataclass(frozen=True)
class ModuleRecipe:
    """A network of the user's own: a function that returns a `torch.nn.Module`, and what is known about the module.

    module: `models.py:build`, the path of a file and a name in it, or `torchvision.models:resnet18`. arguments: of the
    function, by name. source: a digest of the file, or the version of the package. The rest is found by running the
    module once (`isthmus.models.inspection`): parameters: trainable scalars; activations: numbers per example that
    differentiation keeps; random: whether outputs in training are random, by dropout for example; stacks: whether
    `torch.vmap` computes several networks at once; last_layer: the linear layer or convolution that is called last,
    empty if there is none. Two are for estimates of cost alone, so that jobs are not told: multiplications: of a
    forward pass on one example; matching: to compare all pairs of hidden units of two networks.
    """

    module: str
    arguments: dict[str, Any]
    source: str
    parameters: int
    activations: int
    batch_norm: bool
    convolutional: bool
    random: bool
    stacks: bool
    last_layer: str
    multiplications: int = field(default=0, compare=False)
    matching: int = field(default=0, compare=False)

    normalization = None
    activation = None

    @property
    def architecture(self) -> str:
        """The network's name in tables."""
        return self.module

    @property
    def width(self) -> int:
        """The argument `width`; 1 if there is none, so that figures against the width have a place for the network."""
        return self._size("width")

    @property
    def depth(self) -> int:
        """The argument `depth`; 1 if there is none."""
        return self._size("depth")

    def _size(self, name: str) -> int:
        value = self.arguments.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


AnyNetwork = NetworkRecipe | ModuleRecipe


def network_recipe(section: dict[str, Any]) -> AnyNetwork:
    """The network in a section `network`. Raises TypeError if the keys differ."""
    return ModuleRecipe(**section) if "module" in section else NetworkRecipe(**section)


@dataclass(frozen=True)
class TrainingRecipe:
    """Loss, optimizer, schedule, stopping rule and what to record during training.

    loss_source: a digest of the file of a loss of the user's own, or the version of its package; empty for the others.
    """

    loss: str
    optimizer: str
    batch_size: int
    learning_rate: float
    batch_scaling: str
    reference_batch_size: int
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    weight_decay: float
    sharpness_radius: float
    sharpness_adaptive: bool
    sharpness_eta: float
    averaging: str
    averaging_start: float
    averaging_rate: float | None
    averaging_decay: float
    schedule: str
    schedule_interval: str
    warmup_epochs: float
    final_rate_fraction: float
    milestones: tuple[float, ...]
    decay_factor: float
    epochs: int
    steps: int | None
    until_train_loss: float | None
    until_train_accuracy: float | None
    drop_last: bool
    flip: bool
    crop_padding: int
    precision: str
    snapshots: tuple[int, ...]
    history_every: int
    divergence_factor: float
    statistics_size: int
    loss_source: str = ""


@dataclass(frozen=True)
class Recipe:
    """One cell: data, network and training.

    known: of networks trained elsewhere, what is known about their training: keys of `training`, whose other values
    then say nothing about them. None for networks trained here.
    """

    data: DataRecipe
    network: AnyNetwork
    training: TrainingRecipe
    known: tuple[str, ...] | None = None

    @classmethod
    def from_dict(cls, sections: dict[str, Any]) -> "Recipe":
        """The recipe in `sections`, a nested dictionary as from `as_dict`. Raises TypeError if the keys differ."""
        training: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in sections["training"].items()
        }
        known = tuple(sections["known"]) if "known" in sections else None
        data, network = DataRecipe(**sections["data"]), network_recipe(sections["network"])
        return cls(data, network, TrainingRecipe(**training), known)

    @property
    def trained_elsewhere(self) -> bool:
        """Whether the weights come from files of the user's own."""
        return self.known is not None

    def fact(self, key: str) -> Any:
        """The value of a key of `training`, as tables hold it; None if networks trained elsewhere leave it open."""
        return getattr(self.training, key) if self.known is None or key in self.known else None

    def statistics_examples(self, examples: int) -> int:
        """Of this many training examples, how many to compute batch-norm statistics over; 0 without batch norm."""
        return min(self.training.statistics_size, examples) if self.network.batch_norm else 0

    def as_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries of plain values, without estimates."""
        sections = asdict(self)
        for name in ("multiplications", "matching"):
            sections["network"].pop(name, None)
        if not self.training.loss_source:
            sections["training"].pop("loss_source")
        known = sections.pop("known")
        if known is not None:
            sections["known"] = list(known)
        for key, value in sections["training"].items():
            if isinstance(value, tuple):
                sections["training"][key] = list(value)
        return sections
