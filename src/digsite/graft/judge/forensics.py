"""Which rows of a network came from another one, told from its weights alone."""

from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.graft.config import ForensicsConfig
from digsite.graft.core.maps import match_by_weights, permute_units
from digsite.graft.core.methods.transplants import pick_cascade, rank_head_units
from digsite.graft.core.nets import list_layers, make_plain_net, read_matrices, shape_images
from digsite.graft.core.operate import make_sides, plan_method
from digsite.graft.subjects.theatre import Theatre, open_theatre

FLAG = 7.0  # robust standard deviations above the median row
SMALLEST = 1e-12
DIRECTIONS, BY_DIRECTIONS = 8, 3.0  # shared by the rows, and how much these count; chosen on two couples
MOST_AWAY = 3.0  # robust deviations; a share ends at 1, so that its lower tail is long


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

    `model` is a module; `flag` is the robust z from which a row is said to look foreign.
    """
    layers = list(list_layers(model).items())
    for name, layer in layers:
        if not layer.weight.isfinite().all():
            raise UsageError(
                f"The layer '{name}' holds NaN or infinite weights, so nothing can be told about its rows."
            )
    reports = []
    for i, (name, layer) in enumerate(layers[:-1]):
        scores = score_foreignness(layer.weight.detach(), first=i == 0)
        flagged = tuple((scores > flag).nonzero()[:, 0].tolist())
        reports.append(LayerReport(i + 1, name, scores, flagged))
    return reports


def score_foreignness(weight: Tensor, *, first: bool = False) -> Tensor:
    """How little each row's pattern of weight sizes agrees with the layer's median row, standardized.

    Two measures are added: correlation of log sizes, and of their ranks. Pixels are alive in nearly every network,
    so in a first layer the divergence of weight energy, which looks at the dead ones, takes the ranks' place, and there a
    third one counts most: all rows read the same pixels, and those that learned one task share a few directions of them.
    """
    flat = weight.flatten(1).double()
    if len(flat) < 3 or flat.shape[1] < 2:
        return torch.zeros(len(flat))
    sizes = flat.abs().clamp_min(SMALLEST).log()
    sizes = (
        sizes - sizes.median(1, keepdim=True).values
    )  # a row's own scale says nothing about where it grew up
    second = (
        _diverge_from_median(flat)
        if first
        else -_correlate_with_median(torch.from_numpy(rankdata(sizes.numpy(), axis=1)))
    )
    score = _standardize_robustly(-_correlate_with_median(sizes)) + _standardize_robustly(second)
    if first:
        away = _standardize_robustly(-_capture_by_others(flat)).clamp(-MOST_AWAY, MOST_AWAY)
        score = (score + BY_DIRECTIONS * away) / 2
    return score.float()


def _capture_by_others(rows: Tensor) -> Tensor:
    """Share of each row's energy in the leading directions of the rows of the other half, so that no row explains itself."""
    away = rows - rows.median(0).values
    away = away / away.norm(dim=1, keepdim=True).clamp_min(SMALLEST)
    half = torch.arange(len(away)) % 2 == 0
    out = away.new_zeros(len(away))
    for own in (half, ~half):
        directions = torch.linalg.svd(away[~own], full_matrices=False).Vh[:DIRECTIONS]
        out[own] = (away[own] @ directions.T).square().sum(1)
    return out


def _correlate_with_median(rows: Tensor) -> Tensor:
    """Correlation of each row with the median row."""
    center = rows.median(0).values
    a, b = rows - rows.mean(1, keepdim=True), center - center.mean()
    return (a @ b) / (a.norm(dim=1) * b.norm()).clamp_min(SMALLEST)


def _diverge_from_median(rows: Tensor) -> Tensor:
    """Relative entropy of each row's energy over inputs to the layer's usual distribution."""
    energy = rows.square()
    own = energy / energy.sum(1, keepdim=True).clamp_min(SMALLEST)
    usual = own.median(0).values
    usual = usual / usual.sum().clamp_min(SMALLEST)
    return (own * ((own + 1e-9) / (usual + 1e-6)).log()).sum(1)


def _standardize_robustly(scores: Tensor) -> Tensor:
    """Distances from the median in robust standard deviations; a few planted rows do not move either."""
    away = scores - scores.median()
    return away / (1.4826 * away.abs().median()).clamp_min(1e-9)


