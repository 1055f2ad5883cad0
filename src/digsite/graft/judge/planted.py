"""The forensic experiment on one couple: rows planted in several ways, each looked for from the weights alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.graft.config import ForensicsConfig
from digsite.graft.core import rows
from digsite.graft.core.alignment import by_weights, permuted
from digsite.graft.core.nets import matrices, plain_net, shaped
from digsite.graft.core.operate import plan, sides
from digsite.graft.judge.forensics import FLAG, Matrices, auroc, drawn_rows, inspect, plant
from digsite.graft.subjects.theatre import Theatre, open_theatre


def job(config: dict[str, Any], names: tuple[str, str], seed: int) -> dict[str, Any]:
    """AUROC, hits and false alarms per way of planting and layer."""
    torch.set_num_threads(1)
    settings = ForensicsConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    a, b = matrices(room.pair.receiver), matrices(room.pair.donor)
    ids = drawn_rows(a[0], settings.share, torch.Generator().manual_seed(seed))
    donor_side, _ = sides(plan("cascade"), room.pair, room.pools, seed)
    fan = rows.cascade(room.pair.donor, rows.head_importance(donor_side), 24, [6, 4, 3])
    cascade = [fan[i] for i in range(len(ids))]
    aligned = permuted(*b, by_weights(a[0], b[0]))
    random = plant(a, b, ids)
    cases: dict[str, tuple[Matrices, list[Tensor]]] = {
        "control": (a, ids),
        "control donor": (b, cascade),
        "cascade": (plant(a, b, cascade), cascade),
        "random": (random, ids),
        "half blended": (plant(a, b, ids, 0.5), ids),
        "permuted donor": (plant(a, aligned, ids), ids),
        "tuned": (tuned(random, room, settings, settings.tuned_lr), ids),
        "tuned at training rate": (tuned(random, room, settings, settings.lr), ids),
    }
    return {"rows": [line for case, (m, planted) in cases.items() for line in found(case, m, planted)]}


def found(case: str, m: Matrices, planted: list[Tensor]) -> list[dict[str, Any]]:
    """One line per layer; a false alarm is a flagged row that was not planted.

    Where more than half of a layer was replaced, the rows that stand out are the ones left from before.
    """
    lines = []
    for report, picked in zip(inspect(plain_net(*m)), planted):
        native = torch.ones(len(report.scores), dtype=torch.bool)
        native[picked] = False
        if 2 * len(picked) > len(native):
            native = ~native
            picked = (~native).nonzero()[:, 0]
        lines.append(
            {
                "case": case,
                "layer": report.layer,
                "auroc": auroc(report.scores, picked),
                "hits": 100 * float((report.scores[picked] > FLAG).float().mean()),
                "false_alarms": 100 * float((report.scores[native] > FLAG).float().mean()),
            }
        )
    return lines


def tuned(m: Matrices, room: Theatre, settings: ForensicsConfig, lr: float) -> Matrices:
    """The planted network trained on, on the receiver's own images."""
    net: nn.Module = plain_net(*m)
    images = room.pools.old
    solver = torch.optim.Adam(net.parameters(), lr, weight_decay=settings.weight_decay)
    draw = torch.Generator().manual_seed(room.seed)
    steps = round(settings.tuned_epochs * len(images) / settings.batch)
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(images), (settings.batch,), generator=draw)
            solver.zero_grad(set_to_none=True)
            F.cross_entropy(net(shaped(net, images.x[pick])), images.y[pick]).backward()
            solver.step()
    return matrices(net)
