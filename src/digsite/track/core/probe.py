"""A fixed set of inputs, always seen in evaluation mode, with the rows of each layer that are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.track.core import capture
from digsite.track.core.capture import Captured, Target

LossFunction = Callable[[Any, Tensor], Tensor]


@dataclass
class Probe:
    """Inputs (a tensor, a tuple of arguments or keyword arguments), optional labels, and at most `n_rows` rows."""

    inputs: Any
    labels: Tensor | None = None
    n_rows: int = 128
    seed: int = 0
    loss: LossFunction | None = None
    _taken: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        first = (
            next(iter(self.arguments[1].values()), None) if not self.arguments[0] else self.arguments[0][0]
        )
        if not isinstance(first, Tensor) or len(first) == 0:
            raise UsageError(
                "The probe is empty: pass at least a few dozen inputs the model is to be seen on."
            )
        if first.is_floating_point() and not bool(torch.isfinite(first).all()):
            raise UsageError("The probe holds values that are not finite.")

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if isinstance(self.inputs, Mapping):
            return (), dict(self.inputs)
        return (tuple(self.inputs) if isinstance(self.inputs, tuple | list) else (self.inputs,)), {}

    def keep(self, target: Target, table: Tensor) -> Tensor:
        """The same rows at every step; fewer than asked only where a layer has fewer."""
        if len(table) <= self.n_rows:
            return table
        if target.name not in self._taken:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "rows", len(table)))
            self._taken[target.name] = (
                torch.randperm(len(table), generator=generator)[: self.n_rows].sort().values
            )
        return table[self._taken[target.name].to(table.device)]

    def run(
        self, model: nn.Module, found: list[Target], *, patterns: bool = False
    ) -> tuple[Captured, float | None]:
        """One forward pass; what was captured, and the loss on the probe."""
        args, kwargs = self.arguments
        with (
            evaluating(model),
            torch.inference_mode(),
            capture.watching(found, self.keep, patterns=model if patterns else None) as captured,
        ):
            output = model(*args, **kwargs)
            loss = self._loss(output)
        return captured, loss

    def _loss(self, output: Any) -> float | None:
        if self.loss is not None and self.labels is not None:
            return float(self.loss(output, self.labels))
        plain = self.labels is not None and isinstance(output, Tensor) and output.ndim == 2
        if not plain or self.labels is None or self.labels.is_floating_point():
            return None
        return float(nn.functional.cross_entropy(output, self.labels))


def as_probe(probe: Any, seed: int = 0, n_rows: int = 128) -> Probe:
    """A Probe, inputs, or a pair (inputs, labels) whose second part holds one label per input."""
    if isinstance(probe, Probe):
        return probe
    if isinstance(probe, tuple) and len(probe) == 2 and all(isinstance(p, Tensor) for p in probe):
        inputs, labels = probe
        if labels.ndim == 1 and len(labels) == len(inputs):
            return Probe(inputs, labels, n_rows, seed)
    return Probe(probe, None, n_rows, seed)


@contextmanager
def evaluating(model: nn.Module) -> Any:
    """Evaluation mode, and each module's own mode back afterwards."""
    switched = [module for module in model.modules() if module.training]
    for module in switched:
        _set_mode(module, False)
    try:
        yield
    finally:
        for module in switched:
            _set_mode(module, True)


def _set_mode(module: nn.Module, training: bool) -> None:
    """Past nn.Module's setter, which looks for parameters first: a tenth of a small network's forward pass."""
    if "training" in vars(module):
        vars(module)["training"] = training
    else:  # a scripted module keeps it elsewhere
        module.training = training
