"""Tracking all members of an ensemble in training: one tracker each, fed from the stacked parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from digsite.track.core.probe import Probe
from digsite.track.core.series import Series
from digsite.track.core.tracker import Tracker
from digsite.train import Ensemble


class EnsembleTracker:
    """A callback for `train_ensemble(..., callback=tracker, every=tracker.every)`; each sample is complete.

    `listen(step, values)` is called at each sample with the loss and those of the `shown` measures that were read out at it, as means over
    members and layers: for a journal that is written while the training works.
    """

    def __init__(
        self,
        probe: Probe | Any,
        every: int = 10,
        *,
        names: Sequence[str] = (),
        listen: Callable[[int, dict[str, float]], None] | None = None,
        shown: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.probe, self.every, self.names, self.options = probe, every, names, options
        self.listen, self.shown = listen, tuple(shown)
        self.trackers: list[Tracker] = []
        self._modules: list[nn.Module] = []

    def __call__(self, step: int, ensemble: Ensemble) -> None:
        """The callback of `train_ensemble`."""
        if not self.trackers:
            self._begin_trackers(ensemble)
        elif step > self.trackers[0].count:
            params = ensemble.params
            losses = ensemble.losses.tolist()
            for i, (tracker, module) in enumerate(zip(self.trackers, self._modules, strict=True)):
                overwrite_parameters(module, {name: value[i] for name, value in params.items()})
                tracker.observe(step, losses[i])
            if self.listen is not None:
                self.listen(step, self._member_means(step, losses))
        if ensemble.done:
            for tracker in self.trackers:
                tracker.close()

    def _member_means(self, step: int, losses: list[float]) -> dict[str, float]:
        """Measures are read out several samples at a time: they are here at every few samples, the loss at each."""
        means: dict[str, list[float]] = {"loss": losses}
        for tracker in self.trackers:
            for layer in (t.name for t in tracker.targets):
                for measure in self.shown:
                    value = tracker.records.values(layer, measure).get(step)
                    if value is not None and isfinite(value):
                        means.setdefault(measure, []).append(value)
        return {name: sum(values) / len(values) for name, values in means.items()}

    def _begin_trackers(self, ensemble: Ensemble) -> None:
        """At the first call, since only then there are weights."""
        self._modules = [ensemble.module(i) for i in range(len(ensemble.members))]
        names = self.names or [f"seed{member.seed}" for member in ensemble.members]
        self.trackers = [
            Tracker(module, self.probe, self.every, budget=None, run=name, **self.options)
            for module, name in zip(self._modules, names, strict=True)
        ]

    def series(self, measure: str | None = None) -> list[Series]:
        """Of all members."""
        return [series for tracker in self.trackers for series in tracker.series(measure)]


def overwrite_parameters(module: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Copies values into a module's parameters and buffers of the same names."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in params.items():
            own[name].copy_(value)
