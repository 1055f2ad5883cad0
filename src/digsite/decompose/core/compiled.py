"""The whole step (losses and gradients) as one compiled graph; the same function runs as it is without a compiler."""

import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

WORTH_STEPS = 1500  # compiling costs about as much as this many small steps save
COMMON = 20  # times that another shape must come before it is worth a graph of its own
Step = Callable[..., tuple[Tensor, list[Tensor]]]


def is_possible() -> bool:
    """On a CPU the compiler writes C++."""
    return torch.cuda.is_available() or any(shutil.which(name) for name in ("g++", "clang++", "cl"))


class CompiledStep:
    """Traces below the module level, so hooks, vmap and any model are fine; one graph per shape of batch."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graphs: dict[tuple[torch.Size, ...], Step] = {}
        self._seen: Counter[tuple[torch.Size, ...]] = Counter()

    def __call__(self, *args: Tensor) -> tuple[Tensor, list[Tensor]]:
        key = tuple(arg.shape for arg in args)
        self._seen[key] += 1
        if key not in self._graphs:
            if self._graphs and self._seen[key] < COMMON:
                return self._step(*args)
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
