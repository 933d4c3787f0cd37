"""A step of training, made in every way that there is: where does a stack pay off, and what do launches cost?

Microseconds for one network of one step: forward and backward pass and SGD with momentum, on a batch that lies ready on
the device. The ways:

* `loop`: an ordinary module with `torch.optim.SGD`, network after network, as a plain script does it;
* `one`: this library's step of one network, network after network;
* `stacked`: its step of a whole stack (`isthmus.models.stacked`);
* `vmap`: `torch.vmap` over `functional_call` of a single network, what networks of one's own are stacked by;
* `captured`: the stacked step as a CUDA graph, which a single launch replays; on GPUs only;
* `compiled`, `reduce_overhead`: the stacked forward and backward pass by `torch.compile`, without and with graphs.

All ways start from the same weights and data, and after a few steps the first network's losses must agree.
"""

import shutil
from collections.abc import Callable

import torch

from gpu_check.case import Case, Measured, Options, Skipped
from gpu_check.ways import (
    CHECKED_STEPS,
    CLASSES,
    SHAPES,
    Captured,
    Compiled,
    LessOverhead,
    Loop,
    One,
    Setting,
    Stack,
    Vmap,
    Way,
    matrix_precision,
)
from isthmus.models.sizes import parameters
from isthmus.training.timing import timed

Maker = Callable[[Setting, torch.device], Way]
WIDTHS = {
    "mlp": (32, 64, 128, 256, 512, 1024, 2048, 4096),
    "cnn": (4, 8, 16, 32, 64),
    "resnet": (8, 16, 32, 64),
}
SOME = (("mlp", 32), ("cnn", 8), ("resnet", 8), ("mlp", 512), ("cnn", 32), ("resnet", 32), ("mlp", 4096), ("cnn", 64))
"""Networks that stacks, batches and precisions are varied on."""
COMPILED = (("mlp", 128), ("cnn", 8))
COMPILING_SECONDS = 60.0  # for a case that compiles: a guess, after which the table says that it was not measured
STACKS, BATCHES, PRECISIONS = (1, 2, 4, 16, 64), (32, 1024), ("tf32", "bfloat16")
TOLERANCES = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 5e-2}  # of losses after these steps, relative
LEAST_SECONDS, ROUNDS = 0.05, 3  # of calls that are timed together, and how often; the fastest round counts


def cases(options: Options) -> list[Case]:
    """Widths first, then stacks, batches and precisions of some networks, then what has to be compiled."""
    compiled = [Setting(*each) for each in COMPILED]
    if options.smallest:
        settings = [Setting(name, 2, batch=4, stack=2) for name in SHAPES]
        compiled = [Setting("mlp", 2, batch=4, stack=2)]
    else:
        settings = [Setting(name, width) for name, widths in WIDTHS.items() for width in widths]
        settings += [Setting(*each, stack=stack) for stack in STACKS for each in SOME]
        settings += [Setting(*each, precision=kind) for kind in PRECISIONS for each in SOME]
        settings += [Setting(*each, batch=batch) for batch in BATCHES for each in SOME]
    device = torch.device(options.device)
    timings = [Case(each.name, lambda _, each=each: measure(each, device)) for each in settings]
    return timings + [
        Case(f"compiled {each.name}", lambda _, each=each: compiles(each, device), COMPILING_SECONDS)
        for each in compiled
    ]


def measure(setting: Setting, device: torch.device) -> Measured:
    """Microseconds of one network's step in each way. Raises RuntimeError if their losses do not agree."""
    makers: dict[str, Maker] = {"loop": Loop, "one": One, "stacked": Stack}
    if setting.stack > 1:
        makers["vmap"] = Vmap
    if device.type == "cuda":
        makers["captured"] = Captured
    return _timed(setting, device, makers)


def compiles(setting: Setting, device: torch.device) -> Measured:
    """The same for a compiled stack beside the plain loop and the stack."""
    if device.type == "cuda" and not shutil.which("cc") and not shutil.which("gcc"):
        raise Skipped("torch.compile needs a C compiler, and there is none")
    makers: dict[str, Maker] = {"loop": Loop, "stacked": Stack, "compiled": Compiled}
    if device.type == "cuda":
        makers["reduce_overhead"] = LessOverhead
    return _timed(setting, device, makers)


def _timed(setting: Setting, device: torch.device, makers: dict[str, Maker]) -> Measured:
    found: dict[str, float] = {}
    at_end: dict[str, float] = {}
    with matrix_precision(setting.precision):
        for name, maker in makers.items():
            try:
                way = maker(setting, device)
                way.begin()
                at_end[name] = way.first_loss().item()
                found[name] = 1e6 * _seconds(way.step, device) / way.networks
            except torch.OutOfMemoryError as error:
                raise Skipped(f"{name} does not fit into the card's memory") from error
            del way
    apart = max(abs(loss / at_end["loop"] - 1) for loss in at_end.values())
    if not apart < TOLERANCES[setting.precision]:
        raise RuntimeError(f"losses after {CHECKED_STEPS} steps differ: {at_end}")
    size = parameters(setting.recipe, setting.shape, CLASSES) * setting.batch
    ours = min(microseconds for name, microseconds in found.items() if name != "loop")
    return {
        "network": setting.network,
        "width": setting.width,
        "batch": setting.batch,
        "stack": setting.stack,
        "precision": setting.precision,
        "size": float(size),
        **{f"{name}_us": microseconds for name, microseconds in found.items()},
        "best_us": ours,
        "loop_over_best": found["loop"] / ours,
        "losses_apart": apart,
    }


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of a step, of which the first ones were made before: the fastest round of several steps each."""
    many = max(1, round(LEAST_SECONDS / max(timed(step, device), 1e-6)))

    def repeat() -> None:
        for _ in range(many):
            step()

    return min(timed(repeat, device) for _ in range(ROUNDS)) / many
