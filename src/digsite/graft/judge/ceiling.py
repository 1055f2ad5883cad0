"""The readable-ceiling map: at which depth of the receiver a new class can still be told, before any surgery."""

from dataclasses import dataclass

import torch

from digsite.graft.core.access import Access, AccessBudget, ImagePools, Lens
from digsite.graft.core.edits import Beside
from digsite.graft.core.maps import fit_quality, fit_ridge
from digsite.graft.core.nets import find_head
from digsite.graft.core.pair import Pair
from digsite.graft.core.task import Scorer
from digsite.graft.core.tune import fit_rows

BUDGET = "saF"


@dataclass(frozen=True)
class Depth:
    """One hidden layer, counted from 1; shares in percent."""

    layer: int
    width: int
    ceiling: float  # calibrated transfer of a probe fitted on all labelled new images
    auc: float  # new against foreign, same probe
    map_r2: float  # how well the layer explains the donor's last features on shared images
    row_seen: float  # share of the donor's new row inside what shared images move


def readable_ceiling(
    pair: Pair, pools: ImagePools, scorer: Scorer, lens: Lens | None = None, n_images: int = 3000
) -> list[Depth]:
    """For every hidden layer, the best any head could do there and what shared images let one guess without it.

    A head that was fitted on `n_images` labelled images of the new class, more than any method gets, bounds what a row in
    the head can reach at that depth.
    """
    access = Access(pools, AccessBudget.parse_letters(BUDGET), lens)
    old, new, shared = (
        access.open_old(n_images),
        access.open_shots().take_first(n_images),
        access.open_shared(n_images),
    )
    a, b = pair.name_heads()
    mine_old, mine_new, mine_shared = (
        access.lens.collect_acts(pair.receiver, x, a) for x in (old, new, shared)
    )
    theirs = access.lens.collect_acts(pair.donor, shared, b).last
    seen = row_inside(find_head(pair.donor, b).weight.detach()[list(pair.new)], theirs)
    logits = torch.cat([mine_old.logits, mine_new.logits])
    y = torch.cat([old.y, new.y])
    out = []
    for i, (h_old, h_new, h_shared) in enumerate(zip(mine_old.hidden, mine_new.hidden, mine_shared.hidden)):
        fit = fit_rows(torch.cat([h_old, h_new]), logits, y, list(pair.new))
        outcome = scorer(Beside(pair.receiver, a, list(pair.new), fit.to_layer(), i))
        r2 = fit_quality(theirs, fit_ridge(h_shared, theirs)(h_shared))
        reached = outcome.calibrated
        out.append(Depth(i + 1, h_old.shape[1], reached.transfer, reached.auc, 100 * r2, 100 * seen))
    return out


def row_inside(rows: torch.Tensor, features: torch.Tensor, share: float = 0.99) -> float:
    """Part of the rows' energy inside the principal directions that hold `share` of the features' variance."""
    _, s, v = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    energy = s.square().cumsum(0) / s.square().sum().clamp_min(1e-12)
    kept = v[: int((energy < share).sum()) + 1]
    return float((rows @ kept.T).square().sum() / rows.square().sum().clamp_min(1e-12))


def where_to_cut(depths: list[Depth], least: float = 90.0) -> int | None:
    """The deepest layer at which the class can still be read, or none."""
    good = [d.layer for d in depths if d.ceiling >= least]
    return max(good) if good else None
