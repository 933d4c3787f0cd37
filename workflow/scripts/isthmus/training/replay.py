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
    """Calls a function of tensors that works on others in place and returns nothing; later calls replay a capture.

    Every call names the same function and tensors of the same shapes and devices, of which it gets copies that stay in
    place. The function is not kept: one that belongs to a run would keep the run and its memory alive after its end.

    >>> total, replay = torch.zeros(2), Replay()
    >>> replay(total.add_, torch.ones(2)), replay(total.add_, torch.tensor([1.0, 2.0])), total.tolist()
    (None, None, [2.0, 3.0])
    """

    def __init__(self) -> None:
        self.calls = 0
        self.kept: tuple[Tensor, ...] = ()
        self.aside: Any = None
        self.graph: Any = None

    def __call__(self, function: Callable[..., object], *given: Tensor) -> None:
        """Call the function, or replay its capture. Raises UserError if it cannot be captured."""
        if not self.kept:
            self.kept = tuple(each.clone() for each in given)
        for kept, each in zip(self.kept, given, strict=True):
            kept.copy_(each)
        self.calls += 1
        if self.kept[0].device.type != "cuda":
            function(*self.kept)
        elif self.calls <= WARM_UP:
            self._call_aside(function)
        else:
            if self.graph is None:
                self.graph = self._captured(function)
            self.graph.replay()

    def _call_aside(self, function: Callable[..., object]) -> None:
        """On a stream of its own, as PyTorch asks of what will be captured."""
        if self.aside is None:  # one for all calls: PyTorch keeps freed memory for each stream
            self.aside = torch.cuda.Stream()
        here = torch.cuda.current_stream()
        self.aside.wait_stream(here)
        with torch.cuda.stream(self.aside):
            function(*self.kept)
        here.wait_stream(self.aside)

    def _captured(self, function: Callable[..., object]) -> Any:
        """The function as a graph; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.aside):
                function(*self.kept)
        except RuntimeError as error:
            # Ending a capture that failed raises an error as well, in the place of the one that says why.
            cause = error.__context__ or error
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            raise UserError(f"a step of training cannot be captured ({cause}); set jobs.capture to false") from error
        return graph
