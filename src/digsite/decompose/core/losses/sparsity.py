"""What should be small or few: importances, by their power, their number or their frequency; and the parts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Field
from digsite.decompose.core.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class _Sure(Loss):
    """A loss into which no chance enters."""

    def list_noise(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Nothing is drawn."""
        return {}


class ImportanceMinimality(_Sure):
    """Few components should matter: the p-norm of upper importances, summed over components and modules."""

    kind: Literal["importance_minimality"] = "importance_minimality"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")
    p: float = Field(default=1.0, gt=0, description="exponent of the importances")
    eps: float = Field(default=1e-12, ge=0, description="added to importances before the power")
    p_final: float | None = Field(
        default=None, gt=0, description="exponent that p moves to linearly; none keeps p"
    )
    anneal: tuple[float, float] = Field(
        default=(0.0, 1.0), description="shares of training between which p moves"
    )
    beta: float = Field(
        default=0.0,
        ge=0,
        description="weight of the frequency term, which discourages components that always fire",
    )

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """Sum of g^p over components, mean over positions; p may fall in training, from a sum towards a count."""
        return sum_terms([self._sum_powers(scene, upper) for upper in scene.importance.upper.values()])

    def _sum_powers(self, scene: Scene, upper: Tensor) -> Tensor:
        """Of one site, from its upper importances (..., C)."""
        # A power of one is left out: its gradient at zero is not finite in the general form.
        is_plain = self.p == 1 and self.p_final is None
        powered = upper if is_plain else (upper + self.eps) ** move_exponent(self, scene.progress)
        if not self.beta:
            return scene.average(powered.sum(-1))
        per_component = average_by_component(scene, powered)
        count = powered[..., 0].numel() if scene.rows is None else scene.rows.sum()
        return (per_component * (1 + self.beta * (1 + per_component * count).log2())).sum()


class _SoftCount(_Sure):
    """A loss on a soft count of importances, whose width narrows and whose pressure comes and goes in training."""

    width: float = Field(default=1.0, gt=0, description="width of the soft count at the start")
    width_final: float = Field(default=0.01, gt=0, description="width of the soft count at the end")
    rise: float = Field(
        default=0.0, ge=0, le=1, description="share of training in which pressure rises from zero"
    )
    end: float = Field(
        default=1.0, gt=0, le=1, description="share of training after which there is no pressure"
    )

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """What all sites cost, each from its soft counts (..., C), times the pressure of the moment."""
        width = narrow_width(self.width, self.width_final, scene.progress)
        terms = [self.cost_counts(scene, count_softly(g, width)) for g in scene.importance.upper.values()]
        return sum_terms(terms) * ramp_pressure(self.rise, self.end, scene.progress)

    def cost_counts(self, scene: Scene, counts: Tensor) -> Tensor:
        """The cost of one site, from its soft counts (..., C)."""
        raise NotImplementedError


class SmoothL0(_SoftCount):
    """Few components should matter: importances c counted as c^2 / (c^2 + w^2), which is nearly their number for small w.

    A sum of importances goes on pulling at a component that is needed; this count does not, once w is small. The width
    w falls from `width` to `width_final` in the course of training. Pressure may rise in the first share of training
    and end before the last, so that what is needed settles at one.
    """

    kind: Literal["smooth_l0"] = "smooth_l0"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")

    def cost_counts(self, scene: Scene, counts: Tensor) -> Tensor:
        """Their sum over components, mean over positions."""
        return scene.average(counts.sum(-1))


class Frequency(_SoftCount):
    """Few components should ever be used: how often each fires, times the logarithm of how often that is among N positions.

    The number N is fixed, so that the term says the same for every size of a batch.
    """

    kind: Literal["frequency"] = "frequency"
    coeff: float = Field(default=1e-4, ge=0, description="coefficient in the total loss")
    positions: int = Field(default=32_768, gt=0, description="positions N among which uses are counted")

    def cost_counts(self, scene: Scene, counts: Tensor) -> Tensor:
        """f log2(1 + f n) for each component's frequency f: rare components cost little, always-on ones much."""
        used = average_by_component(scene, counts)
        return (used * (1 + used * self.positions).log2()).sum()


class Schatten(_Sure):
    """Importance-weighted squared norms of the parts: a soft count of rank that also pays for size."""

    kind: Literal["schatten"] = "schatten"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")
    p: float = Field(default=1.0, gt=0, description="exponent of the importances")

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """Importance times the squared size of both factors: what is used should be small in rank and norm."""
        terms = []
        for site, upper in scene.importance.upper.items():
            v, u = scene.factors[site]
            sizes = v.square().sum(0) + u.square().sum(1)
            terms.append(scene.average(((upper + 1e-12) ** self.p * sizes).sum(-1)))
        return sum_terms(terms)


class Faithfulness(_Sure):
    """Parts must add up to the weights: mean squared entry of W - VU over all decomposed weights."""

    kind: Literal["faithfulness"] = "faithfulness"

    def compute(self, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
        """Mean squared entry of what the parts do not sum up to."""
        return average_residual(scene.residuals)


def average_residual(residuals: dict[str, Tensor]) -> Tensor:
    """Mean squared entry over the residuals (d_in, d_out) of all sites, each entry counted alike."""
    import torch

    total = torch.stack([delta.square().sum() for delta in residuals.values()]).sum()
    return total / sum(delta.numel() for delta in residuals.values())


def move_exponent(settings: ImportanceMinimality, progress: Tensor | float) -> Tensor | float:
    """The exponent at this share of training."""
    if settings.p_final is None:
        return settings.p
    import torch

    start, end = settings.anneal
    share = torch.as_tensor((progress - start) / max(end - start, 1e-12)).clamp(0, 1)
    return settings.p + (settings.p_final - settings.p) * share


def average_by_component(scene: Scene, values: Tensor) -> Tensor:
    """(C,): the mean of values (rows, ..., C) over positions, rows counted as often as they stand for."""
    if scene.rows is None:
        return values.flatten(0, -2).mean(0)
    by_row = values.flatten(1, -2).mean(1) if values.ndim > 2 else values
    return (by_row * scene.rows[:, None]).sum(0) / scene.rows.sum()


def narrow_width(start: float, end: float, progress: Tensor | float) -> Tensor | float:
    """The width of the soft count at this share of training."""
    return start + (end - start) * progress


def count_softly(importance: Tensor, width: Tensor | float) -> Tensor:
    """Of the same shape; exactly 0 at 0 and, whatever the width, exactly 1 at 1."""
    squared = importance.square()
    return squared * (1 + width**2) / (squared + width**2)


def ramp_pressure(rise: float, end: float, progress: Tensor | float) -> Tensor:
    """From 0 to 1 within `rise`, down to 0 over the last third before `end`, and 0 from there on."""
    import torch

    share = torch.as_tensor(progress)
    up = (share / rise).clamp(0, 1) if rise else torch.ones_like(share)
    return up * ((end - share) / (end / 3)).clamp(0, 1) if end < 1 else up


def sum_terms(terms: list[Tensor]) -> Tensor:
    """The sum of scalars; Python's own starts at 0, which a compiled step would carry along."""
    return sum(terms[1:], terms[0])
