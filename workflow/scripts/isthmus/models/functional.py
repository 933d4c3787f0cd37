"""Any `torch.nn.Module` as a stack of networks, computed one by one, by `torch.vmap`, or by stacked layers.

The rest of the library handles stacks: modules whose parameters are `[S, ...]` and which map images
`[S or 1, B, C, H, W]` to outputs `[S, B, classes]`. `Stacked` gives a module of one network this interface. The names
of the parameters are the module's, so that stored weights are a part of its `state_dict`. One network is computed by
`torch.func.functional_call`, several by `torch.vmap` over it. Both are replaced by stacked layers
(`isthmus.models.layer_stacks`), which are faster, if the module has no others.

Batch normalization keeps no running statistics here, as in `isthmus.models.stacked`: training uses those of the batch,
evaluation those that `isthmus.models.evaluation.evaluation_mode` computes at the weights in question. Dropout, and
whatever else draws from PyTorch's generator in training, draws from a seed per network and step (`draw_seeds`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from isthmus.core import seeds
from isthmus.core.errors import UserError
from isthmus.models.in_turns import InTurns, moments
from isthmus.models.layer_stacks import layer_stack
from isthmus.models.stacked import BatchNorm, Convolution, Linear

MakeModule = Callable[[], nn.Module]
Found = tuple[Tensor, dict[str, Tensor]]  # outputs, and statistics by the name of a buffer


def construct(make: MakeModule, seed: int) -> nn.Module:
    """A module on the CPU whose constructor draws from PyTorch's global generator, seeded here and then restored.

    >>> layer = construct(lambda: nn.Linear(2, 1), seed=0)
    >>> torch.equal(layer.weight, construct(lambda: nn.Linear(2, 1), seed=0).weight)
    True
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        return make()


