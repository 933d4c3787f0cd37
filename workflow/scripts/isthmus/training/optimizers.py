"""One step of SGD, Adam or AdamW, by PyTorch's own fused update functions.

The functions are called directly, without the `torch.optim.Optimizer` classes around them. Constructing one of those
imports PyTorch's compiler, a second of start-up in every job, and the state is easier to keep as named tensors. All
updates act element by element, so each network of a stack is updated as it would be alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from isthmus.core.tensors import Tensors
from isthmus.recipes.recipe import TrainingRecipe

ADAM_EPSILON = 1e-8


def new_slots(training: TrainingRecipe, weights: Mapping[str, Tensor]) -> dict[str, Tensors]:
    """The optimizer's state before the first step: by slot (`momentum_buffer`, `exp_avg`, ...), then by parameter."""
    if training.optimizer == "sgd":
        names = ["momentum_buffer"] if training.momentum else []
    else:
        names = ["exp_avg", "exp_avg_sq"]
    slots = {slot: {name: torch.zeros_like(tensor) for name, tensor in weights.items()} for slot in names}
    if training.optimizer != "sgd":
        slots["step"] = {name: torch.zeros((), device=tensor.device) for name, tensor in weights.items()}
    return slots


def step(
    training: TrainingRecipe,
    rate: float | Tensor,
    weights: Mapping[str, Tensor],
    gradients: tuple[Tensor, ...],
    slots: dict[str, Tensors],
) -> None:
    """Update `weights` and `slots` in place from the gradients, given in the order of the weights.

    rate: a number, or a tensor without dimensions, in float32 on a GPU, which a captured step can be given anew.
    Weight decay is part of the gradient for `sgd` and `adam` and decoupled for `adamw` (Loshchilov & Hutter 2019).
    """
    parameters = list(weights.values())
    # The fused kernels assume that a gradient has its parameter's memory layout, but the gradients of batched products
    # are transposed.
    given = [gradient.contiguous() for gradient in gradients]
    fused = parameters[0].device.type in ("cpu", "cuda")
    state = {slot: [content[name] for name in weights] for slot, content in slots.items()}
    with torch.no_grad():
        if training.optimizer == "sgd":
            sgd(
                parameters,
                given,
                state.get("momentum_buffer", [None] * len(parameters)),  # type: ignore[arg-type]
                fused=fused,
                weight_decay=training.weight_decay,
                momentum=training.momentum,
                lr=rate,
                dampening=0,
                nesterov=training.nesterov,
                maximize=False,
            )
            return
        update = {"adam": adam, "adamw": adamw}[training.optimizer]
        update(
            parameters,
            given,
            state["exp_avg"],
            state["exp_avg_sq"],
            [],
            state["step"],
            fused=fused,
            amsgrad=False,
            beta1=training.beta1,
            beta2=training.beta2,
            lr=rate,
            weight_decay=training.weight_decay,
            eps=ADAM_EPSILON,
            maximize=False,
        )
