"""Plain modules, weights and data, as a notebook has them, in the form that the rest of the library takes.

Weights are dictionaries by name, such as a `state_dict`. Data are a pair of tensors, inputs and targets, or something
that yields such pairs batch by batch.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.core.errors import UserError
from isthmus.models.evaluation import converted
from isthmus.models.functional import Stacked

Weights = Mapping[str, Tensor]
Data = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]


def parameters_of(model: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """The parameters of a module among some weights, in the module's order. Raises UserError if they do not fit.

    >>> list(parameters_of(nn.BatchNorm1d(2), nn.BatchNorm1d(2).state_dict()))
    ['weight', 'bias']
    """
    if isinstance(weights, nn.Module):
        raise UserError(f"weights are a dictionary, such as `model.state_dict()`; a {type(weights).__name__} was given")
    buffers = {name for name, _ in model.named_buffers()}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in sorted(weights.keys() - parameters.keys() - buffers):
        raise UserError(f"the weights have a tensor {name}, which the model does not have")
    for name, value in model.named_parameters():
        if name not in weights:
            raise UserError(f"the weights lack the parameter {name} of the model")
        if weights[name].shape != value.shape:
            found, wanted = tuple(weights[name].shape), tuple(value.shape)
            raise UserError(f"the parameter {name} has the shape {found}; in the model it is {wanted}")
    return {name: weights[name].detach() for name, _ in model.named_parameters()}


def stack_of_one(model: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """The parameters as a stack of one, `[1, ...]`."""
    return {name: value[None] for name, value in parameters_of(model, weights).items()}


def network_of(model: nn.Module, like: Weights, random: bool = False) -> Stacked:
    """The model as a stack of one, on the device and in the precision of some weights."""
    first = next(iter(like.values()))
    own = copy.deepcopy(model).to(first.device, first.dtype)
    return Stacked(lambda: copy.deepcopy(own), 1, random=random)


def whole(data: Data, like: Weights, loss: str) -> tuple[Tensor, Tensor]:
    """All inputs and targets, on the device of some weights, and inputs in their precision.

    Raises UserError if they are no data, or `loss`, which is to be taken on them, is no name.
    """
    if not isinstance(loss, str):
        raise UserError(f"`loss` is a name, such as `cross_entropy`; {loss!r} was given")
    if isinstance(data, Tensor):
        raise UserError("data are a pair of tensors, inputs and targets, or batches of pairs; one tensor was given")
    first = next(iter(like.values()))
    if not (isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor)):
        batches = list(data)
        if not batches:
            raise UserError("there are no data")
        data = torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])
    inputs, targets = data
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise UserError(f"{len(inputs)} inputs and {len(targets)} targets: give as many of both, and at least one")
    return converted(inputs.to(first.device), first.dtype), targets.to(first.device)


def without_statistics(model: nn.Module) -> nn.Module:
    """A copy whose batch normalizations have seen no data: running averages would tell their channels apart.

    >>> norm = nn.BatchNorm1d(2)
    >>> _ = norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    >>> without_statistics(norm).running_mean
    tensor([0., 0.])
    """
    own = copy.deepcopy(model)
    for module in own.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
    return own
