"""A measured curve with its training steps: the sampling grid travels with the values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError

MINIMUM = 20
# Activations are float32: a range below 64 of its rounding steps carries no information.
CONSTANT_RANGE = 64 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Series:
    """Values at training steps; `holes` counts samples that were not finite and are left out."""

    steps: np.ndarray
    values: np.ndarray
    run: str = ""
    layer: str = ""
    measure: str = ""
    depth: int = 0
    holes: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def constant(self) -> bool:
        """Up to rounding."""
        return is_constant(self.values)

    def _repr_html_(self) -> str:
        """In a notebook: the labels and the curve."""
        from digsite.figures import curves
        from digsite.figures.style import notebook_card

        facts = {"run": self.run, "layer": self.layer, "samples": len(self.values), "left out": self.holes}
        name = self.measure or "value"
        figure = curves({name: (self.steps, self.values)}, x="training step", y=name)
        return notebook_card("Series", {key: value for key, value in facts.items() if value != ""}, figure)

    @property
    def regular(self) -> bool:
        """Whether samples are evenly spaced in steps."""
        gaps = np.diff(self.steps)
        return len(gaps) == 0 or bool(np.allclose(gaps, gaps[0]))


def is_constant(values: np.ndarray) -> bool:
    """No movement beyond float32 rounding."""
    if len(values) == 0:
        return True
    return float(values.max() - values.min()) <= CONSTANT_RANGE * float(np.abs(values).max())


@public_method(
    values=Numbers(1, finite=False, arrays_only=False), steps=Numbers(1, optional=True, arrays_only=False)
)
def make_series(values: ArrayLike, steps: ArrayLike | None = None, **labels: object) -> Series:
    """Checks the time axis and leaves out holes; without steps the sample number is the time.

    `values` (n,) at `steps` (n,); `labels` say of what: measure, layer, run.
    """
    v = np.asarray(values, dtype=float)
    if v.ndim != 1:
        raise UsageError(f"A series has one dimension, and this one has shape {v.shape}.")
    t = np.arange(len(v), dtype=float) if steps is None else np.asarray(steps, dtype=float)
    check_steps(t, len(v))
    whole = np.isfinite(v)
    return Series(t[whole], v[whole], holes=int((~whole).sum()), **labels)  # type: ignore[arg-type]


def check_steps(steps: np.ndarray, samples: int) -> None:
    """As many as values, finite, rising."""
    if len(steps) != samples:
        raise UsageError(f"There are {samples} values but {len(steps)} steps.")
    if not np.isfinite(steps).all():
        raise UsageError(f"Step number {int(np.flatnonzero(~np.isfinite(steps))[0])} is not a number.")
    gaps = np.diff(steps)
    if (gaps == 0).any():
        at = steps[int(np.flatnonzero(gaps == 0)[0])]
        raise UsageError(
            f"Step {at:g} appears twice.", hint="Does the file hold several runs or layers? Split it."
        )
    if (gaps < 0).any():
        i = int(np.flatnonzero(gaps < 0)[0])
        raise UsageError(
            f"The steps go backward from {steps[i]:g} to {steps[i + 1]:g}.",
            hint="Does the file hold several runs? Split it.",
        )


def need_samples(series: Series) -> None:
    """Fewer samples than this can show no jump at any level."""
    if len(series.values) < MINIMUM:
        raise UsageError(
            f"A series of {len(series.values)} samples is too short to look for jumps; {MINIMUM} are needed.",
            hint="Measure more often: every=...",
        )
