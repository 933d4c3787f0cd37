"""What there is to know about a module of the user's own, found by running it once on random images.

`isthmus.models.description` runs this in a process of its own, because the graph of jobs does without torch:

    python -m isthmus.models.inspection REQUESTS ANSWERS

Both are JSON files. A request has the fields of `isthmus.models.description.Request`, its answer is a description,
or has the key `error`. Whatever the library cannot handle is refused here, by name, before any job starts.
"""

import copy
import json
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter
from torch.utils.flop_counter import FlopCounterMode

from isthmus.core.errors import UserError
from isthmus.core.files import write_whole
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.functional import MakeModule, Stacked, construct
from isthmus.models.loss_inspection import check_loss
from isthmus.models.masks import prunable
from isthmus.models.networks import build
from isthmus.models.own import Shape, maker
from isthmus.models.permutations.check import checked_groups, multiplications
from isthmus.models.permutations.derivation import Derived
from isthmus.models.repairable import repairable_layers
from isthmus.models.state_dicts import load_parameters
from isthmus.recipes.recipe import network_recipe

EXAMPLES = 4
LAYERS = (nn.Linear, _ConvNd)


def describe(module: str, arguments: dict[str, Any], shape: Shape, classes: int, tokens: int = 0) -> dict[str, Any]:
    """The description of a module (`isthmus.models.description.Description`), as plain values.

    Raises UserError if the library cannot handle the module; whatever the module itself raises is passed on.
    """
    make = maker(module, arguments, shape, classes)
    made = _constructed(make)
    images = _inputs(shape, tokens)
    _check_outputs(made, images, classes)
    _check_training(made, images)
    last_layer, random = _last_layer(made, images), _check_random(made, images)
    network = Stacked(make, 1, last_layer=last_layer, random=random)
    network.initialize((0,))
    network.draw_seeds((0,), 0)
    with evaluation_mode(network, images[None]):
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(images[None])
    groups: list[Derived] = []
    aligned = _error(lambda: groups.append(checked_groups(make, images)))
    hidden, weights = groups[0].groups if groups else {}, dict(made.named_parameters())
    return {
        "parameters": sum(value.numel() for value in made.parameters()),
        "activations": _kept(network, images),
        "multiplications": max(1, counter.get_total_flops() // (2 * EXAMPLES)),
        "batch_norm": bool(network.batch_norms),
        "convolutional": any(isinstance(each, _ConvNd) for each in made.modules()),
        "random": random,
        "last_layer": last_layer,
        "prunable": list(prunable(network)),
        "alone": _error(lambda: copy.deepcopy(made).train()(images[:1])),
        "together": "each draws for itself in training" if random else _error(lambda: _check_together(make, images)),
        "curved": _error(lambda: _check_curved(network, images)),
        "aligned": aligned,
        "repaired": aligned or _error(lambda: repairable_layers(copy.deepcopy(made).eval(), images, hidden)),
        "kept": groups[0].kept if groups else {},
        "matching": multiplications(hidden, weights),
    }


@cache
def _network(network: str, shape: Shape, classes: int) -> nn.Module:
    """The network of a section `network` of a recipe, given as JSON."""
    return build(network_recipe(json.loads(network)), shape, classes)


def _inputs(shape: Shape, tokens: int) -> Tensor:
    """Random inputs `[EXAMPLES, ...]`, of tokens if there are some; the largest token is always one of them."""
    generator = torch.Generator().manual_seed(0)
    if not tokens:
        return torch.randn(EXAMPLES, *shape, generator=generator)
    drawn = torch.randint(tokens, (EXAMPLES, *shape), generator=generator)
    drawn.view(-1)[0] = tokens - 1
    return drawn


def _constructed(make: MakeModule) -> nn.Module:
    """The module; UserError if its parameters or buffers are not what the library can handle."""
    first, again, other = (construct(make, seed) for seed in (0, 0, 1))
    if not isinstance(first, nn.Module) or isinstance(first, torch.jit.ScriptModule):
        raise UserError(f"it returns a {type(first).__name__}, not a torch.nn.Module of plain Python")
    parameters = dict(first.named_parameters())
    if not parameters:
        raise UserError("the module has no parameters")
    for name, value in parameters.items():
        if isinstance(value, UninitializedParameter):
            raise UserError(f"the parameter {name} has no shape before the first call; use layers that are not lazy")
        if not value.requires_grad:
            raise UserError(f"the parameter {name} is frozen (requires_grad is false); make it a buffer")
        if value.dtype != torch.float32:
            raise UserError(f"the parameter {name} is {value.dtype}; only float32 is supported")
        if value.dim() == 0:
            raise UserError(f"the parameter {name} is a number without a dimension; give it the shape [1]")
    drawn = dict(again.named_parameters())
    for name, value in parameters.items():
        if not torch.equal(value, drawn[name]):
            raise UserError(
                f"the parameter {name} differs between two networks of one seed; draw it from PyTorch's own generator"
            )
    others = dict(other.named_buffers())
    for name, buffer in first.named_buffers():
        if not torch.equal(buffer, others[name]):
            raise UserError(f"the buffer {name} is drawn at random; only parameters can differ between networks")
    return first


def _check_outputs(made: nn.Module, images: Tensor, classes: int) -> None:
    outputs = copy.deepcopy(made).train()(images)
    if not isinstance(outputs, Tensor):
        raise UserError(f"it returns a {type(outputs).__name__}, not a tensor [batch, {classes}]")
    if tuple(outputs.shape) != (EXAMPLES, classes):
        found = ", ".join(map(str, outputs.shape[1:]))
        raise UserError(f"for images {list(images.shape)}, it returns [batch, {found}]; needed is [batch, {classes}]")


def _check_training(made: nn.Module, images: Tensor) -> None:
    """Training must be a function of weights and images, which depends on all parameters and changes no buffer."""
    twin = copy.deepcopy(made).train()
    own = {f"{name}.{each}".removeprefix(".") for name in _batch_norms(twin) for each, _ in _buffers(twin, name)}
    before = {name: value.clone() for name, value in twin.named_buffers()}
    calls: dict[str, int] = {}
    for name in _batch_norms(twin):
        twin.get_submodule(name).register_forward_hook(_counter(calls, name))
    outputs = twin(images)
    for name, value in twin.named_buffers():
        if name not in own and not torch.equal(value, before[name]):
            raise UserError(f"the buffer {name} changes during training, but a network must be its parameters")
    for name, count in calls.items():
        if count > 1:
            raise UserError(f"the batch normalization {name} is called {count} times; use one for each place")
    gradients = torch.autograd.grad(outputs.square().sum(), list(twin.parameters()), allow_unused=True)
    for (name, _), gradient in zip(twin.named_parameters(), gradients, strict=True):
        if gradient is None:
            raise UserError(f"the parameter {name} does not influence the outputs")


def _check_random(made: nn.Module, images: Tensor) -> bool:
    """Whether outputs in training are random. They must be the same for the same seed, and fixed in evaluation."""
    if not torch.equal(*(_drawn(made, images, False, seed) for seed in (1, 2))):
        raise UserError("its outputs are random in evaluation; switch that off")
    first, again, other = (_drawn(made, images, True, seed) for seed in (1, 1, 2))
    if not torch.equal(first, again):
        raise UserError("its outputs in training differ for one seed; draw from PyTorch's own generator")
    return not torch.equal(first, other)


def _drawn(made: nn.Module, images: Tensor, training: bool, seed: int) -> Tensor:
    """The outputs in one mode, with PyTorch's generator at a seed."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        outputs: Tensor = copy.deepcopy(made).train(training)(images)
    return outputs


def _batch_norms(made: nn.Module) -> list[str]:
    return [name for name, each in made.named_modules() if isinstance(each, _BatchNorm)]


def _buffers(made: nn.Module, name: str) -> list[tuple[str, Tensor]]:
    return list(made.get_submodule(name).named_buffers())


def _counter(calls: dict[str, int], name: str) -> Callable[..., None]:
    def count(*_: Any) -> None:
        calls[name] = calls.get(name, 0) + 1

    return count


def _last_layer(made: nn.Module, images: Tensor) -> str:
    """The name of the linear layer or convolution that is called last; empty if there is none."""
    called: list[str] = []
    twin = copy.deepcopy(made).train()
    for name, each in twin.named_modules():
        if isinstance(each, LAYERS):
            each.register_forward_hook(lambda *_, name=name: called.append(name))
    with torch.no_grad():
        twin(images)
    return called[-1] if called else ""


def _kept(network: Stacked, images: Tensor) -> int:
    """The numbers per example that differentiation keeps, without the parameters."""
    sizes: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        sizes[value.data_ptr()] = max(value.numel(), sizes.get(value.data_ptr(), 0))
        return value

    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        functional_call(network.train(), weights, (images[None],))
    for value in weights.values():
        sizes.pop(value.data_ptr(), None)
    return max(1, sum(sizes.values()) // len(images))


def _check_together(make: MakeModule, images: Tensor) -> None:
    """UserError, or another error, unless `torch.vmap` gives what one network after another gives, and its gradient."""
    found = []
    for together in (True, False):
        network = Stacked(make, 2, together)
        network.initialize((0, 1))
        outputs = network(images[None])
        gradients = torch.autograd.grad(outputs.square().sum(), list(network.parameters()))
        with evaluation_mode(network, images[None]), torch.no_grad():
            found.append([outputs, network(images[None]), *gradients])
    for first, second in zip(*found, strict=True):
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-3 * float(second.detach().abs().max())):
            raise UserError("torch.vmap gives other results than one network after another")


def _check_curved(network: Stacked, images: Tensor) -> None:
    """An error unless the outputs can be differentiated twice."""
    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    with evaluation_mode(network, images[None], weights), sdpa_kernel(SDPBackend.MATH):
        outputs = functional_call(network, weights, (images[None],))
    first = torch.autograd.grad(outputs.logsumexp(-1).sum(), list(weights.values()), create_graph=True)
    total = torch.stack([each.square().sum() for each in first]).sum()
    torch.autograd.grad(total, list(weights.values()), allow_unused=True)


def _error(call: Callable[[], object]) -> str:
    """What a call raises, as a sentence; empty if it raises nothing."""
    try:
        call()
    except Exception as error:
        return _sentence(error)
    return ""


def _sentence(error: Exception, file: str = "") -> str:
    """An error in one line, with the last line of the user's file that it passed through."""
    if isinstance(error, UserError):
        return str(error)
    message = " ".join(str(error).split())
    message = message if len(message) <= 300 else message[:297] + "..."
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(file)]
    where = f" ({file}, line {lines[-1]})" if file and lines else ""
    return f"{type(error).__name__}: {message}{where}"


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        asked = {key: value for key, value in request.items() if key != "source"}
        if "loss" in request:
            check_loss(**asked)
            return {}
        if "checkpoint" in request:
            network = _network(json.dumps(request["network"]), tuple(request["shape"]), request["classes"])
            load_parameters(request["checkpoint"], request["entry"], network)
            return {}
        return describe(**asked | {"shape": tuple(request["shape"])})
    except Exception as error:
        return {"error": _sentence(error, (request.get("module") or request.get("loss", "")).rpartition(":")[0])}


def main() -> None:
    requests, answers = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    found = json.dumps([_answer(request) for request in json.loads(requests.read_text(encoding="utf-8"))])
    write_whole(answers, lambda path: path.write_text(found, encoding="utf-8"))


if __name__ == "__main__":
    main()
