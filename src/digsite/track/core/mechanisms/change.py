"""How far weights moved, along how many directions, and how many activations are near zero."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.track.core import spectrum
from digsite.track.core.measures import participation_ratio_variance, stable_rank


@dataclass(frozen=True)
class WeightChange:
    """Ranks are of the update: a low one means that the layer grew along few directions."""

    l2_norm: float
    relative: float
    largest: float
    mean: float
    cosine: float
    update_stable_rank: float
    update_participation_ratio: float


@public_method(before=Numbers(), after=Numbers())
def weight_change(before: Float[Tensor, "..."], after: Float[Tensor, "..."]) -> WeightChange:
    if before.shape != after.shape:
        raise UsageError(
            f"Weights of shapes {tuple(before.shape)} and {tuple(after.shape)} cannot be compared."
        )
    a, b = before.detach().double(), after.detach().double()
    update = b - a
    values = spectrum.spectrum(update.reshape(len(update), -1) if update.ndim > 1 else update[None, :])
    norms = a.norm() * b.norm()
    return WeightChange(
        l2_norm=float(update.norm()),
        relative=float(update.norm() / a.norm().clamp_min(1e-300)),
        largest=float(update.abs().max()),
        mean=float(update.abs().mean()),
        cosine=float((a * b).sum() / norms.clamp_min(1e-300)),
        update_stable_rank=float(stable_rank.measure(values)),
        update_participation_ratio=float(participation_ratio_variance.measure(values)),
    )


@public_method(activations=Numbers())
def activation_sparsity(activations: Float[Tensor, "..."], threshold: float = 0.1) -> float:
    """Share of activations within `threshold` root mean squares of zero: free of the layer's scale."""
    scale = activations.double().square().mean().sqrt()
    if float(scale) == 0:
        return 1.0
    return float((activations.double().abs() <= threshold * scale).double().mean())
