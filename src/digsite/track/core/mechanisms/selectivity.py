"""How much one unit tells about the class: selectivity index and mutual information, beside shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Selectivity:
    """Means over units; `*_null` are the same with shuffled labels; `p` asks whether information exceeds it."""

    index: float
    index_null: float
    information: float
    information_null: float
    p: float
    class_means: Float[Tensor, "feature class"]


@public_method(activations=Numbers(2, rows=2), labels=Numbers(1, whole=True))
def activation_selectivity(
    activations: Float[Tensor, "n feature"],
    labels: Int[Tensor, "n"],
    generator: torch.Generator,
    *,
    draws: int = 20,
) -> Selectivity:
    """Index: (largest class mean - mean of the others) over their sum, activations shifted to zero (Morcos 2018).

    Information: bits about the class in a unit's activation cut into eight equally filled bins. Both are biased up by
    finite samples, which is what the shuffles show. Neither depends on the scale of the activations.
    """
    if len(activations) != len(labels):
        raise UsageError(f"{len(activations)} rows of activations have {len(labels)} labels.")
    if len(labels.unique()) < 2:
        raise UsageError("Selectivity needs at least two classes.")
    x = activations.double()
    bins = _bins(x)
    classes = labels.unique(return_inverse=True)[1]
    means = class_means(x, classes)
    information = _information(bins, classes)
    shuffled = [classes[torch.randperm(len(classes), generator=generator)] for _ in range(draws)]
    null_information = [float(_information(bins, other).mean()) for other in shuffled]
    null_index = [float(_index(class_means(x, other), x).mean()) for other in shuffled]
    value = float(information.mean())
    return Selectivity(
        index=float(_index(means, x).mean()),
        index_null=sum(null_index) / draws,
        information=value,
        information_null=sum(null_information) / draws,
        p=(1 + sum(other >= value for other in null_information)) / (draws + 1),
        class_means=means.float(),
    )


def class_means(x: Tensor, classes: Tensor) -> Tensor:
    member = torch.nn.functional.one_hot(classes).to(x.dtype)
    return (x.T @ member) / member.sum(0)


def _index(means: Tensor, x: Tensor) -> Tensor:
    raised = means - x.min(0).values[:, None]
    top = raised.max(1).values
    rest = (raised.sum(1) - top) / (raised.shape[1] - 1)
    return (top - rest) / (top + rest).clamp_min(1e-12)


def _bins(x: Tensor, count: int = 8) -> Tensor:
    """Ranks in eight equal bins; equal values share a bin, so a silent unit carries no information."""
    edges = x.quantile(torch.linspace(0, 1, count + 1, dtype=x.dtype)[1:-1], dim=0)
    return torch.searchsorted(edges.T.contiguous(), x.T.contiguous())


def _information(bins: Tensor, classes: Tensor) -> Tensor:
    n_classes, n_bins = int(classes.max()) + 1, int(bins.max()) + 1
    joint = torch.nn.functional.one_hot(bins * n_classes + classes, n_bins * n_classes).double().mean(1)
    joint = joint.reshape(-1, n_bins, n_classes)
    entropy = lambda p: torch.special.entr(p).flatten(1).sum(1)  # noqa: E731
    bits = entropy(joint.sum(2)) + entropy(joint.sum(1)) - entropy(joint)
    return bits / torch.log(torch.tensor(2.0, dtype=torch.float64))
