"""One couple of one seed through all methods: what a comparison run computes per job, as plain numbers."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.graft.config import CompareConfig
from digsite.graft.core.nets import acts, same_shape
from digsite.graft.core.operate import Operation, Plan, best_null, operate, plan
from digsite.graft.core.task import Outcome
from digsite.graft.judge.ceiling import readable_ceiling
from digsite.graft.judge.ledger import as_dict, entry
from digsite.graft.subjects.theatre import Theatre, open_theatre, with_common_start

Row = dict[str, Any]


def validate(config: dict[str, Any], names: tuple[str, str], seed: int) -> list[Row]:
    """Every grid entry's calibrated transfer on the validation split of this couple; no test image is touched."""
    torch.set_num_threads(1)
    settings = CompareConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    lines = []
    for part in settings.grids:
        for text in part.options:
            chosen = plan(f"{part.method} {text}")
            line = {"grid": part.method, "text": f"{part.method} {text}", "setting": chosen.label}
            lines.append({**line, **_validated(chosen, room)})
    return lines


def _validated(chosen: Plan, room: Theatre) -> dict[str, Any]:
    try:
        model = operate(chosen, room.pair, room.pools, None, room.seed, lens=room.lens).model
    except UsageError as error:
        return {"transfer": float("nan"), "preservation": float("nan"), "failed": error.message}
    seen = room.validation(model)
    return {"transfer": seen.calibrated.transfer, "preservation": seen.calibrated.preservation, "failed": ""}


def job(
    config: dict[str, Any], names: tuple[str, str], seed: int, chosen: dict[str, str] | None = None
) -> dict[str, Any]:
    """All methods on this couple, and of each grid its chosen entry; a dict of numbers, strings and small tensors."""
    torch.set_num_threads(1)
    settings = CompareConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    null = best_null(room.pair, room.pools, room.scorer, room.seed, room.lens)
    alone = room.scorer(room.pair.receiver)
    strange = room.scorer.strangers(room.pair.donor)
    rows, skipped = [], []
    for name, text in [*((None, t) for t in settings.methods), *(chosen or {}).items()]:
        wanted = plan(text)
        if reason := unfit(wanted, room):
            skipped.append({"method": wanted.label, "reason": reason})
            continue
        rows.append(_row(_operate(wanted, room, settings), null, strange, name, blind_outcome(wanted, room)))
    out: dict[str, Any] = {
        "rows": rows,
        "skipped": skipped,
        "receiver_preservation": alone.raw.preservation,
        "n_new_images": int(torch.isin(room.data.test.y, torch.tensor(room.classes.new)).sum()),
        "donor_transfer": room.scorer.accuracy(room.pair.donor, list(room.classes.new)),
        "donor_strangers": [[c, share] for c, share in strange.items()],
        "confusion": {"receiver": alone.confusion, "donor": room.scorer(room.pair.donor).confusion},
    }
    if settings.ceiling:
        depths = readable_ceiling(room.pair, room.pools, room.scorer, room.lens)
        out["ceiling"] = [asdict(d) for d in depths]
    return out


def unfit(chosen: Plan, room: Theatre) -> str:
    """Why this method cannot run on this couple; empty when it can."""
    if chosen.tag("SAME_SHAPE") and not same_shape(room.pair.receiver, room.pair.donor):
        return "needs one shape on both sides"
    return ""


def _operate(chosen: Plan, room: Theatre, settings: CompareConfig) -> Operation:
    if not chosen.tag("NEEDS_START"):
        return operate(chosen, room.pair, room.pools, room.scorer, room.seed, lens=room.lens)
    other = room.lens.once(room.pair.receiver, ("start",), lambda: with_common_start(settings, room))
    return operate(chosen, other.pair, other.pools, other.scorer, other.seed, lens=other.lens)


def blind_outcome(wanted: Plan, room: Theatre) -> Outcome | None:
    """The same operation with a donor of the same recipe that never saw the new class; None for what uses no donor.

    Noise is not enough of an ablation: a real network's features help to recognize a class that it does not know.
    """
    if room.blind is None or (wanted.module.SAME_SHAPE and not same_shape(room.pair.receiver, room.blind)):
        return None
    if getattr(wanted.module, "NEEDS_START", False):
        return None
    pair = replace(room.pair, donor=room.blind)
    try:
        return operate(wanted, pair, room.pools, room.scorer, room.seed, ablate=False).outcome
    except UsageError:
        return None


def _row(
    done: Operation, null: Outcome, strange: dict[int, float], name: str | None, blind: Outcome | None
) -> Row:
    assert done.outcome is not None
    line = as_dict(entry(done, null, strange))
    line["blind_calibrated_transfer"] = (
        line["noise_calibrated_transfer"] if blind is None else blind.calibrated.transfer
    )
    line["setting"], line["method"] = line["method"], name or line["method"]
    line["called_new"] = [[c, share] for c, share in done.outcome.called_new.items()]
    line["confusion"] = done.outcome.confusion
    return line


@torch.no_grad()
def geometry(room: Theatre, method: str, n: int = 150) -> dict[str, Tensor]:
    """Penultimate features before and after, in the two main directions of the receiver's own, by class."""
    done = operate(plan(method), room.pair, room.pools, None, room.seed, lens=room.lens)
    y = room.data.held.y
    involved = [*room.classes.old, *room.classes.donor]
    keep = torch.cat([(y == c).nonzero()[:n, 0] for c in sorted(set(involved))])
    x = room.data.held.x[keep]
    before = acts(room.pair.receiver, x).last
    after = acts(done.model, x).last
    if after.shape[1] != before.shape[1]:
        after = before
    old = torch.isin(y[keep], torch.tensor(room.classes.old))
    center = before[old].mean(0)
    axes = torch.linalg.svd(before[old] - center, full_matrices=False).Vh[:2]
    return {"before": (before - center) @ axes.T, "after": (after - center) @ axes.T, "y": y[keep]}
