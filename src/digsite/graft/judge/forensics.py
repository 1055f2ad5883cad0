"""Which rows of a network came from another one, told from its weights alone."""

from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.graft.core.nets import layers

FLAG = 7.0  # robust standard deviations above the median row
SMALLEST = 1e-12


@dataclass(frozen=True)
class LayerReport:
    """One layer: a score per row (robust standard deviations, higher is more foreign) and the flagged rows."""

    layer: int
    name: str
    scores: Tensor
    flagged: tuple[int, ...]


@public_method()
def inspect(model: nn.Module, flag: float = FLAG) -> list[LayerReport]:
    """Scores every row of every layer but the head.

    A row that grew up here has large weights where the layer's other rows have them: on inputs that are alive.
    A row from elsewhere reads another network's live inputs.
    """
    found = list(layers(model).items())
    for name, layer in found:
        if not layer.weight.isfinite().all():
            raise UsageError(
                f"The layer '{name}' holds NaN or infinite weights, so nothing can be told about its rows."
            )
    reports = []
    for i, (name, layer) in enumerate(found[:-1]):
        scores = foreignness(layer.weight.detach(), first=i == 0)
        flagged = tuple((scores > flag).nonzero()[:, 0].tolist())
        reports.append(LayerReport(i + 1, name, scores, flagged))
    return reports


def foreignness(weight: Tensor, *, first: bool = False) -> Tensor:
    """How little each row's pattern of weight sizes agrees with the layer's median row, standardized.

    Two measures are added: correlation of log sizes, and of their ranks. Pixels are alive in nearly every network,
    so in a first layer the divergence of weight energy, which looks at the dead ones, takes the ranks' place.
    """
    flat = weight.flatten(1).double()
    if len(flat) < 3 or flat.shape[1] < 2:
        return torch.zeros(len(flat))
    sizes = flat.abs().clamp_min(SMALLEST).log()
    sizes = (
        sizes - sizes.median(1, keepdim=True).values
    )  # a row's own scale says nothing about where it grew up
    second = _divergence(flat) if first else -_agreement(torch.from_numpy(rankdata(sizes.numpy(), axis=1)))
    return (_standard(-_agreement(sizes)) + _standard(second)).float()


def _agreement(rows: Tensor) -> Tensor:
    """Correlation of each row with the median row."""
    center = rows.median(0).values
    a, b = rows - rows.mean(1, keepdim=True), center - center.mean()
    return (a @ b) / (a.norm(dim=1) * b.norm()).clamp_min(SMALLEST)


def _divergence(rows: Tensor) -> Tensor:
    """Relative entropy of each row's energy over inputs to the layer's usual distribution."""
    energy = rows.square()
    own = energy / energy.sum(1, keepdim=True).clamp_min(SMALLEST)
    usual = own.median(0).values
    usual = usual / usual.sum().clamp_min(SMALLEST)
    return (own * ((own + 1e-9) / (usual + 1e-6)).log()).sum(1)


def _standard(scores: Tensor) -> Tensor:
    away = scores - scores.median()
    return away / (1.4826 * away.abs().median()).clamp_min(1e-9)


def auroc(scores: Tensor, planted: Tensor) -> float:
    """In percent; 50 is chance."""
    truth = torch.zeros(len(scores))
    truth[planted] = 1
    return 100 * float(roc_auc_score(truth.numpy(), scores.numpy()))


Matrices = tuple[list[Tensor], list[Tensor]]


def plant(receiver: Matrices, donor: Matrices, rows: list[Tensor], share: float = 1.0) -> Matrices:
    """The receiver's matrices with these rows replaced by, or blended with, the donor's."""
    weights, biases = [w.clone() for w in receiver[0]], [b.clone() for b in receiver[1]]
    for layer, picked in enumerate(rows):
        weights[layer][picked] = torch.lerp(weights[layer][picked], donor[0][layer][picked], share)
        biases[layer][picked] = torch.lerp(biases[layer][picked], donor[1][layer][picked], share)
    return weights, biases


def drawn_rows(weights: list[Tensor], share: float, draw: torch.Generator) -> list[Tensor]:
    """A random `share` of each layer's rows but the head's, at least two."""
    return [torch.randperm(len(w), generator=draw)[: max(2, round(share * len(w)))] for w in weights[:-1]]