class Stacked(nn.Module):
    """A stack of S networks of one module: images `[S or 1, B, C, H, W]` -> outputs `[S, B, classes]`.

    make: returns the module of one network. together: whether the networks can be computed at once; otherwise they are
    computed one after another. last_layer: name of the linear layer or convolution that is called last; stacked layers
    know it. random: whether outputs in training are random; such networks are computed one after another, since each
    draws for itself, whatever shares the stack.

    Raises UserError if the module has an attribute of a name that this class needs.

    >>> network = Stacked(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), stack=2)
    >>> network(torch.zeros(1, 5, 1, 2, 2)).shape, [name for name, _ in network.named_parameters()]
    (torch.Size([2, 5, 3]), ['1.weight', '1.bias'])
    """

    template: nn.Module

    def __init__(
        self, make: MakeModule, stack: int, together: bool = True, last_layer: str = "", random: bool = False
    ) -> None:
        super().__init__()
        self.make, self.together, self.last_layer, self.random = make, together and not random, last_layer, random
        self.draws: list[int] | None = None
        self.collecting = False
        self.statistics: dict[str, Tensor] | None = None
        made = construct(make, 0)
        layers = layer_stack(made, stack) if self.together else None
        self.layered, template = layers is not None, made if layers is None else layers
        self.convolutional = any(isinstance(module, Convolution | _ConvNd) for module in template.modules())
        self.normalizes = any(isinstance(module, BatchNorm | _BatchNorm) for module in template.modules())
        self.batch_norms = [name for name, module in template.named_modules() if isinstance(module, _BatchNorm)]
        for name in (*template._modules, *template._parameters, *template._buffers):
            if hasattr(self, name):
                raise UserError(f"{type(template).__name__} has an attribute `{name}`; call it something else")
        # The module is no child but shares its children and parameters with the stack, where they keep their names.
        object.__setattr__(self, "template", template)
        self._parameters, self._modules, self._buffers = template._parameters, template._modules, template._buffers
        self._non_persistent_buffers_set = template._non_persistent_buffers_set
        for name in self.batch_norms:
            norm: Any = template.get_submodule(name)
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        if self.layered:
            affine = [name for name, each in template.named_modules() if isinstance(each, Linear | Convolution)]
            self.last_layer = last_layer or affine[-1]
            with torch.no_grad():
                for name, value in made.named_parameters():
                    template.get_parameter(name).copy_(value)
        else:
            _stack_parameters(template, stack)
            _select_pixels_first(template)

    def train(self, mode: bool = True) -> "Stacked":
        """Set training or evaluation mode, as the module itself does."""
        self.template.train(mode)
        self.training = mode
        return self

    def initialize(self, network_seeds: Sequence[int]) -> None:
        """Give network s of the stack the parameters that the constructor draws with the seed `network_seeds[s]`."""
        weights = dict(self.named_parameters())
        for member, seed in enumerate(network_seeds):
            made = construct(self.make, seeds.integer(seed, seeds.Stream.INITIALIZATION))
            with torch.no_grad():
                for name, value in made.named_parameters():
                    weights[name][member] = value

    def draw_seeds(self, noise_seeds: Sequence[int], step: int) -> None:
        """Seed what each network of the stack draws in its next training steps, until the next call.

        noise_seeds: one per network. Both passes of a sharpness-aware step thus drop the same units.
        """
        self.draws = [seeds.integer(seed, "dropout", step) for seed in noise_seeds]

    def forward(self, images: Tensor) -> Tensor:
        if self.layered:
            network = InTurns(self.template, dim=1) if self.collecting and self.convolutional else self.template
            return cast(Tensor, network(images))
        weights: dict[str, Tensor] = dict(self.named_parameters())
        if self.collecting:
            outputs, self.statistics = self._each(self._collected, weights, images)
            return outputs
        if self.batch_norms and not self.training:
            if self.statistics is None:
                raise RuntimeError("batch-norm statistics were not computed before evaluation")
            weights |= self.statistics
        return self._each(self._called, weights, images)[0]

    def _each(self, function: Callable[[Mapping[str, Tensor], Tensor], Found], tensors: Any, images: Tensor) -> Found:
        """What `function` returns for each network, stacked."""
        stack, shared = next(iter(tensors.values())).shape[0], images.shape[0] == 1
        with plain_attention():
            if stack > 1 and self.together:
                given = images[0] if shared else images
                with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that vmap can batch
                    return cast(Found, vmap(function, in_dims=(0, None if shared else 0))(tensors, given))
            found = []
            for member in range(stack):
                own = {name: value.squeeze(0) if stack == 1 else value[member] for name, value in tensors.items()}
                with self._seeded(member, images.device):
                    found.append(function(own, images[0 if shared else member]))
        if stack == 1:
            return found[0][0][None], {name: value[None] for name, value in found[0][1].items()}
        outputs, statistics = zip(*found, strict=True)
        return torch.stack(outputs), {name: torch.stack([each[name] for each in statistics]) for name in statistics[0]}

    @contextmanager
    def _seeded(self, member: int, device: torch.device) -> Iterator[None]:
        """PyTorch's generator at the seed of one network, if its outputs are random, and restored afterwards."""
        if not (self.random and self.training):
            yield
            return
        if self.draws is None:
            raise RuntimeError("the seeds of a training step were not given")
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.draws[member])
            yield

    def _called(self, tensors: Mapping[str, Tensor], images: Tensor) -> Found:
        return functional_call(self.template, dict(tensors), (images,)), {}

    def _collected(self, tensors: Mapping[str, Tensor], images: Tensor) -> Found:
        """Outputs in evaluation mode, with the statistics of `images` at these weights, and those statistics."""
        found: dict[str, Tensor] = {}
        norms: dict[str, Any] = {name: self.template.get_submodule(name) for name in self.batch_norms}
        handles = [norm.register_forward_pre_hook(partial(_measure, name, found)) for name, norm in norms.items()]
        try:
            if not self.convolutional:
                return functional_call(self.template, dict(tensors), (images,)), found
            named = {f"network.{name}": value for name, value in tensors.items()}
            return functional_call(InTurns(self.template, dim=0), named, (images,)), found
        finally:
            for handle in handles:
                handle.remove()
            for norm in norms.values():
                norm.running_mean = norm.running_var = None


def _stack_parameters(module: nn.Module, stack: int) -> None:
    """Give a module parameters `[stack, ...]`, copies of its own; tied parameters remain one."""
    stacked: dict[int, nn.Parameter] = {}
    for each in module.modules():
        for name, value in each._parameters.items():
            if value is not None:
                copies = value.detach().expand(stack, *value.shape).clone()
                each._parameters[name] = stacked.setdefault(id(value), nn.Parameter(copies))


def _select_pixels_first(module: nn.Module) -> None:
    """Let strided 1x1 convolutions read every second pixel of smaller images, say: the same function.

    oneDNN 3.12 computes them wrongly for some channels-last images (`isthmus.models.stacked.convolve`).
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d) and _skips_pixels(each):
            each.register_forward_pre_hook(partial(_selected, each.stride))
            each.stride = (1, 1)


def _skips_pixels(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.stride != (1, 1) and layer.padding in ((0, 0), "valid")


def _selected(stride: tuple[int, ...], _: nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
    return arguments[0][..., :: stride[0], :: stride[1]]


def _measure(name: str, found: dict[str, Tensor], norm: _BatchNorm, arguments: tuple[Tensor, ...]) -> None:
    """Give a batch normalization the mean and biased variance of its input `[B, C, ...]`, and keep them in `found`."""
    mean, variance = moments(norm, arguments[0])
    norm.running_mean, norm.running_var = mean, variance
    prefix = f"{name}." if name else ""
    found |= {f"{prefix}running_mean": mean, f"{prefix}running_var": variance}


@contextmanager
def plain_attention() -> Iterator[None]:
    """Without the inference kernels of `nn.MultiheadAttention`: they round differently, and have no vmap."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
