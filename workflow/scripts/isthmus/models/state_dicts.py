"""Weights of networks trained elsewhere: state dictionaries in files that PyTorch or safetensors wrote.

A file holds the parameters of one network under the names that its module gives them. Everything else that a state
dictionary may hold is either checked or not needed: buffers must be those that the module has anyway, and running
statistics of batch normalization are ignored, because they are computed afresh (`isthmus.models.evaluation`).
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from isthmus.core.errors import UserError
from isthmus.core.tensors import Tensors

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NAMED_AT_MOST = 3


def load_parameters(path: Path | str, entry: str, network: nn.Module) -> Tensors:
    """The parameters of one network, by name `[...]`, float32, in the order in which `network` has them.

    path: a file of `torch.save`, of which nothing but tensors and plain values is read, or of safetensors. entry: where
    in nested dictionaries the state dictionary is, keys joined by "."; empty if it is the whole file. network: a stack
    of such networks. Raises UserError, naming what is missing, foreign or of another shape.
    """
    return parameters_in(_entry(_read(Path(path)), entry), network)


def parameters_in(found: Mapping[str, Any], network: nn.Module) -> Tensors:
    """The parameters of one network in a state dictionary, without a prefix that all its names share.

    `torch.nn.DataParallel` and `torch.compile` add such prefixes, `module.` and `_orig_mod.`. Tied parameters may be
    there under each of their names. Errors as for `load_parameters`.

    >>> state = torch.nn.DataParallel(torch.nn.Linear(2, 1)).state_dict()
    >>> stack = torch.nn.ParameterDict({"weight": torch.zeros(5, 1, 2), "bias": torch.zeros(5, 1)})
    >>> sorted((name, list(value.shape)) for name, value in parameters_in(state, stack).items())
    [('bias', [1]), ('weight', [1, 2])]
    """
    first: dict[int, str] = {}
    same = {name: first.setdefault(id(value), name) for name, value in network.named_parameters(remove_duplicate=False)}
    shapes = {name: tuple(value.shape[1:]) for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())
    prefix = _prefix(found, shapes)
    own = {name.removeprefix(prefix): value for name, value in found.items()}
    for name, one in same.items():
        if name in own:
            own.setdefault(one, own[name])
    foreign = [
        name
        for name in found
        if not name.startswith(prefix)
        or not (name.removeprefix(prefix) in {*same, *buffers} or name.rpartition(".")[2] in STATISTICS)
    ]
    missing = [name for name in shapes if name not in own]
    if foreign or missing:
        lacks = f"it lacks {_listed(missing)}" if missing else ""
        holds = f"it holds {_listed(foreign)}, which the network does not have" if foreign else ""
        raise UserError("; ".join(filter(None, (lacks, holds))))
    for name, value in own.items():
        if name in same:
            _check(name, value, shapes[same[name]])
            if not torch.allclose(value, own[same[name]], rtol=0, atol=0, equal_nan=True):
                raise UserError(f"`{name}` and `{same[name]}` differ, but the network has them tied")
        elif name in buffers:
            _check(name, value, tuple(buffers[name].shape))
            if not torch.allclose(value.double(), buffers[name].double()):
                raise UserError(f"the buffer `{name}` differs from that of the network, which all seeds share")
    return {name: own[name].detach().to(torch.float32, copy=True).contiguous() for name in shapes}


def _read(path: Path) -> Any:
    """What a file holds, tensors on the CPU."""
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise UserError(f"it is damaged, or was not written by safetensors ({error})") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"`{code[1]}`, which is code, and code in files is not run" if code else "no tensors of `torch.save`"
        raise UserError(f"it holds {what}; save `model.state_dict()`") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(f"it is damaged, or was not written by `torch.save` ({str(error).splitlines()[0]})") from error


def _entry(content: Any, entry: str) -> dict[str, Any]:
    """The state dictionary under `entry`: of nested dictionaries, or of names that begin with it."""
    inner = content
    for key in filter(None, entry.split(".")):
        held = {str(name): value for name, value in inner.items()} if isinstance(inner, Mapping) else {}
        beginning = {name.removeprefix(f"{key}."): value for name, value in held.items() if name.startswith(f"{key}.")}
        inner = held.get(key, beginning)
    if not isinstance(inner, Mapping) or not any(isinstance(value, Tensor) for value in inner.values()):
        there = f"; it holds {_listed(map(str, content))}" if isinstance(content, Mapping) else ""
        where = f"under `{entry}`" if entry else "at its top: name its place in `networks.state_dict`"
        raise UserError(f"there is no state dictionary {where}{there}")
    return {str(name): value for name, value in inner.items()}


def _prefix(found: Iterable[str], shapes: Iterable[str]) -> str:
    """What comes before every parameter's own name; of several possibilities, the shortest with most parameters."""
    held, names = set(found), list(shapes)
    ends = {name.removesuffix(names[0]) for name in held if name == names[0] or name.endswith(f".{names[0]}")}
    return min(ends, key=lambda prefix: (-sum(prefix + name in held for name in names), len(prefix)), default="")


def _check(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """UserError unless this is a tensor of numbers with this shape."""
    if not isinstance(value, Tensor) or value.is_complex() or value.layout != torch.strided or value.is_quantized:
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"`{name}` is not a dense tensor of real numbers but {kind}")
    if tuple(value.shape) != shape:
        raise UserError(f"`{name}` has the shape {list(value.shape)}; the network's has {list(shape)}")


def _listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = [f"`{name}`" for name in names]
    more = len(every) - NAMED_AT_MOST
    return ", ".join(every[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
