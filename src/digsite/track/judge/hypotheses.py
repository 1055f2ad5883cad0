"""The original's hypotheses as tests: effect, interval, null, and a verdict that may be withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from digsite.track.judge.phases import Phase1
from digsite.track.judge.questions import Answer, Effect, contrast, effect, holm


@dataclass(frozen=True)
class Hypothesis:
    """`effect` is the value minus the null; `smallest` is the least effect of interest; `corrected` is Holm's p."""

    claim: str
    value: float
    null: float
    effect: Effect
    smallest: float
    corrected: float = 1.0

    @property
    def answer(self) -> Answer:
        """By the corrected p: of eleven hypotheses one or more would hold by chance in four tables of ten."""
        found = replace(self.effect, p=self.corrected).answer(self.smallest)
        return "no" if found == "yes" and self.effect.value < 0 else found

    def row(self) -> dict[str, Any]:
        shown = {name: value for name, value in asdict(self.effect).items() if name != "value"}
        return {"hypothesis": self.claim, "answer": self.answer, "value": self.value, "null": self.null} | {
            "effect": self.effect.value,
            **shown,
            "corrected_p": self.corrected,
        }


def hypotheses(result: Phase1, rng: np.random.Generator, beside: Sequence[float] = ()) -> list[Hypothesis]:
    """One unit per network, each against what the same detector or networks of other seeds give without the effect.

    `beside`: p of further tests in the same table, which are corrected for together with these.
    """
    edge = result.detectors.set_index("detector").loc["edge"]
    rate = _rate_per_run(result, 0.0, 1.01)
    crowd, late = (_rate_per_run(result, low, high) for low, high in ((0.0, 0.1), (0.5, 1.01)))
    known = (
        result.critical
        if len(result.critical)
        else pd.DataFrame(columns=["coordination_excess", "loss_difference"])
    )
    if "other_seeds" in known:
        known = known[known.other_seeds > 0]  # without another seed there is no null
    tests = [
        _against(
            "layers jump more often than smooth curves with the same noise",
            rate.rate,
            edge.null_per_series,
            0.05,
            rng,
        ),
        _against(
            "jumps crowd in the first tenth of training", crowd.rate, edge.null_early_per_series, 0.05, rng
        ),
        _against(
            "jumps happen in the second half of training", late.rate, edge.null_late_per_series, 0.05, rng
        ),
        _families("transformers jump more often than MLPs", rate, "transformer", "mlp", rng),
        _families("CNNs jump more often than MLPs", rate, "cnn", "mlp", rng),
        _against("layers are fast together beyond chance", known.coordination_excess, 0.0, 0.01, rng),
        _against("the loss falls more often at fast samples", known.loss_difference, 0.0, 0.02, rng),
        _against(
            "layers settle from the bottom up",
            (result.convergence.order == "bottom-up").astype(float),
            0.025,
            0.05,
            rng,
        ),
    ]
    corrected = holm([*(test.effect.p for test in tests), *beside])
    return [replace(test, corrected=p) for test, p in zip(tests, corrected)]


def _rate_per_run(result: Phase1, low: float, high: float) -> pd.DataFrame:
    """Jumps per layer of each network in one part of training; a network without jumps counts with none."""
    sizes: Any = result.layers.groupby(["experiment", "family"]).size()
    per_run = sizes.rename("layers").reset_index()
    inside = (
        result.jumps[result.jumps.phase.between(low, high, inclusive="left")]
        if len(result.jumps)
        else result.jumps
    )
    counts: Any = inside.groupby("experiment").size() if len(inside) else pd.Series(dtype=int)
    per_run["rate"] = per_run.experiment.map(counts).fillna(0) / per_run.layers
    return per_run


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
