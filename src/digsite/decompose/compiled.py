"""The whole step (losses and gradients) as one compiled graph; the same function runs as it is without a compiler."""

import shutil
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

WORTH_STEPS = 1500  # compiling costs about as much as this many small steps save
Step = Callable[..., tuple[Tensor, list[Tensor]]]


def is_possible() -> bool:
    """On a CPU the compiler writes C++."""
    return torch.cuda.is_available() or any(shutil.which(name) for name in ("g++", "clang++", "cl"))


class CompiledStep:
    """Traces below the module level, so hooks, vmap and any model are fine; one graph per shape of batch."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graphs: dict[tuple[torch.Size, ...], Callable[..., tuple[Tensor, list[Tensor]]]] = {}

    def __call__(self, *args: Tensor) -> tuple[Tensor, list[Tensor]]:
        key = tuple(arg.shape for arg in args)
        if key not in self._graphs:
            self._graphs[key] = _compile(self._step, args)
        with torch.no_grad():
            return self._graphs[key](*args)


def _compile(step: Step, args: Sequence[Tensor]) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    graph = make_fx(step)(*args)
    compiled = torch.compile(graph, fullgraph=True, dynamic=False)
    # One compiler process: a pool of workers would outlive a short run. The compiler's own deprecations are not ours.
    with torch._inductor.config.patch(compile_threads=1), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        compiled(*args)
    return compiled
