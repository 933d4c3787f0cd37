"""Training steps without Python: captured once as a CUDA graph, then replayed.

A step of a small network consists of a few hundred kernels, and a GPU waits longer for the launch of each than it
computes. A captured step is one launch. Whatever changes from step to step has to be a tensor that stays in its place
and gets new values before each replay; anything else, such as a Python number, keeps its value from the capture.

On a CPU the same function is called on the same tensors instead, which changes nothing: a result is the same, bit for
bit, with `jobs.capture` and without it. **The graphs below have not run on a GPU yet** (docs/gpu.md).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isthmus.core.errors import UserError

WARM_UP = 3  # calls before the capture, in which libraries load and choose their kernels, as PyTorch recommends


class Replay:
    """A function of tensors that works on others in place, and returns nothing.

    It is called with tensors of the same shapes and devices every time, and gets copies of them that stay in place.

    >>> total = torch.zeros(2)
    >>> add = Replay(total.add_)
    >>> add(torch.ones(2)), add(torch.tensor([1.0, 2.0])), total.tolist()
    (None, None, [2.0, 3.0])
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self.function, self.calls = function, 0
        self.kept: tuple[Tensor, ...] = ()
        self.graph: Any = None

    def __call__(self, *given: Tensor) -> None:
        """Call the function, or replay its capture. Raises UserError if it cannot be captured."""
        if not self.kept:
            self.kept = tuple(each.clone() for each in given)
        for kept, each in zip(self.kept, given, strict=True):
            kept.copy_(each)
        self.calls += 1
        if self.kept[0].device.type != "cuda":
            self.function(*self.kept)
        elif self.calls <= WARM_UP:
            self._call_aside()
        else:
            if self.graph is None:
                self.graph = self._captured()
            self.graph.replay()

    def _call_aside(self) -> None:
        """On a stream of its own, as PyTorch asks of what will be captured."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            self.function(*self.kept)
        here.wait_stream(aside)

    def _captured(self) -> Any:
        """The function as a graph; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.function(*self.kept)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UserError(f"a step of training cannot be captured ({error}); set jobs.capture to false") from error
        return graph
