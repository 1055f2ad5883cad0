"""The original's hypotheses as tests: effect, interval, null, and a verdict that may be withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from digsite.track.judge.phases import Phase1
from digsite.track.judge.questions import Answer, Effect, contrast, effect


@dataclass(frozen=True)
class Hypothesis:
    """`effect` is the value minus the null; `smallest` is the least effect of interest."""

    claim: str
    value: float
    null: float
    effect: Effect
    smallest: float

    @property
    def answer(self) -> Answer:
        found = self.effect.answer(self.smallest)
        return "no" if found == "yes" and self.effect.value < 0 else found

    def row(self) -> dict[str, Any]:
        shown = {name: value for name, value in asdict(self.effect).items() if name != "value"}
        return {"hypothesis": self.claim, "answer": self.answer, "value": self.value, "null": self.null} | {
            "effect": self.effect.value,
            **shown,
        }


def hypotheses(result: Phase1, rng: np.random.Generator) -> list[Hypothesis]:
    """One unit per run; a run without jumps says nothing about when they happen."""
    sizes: Any = result.layers.groupby(["experiment", "family"]).size()
    per_run = sizes.rename("layers").reset_index()
    counts: Any = result.jumps.groupby("experiment").size() if len(result.jumps) else pd.Series(dtype=int)
    per_run["rate"] = per_run.experiment.map(counts).fillna(0) / per_run.layers
    null = float(result.detectors.set_index("detector").loc["edge"].null_per_series)
    early, late = (_share_per_run(result, low, high) for low, high in ((0, 0.1), (0.5, 1.01)))
    return [
        _against(
            "layers jump more often than smooth curves with the same noise", per_run.rate, null, 0.05, rng
        ),
        _against("jumps crowd in the first tenth of training", early, 0.1, 0.1, rng),
        _against("jumps happen in the second half of training", late, 0.0, 0.05, rng),
        _families("transformers jump more often than MLPs", per_run, "transformer", "mlp", rng),
        _families("CNNs jump more often than MLPs", per_run, "cnn", "mlp", rng),
        _against(
            "layers are fast together beyond chance",
            (result.critical.coordination_p < 0.05).astype(float),
            0.05,
            0.05,
            rng,
        ),
        _against(
            "the loss falls more often at fast samples", result.critical.loss_difference, 0.0, 0.02, rng
        ),
        _against(
            "layers settle from the bottom up",
            (result.convergence.order == "bottom-up").astype(float),
            0.025,
            0.05,
            rng,
        ),
    ]


def _share_per_run(result: Phase1, low: float, high: float) -> list[float]:
    inside = result.jumps.phase.between(low, high, inclusive="left")
    return inside.groupby(result.jumps.experiment).mean().tolist() if len(result.jumps) else []


def _against(
    claim: str, values: Sequence[float] | pd.Series, null: float, smallest: float, rng: np.random.Generator
) -> Hypothesis:
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    value = float(x.mean()) if len(x) else float("nan")
    return Hypothesis(claim, value, null, effect((x - null).tolist(), rng), smallest)


def _families(
    claim: str, per_run: pd.DataFrame, left: str, right: str, rng: np.random.Generator, smallest: float = 0.1
) -> Hypothesis:
    a, b = (per_run.rate[per_run.family == family].tolist() for family in (left, right))
    nan = float("nan")
    value, null = (float(np.mean(side)) if side else nan for side in (a, b))
    return Hypothesis(claim, value, null, contrast(a, b, rng), smallest)
