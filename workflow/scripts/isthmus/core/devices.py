"""Where and how networks run: device, threads, memory format, and how many train together."""

import ctypes
import os
import platform
import tomllib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from isthmus.core.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How to compute. None of these settings changes a result beyond rounding.

    capture: whether steps of training are replayed as CUDA graphs (`isthmus.training.replay`).
    """

    device: torch.device
    channels_last: bool = False
    evaluation_batch_size: int = 256
    checkpoint_seconds: float = 60.0
    capture: bool = False


def choose_device(wanted: str) -> torch.device:
    """The device for `jobs.device`; `auto` takes a GPU if this process sees one (`CUDA_VISIBLE_DEVICES`).

    Raises UserError if a GPU is wanted but none is visible.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("jobs.device is cuda, but this job sees no GPU; set it to auto or cpu, or ask for a GPU")
    return torch.device(wanted)


def set_up(threads: int, deterministic: bool) -> None:
    """Set the number of CPU threads and, on request, switch on PyTorch's deterministic algorithms.

    This also switches off TF32 (`allow_tf32`), and lets the process keep freed memory (`keep_memory`).
    """
    torch.set_num_threads(threads)
    keep_memory()
    allow_tf32(False)
    if deterministic:  # asking for it, even for "no", imports PyTorch's compiler: a second of start-up
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
        torch.use_deterministic_algorithms(True)


def allow_tf32(allowed: bool) -> None:
    """Whether GPUs may multiply and convolve float32 numbers in TF32, a format of 19 bits."""
    with warnings.catch_warnings():
        # PyTorch 2.9 advises newer names, but once they are set, whoever reads these gets an error, its compiler too.
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def keep_memory() -> None:
    """Let the C library, if it is glibc, keep the memory of freed tensors for the next ones of this process.

    By default it returns large ones to the kernel, which clears the same pages again in every step: a tenth of a step
    of wide convolutions, and a sixth of their evaluation. The most memory that a job needs stays the same.
    """
    if platform.libc_ver()[0] == "glibc":
        library, trim_threshold, most_maps = ctypes.CDLL(None), -1, -4  # parameters in glibc's malloc.h
        library.mallopt(trim_threshold, -1)  # never
        library.mallopt(most_maps, 0)


# Stacking pays off while one network's step is too small to keep a core busy. Measured on a CPU with
# benchmarks/bench_stacking.py (five MLPs, one thread): 5 times as fast at 2 x 10^4 weights x examples per step, equal
# from 3 x 10^7 on, which depends on the machine; above the limit, studies measure it (isthmus.training.layouts).
CPU_STACK_LIMIT = 2e7
# A guess, for cards without an entry in the table: launching a kernel costs as much as some 10^9 multiplications.
GPU_STACK_LIMIT = 1e9
GPU_STACK_LIMITS = Path(__file__).parents[3] / "gpu_stack_limits.toml"


@cache
def gpu_stack_limit(card: str, convolutional: bool, table: Path = GPU_STACK_LIMITS) -> float:
    """Weights x examples of a step up to which a stack is faster on the card of this name, as PyTorch calls it.

    table: measured limits by card, `dense` and `convolutional` (docs/gpu.md). A card that is not there gets the guess.

    >>> gpu_stack_limit("a card that nobody has", convolutional=False) == GPU_STACK_LIMIT
    True
    """
    measured = tomllib.loads(table.read_text(encoding="utf-8")).get(card)
    return GPU_STACK_LIMIT if measured is None else float(measured["convolutional" if convolutional else "dense"])


def stack_size(
    wanted: int | str, convolutional: bool, parameters: int, batch_size: int, device: torch.device, networks: int
) -> int:
    """How many of `networks` networks to train in one stack: `wanted`, or for `auto` all of them if they are small.

    Larger ones, and convolutions, train one by one unless a study measured that a stack is faster
    (`isthmus.training.layouts`).
    """
    if wanted != "auto":
        return min(int(wanted), networks)
    if device.type == "cpu":
        small = not convolutional and parameters * batch_size <= CPU_STACK_LIMIT
    else:
        card = torch.cuda.get_device_name(device)
        small = parameters * batch_size <= gpu_stack_limit(card, convolutional)
    return networks if small else 1