def measure_auroc(scores: Tensor, planted: Tensor) -> float:
    """In percent; 50 is chance."""
    truth = torch.zeros(len(scores))
    truth[planted] = 1
    return 100 * float(roc_auc_score(truth.numpy(), scores.numpy()))


Matrices = tuple[list[Tensor], list[Tensor]]


def plant_rows(receiver: Matrices, donor: Matrices, rows: list[Tensor], share: float = 1.0) -> Matrices:
    """The receiver's matrices with these rows replaced by, or blended with, the donor's."""
    weights, biases = [w.clone() for w in receiver[0]], [b.clone() for b in receiver[1]]
    for layer, picked in enumerate(rows):
        weights[layer][picked] = torch.lerp(weights[layer][picked], donor[0][layer][picked], share)
        biases[layer][picked] = torch.lerp(biases[layer][picked], donor[1][layer][picked], share)
    return weights, biases


def draw_rows(weights: list[Tensor], share: float, draw: torch.Generator) -> list[Tensor]:
    """A random `share` of each layer's rows but the head's, at least two."""
    return [torch.randperm(len(w), generator=draw)[: max(2, round(share * len(w)))] for w in weights[:-1]]


# The forensic experiment on one couple: rows planted in several ways, each looked for from the weights alone.


def plant_on_couple(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    """AUROC, hits and false alarms per way of planting and layer."""
    torch.set_num_threads(1)
    settings = ForensicsConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    a, b = read_matrices(room.pair.receiver), read_matrices(room.pair.donor)
    ids = draw_rows(a[0], settings.share, torch.Generator().manual_seed(seed))
    donor_side, _ = make_sides(plan_method("cascade"), room.pair, room.pools, seed)
    fan = pick_cascade(room.pair.donor, rank_head_units(donor_side), 24, [6, 4, 3])
    cascade = [fan[i] for i in range(len(ids))]
    order = torch.Generator().manual_seed(derive_seed(seed, "sweeps"))
    aligned = permute_units(*b, match_by_weights(a[0], b[0], draw=order))
    random = plant_rows(a, b, ids)
    cases: dict[str, tuple[Matrices, list[Tensor]]] = {
        "control": (a, ids),
        "control donor": (b, cascade),
        "cascade": (plant_rows(a, b, cascade), cascade),
        "random": (random, ids),
        "half blended": (plant_rows(a, b, ids, 0.5), ids),
        "permuted donor": (plant_rows(a, aligned, ids), ids),
        "tuned": (tune_planted(random, room, settings, settings.tuned_lr), ids),
        "tuned at training rate": (tune_planted(random, room, settings, settings.lr), ids),
    }
    return {
        "rows": [line for case, (m, planted) in cases.items() for line in look_for_planted(case, m, planted)]
    }


def look_for_planted(case: str, m: Matrices, planted: list[Tensor]) -> list[dict[str, Any]]:
    """One line per layer; a false alarm is a flagged row that was not planted.

    Where more than half of a layer was replaced, the rows that stand out are the ones left from before.
    """
    lines = []
    for report, picked in zip(inspect(make_plain_net(*m)), planted):
        native = torch.ones(len(report.scores), dtype=torch.bool)
        native[picked] = False
        if 2 * len(picked) > len(native):
            native = ~native
            picked = (~native).nonzero()[:, 0]
        lines.append(
            {
                "case": case,
                "layer": report.layer,
                "auroc": measure_auroc(report.scores, picked),
                "hits": 100 * float((report.scores[picked] > FLAG).float().mean()),
                "false_alarms": 100 * float((report.scores[native] > FLAG).float().mean()),
            }
        )
    return lines


def tune_planted(m: Matrices, room: Theatre, settings: ForensicsConfig, lr: float) -> Matrices:
    """The planted network trained on, on the receiver's own images."""
    net: nn.Module = make_plain_net(*m)
    images = room.pools.old
    # Not by the trainer: a single network, which has nothing to be stacked with.
    solver = torch.optim.Adam(net.parameters(), lr, weight_decay=settings.weight_decay)
    draw = torch.Generator().manual_seed(room.seed)
    steps = round(settings.tuned_epochs * len(images) / settings.batch)
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(images), (settings.batch,), generator=draw)
            solver.zero_grad(set_to_none=True)
            F.cross_entropy(net(shape_images(net, images.x[pick])), images.y[pick]).backward()
            solver.step()
    return read_matrices(net)
