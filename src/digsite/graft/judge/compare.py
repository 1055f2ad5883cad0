"""One couple of one seed through all methods: what a comparison run computes per job, as plain numbers."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.graft.config import CompareConfig
from digsite.graft.core.access import Access, AccessBudget, ImagePools, Lens
from digsite.graft.core.edits import Beside
from digsite.graft.core.maps import fit_quality, fit_ridge
from digsite.graft.core.nets import collect_acts, find_head, has_same_shape
from digsite.graft.core.operate import MethodPlan, Operation, measure_best_null, plan_method, run_operation
from digsite.graft.core.pair import Pair
from digsite.graft.core.task import GraftOutcome, Scorer
from digsite.graft.core.tune import fit_rows
from digsite.graft.subjects.theatre import Theatre, open_theatre, with_common_start

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


Row = dict[str, Any]


def validate_grids(config: dict[str, Any], names: tuple[str, str], seed: int) -> list[Row]:
    """Every grid entry's calibrated transfer on the validation split of this couple; no test image is touched."""
    torch.set_num_threads(1)
    settings = CompareConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    lines = []
    for part in settings.grids:
        for text in part.options:
            chosen = plan_method(f"{part.method} {text}")
            line = {"grid": part.method, "text": f"{part.method} {text}", "setting": chosen.label}
            lines.append({**line, **_validate_one(chosen, room)})
    return lines


def _validate_one(chosen: MethodPlan, room: Theatre) -> dict[str, Any]:
    """Transfer and preservation of one setting on validation images, or why it failed."""
    try:
        model = run_operation(chosen, room.pair, room.pools, None, room.seed, lens=room.lens).model
    except UsageError as error:
        return {"transfer": float("nan"), "preservation": float("nan"), "failed": error.message}
    seen = room.validation(model)
    return {"transfer": seen.calibrated.transfer, "preservation": seen.calibrated.preservation, "failed": ""}


def compare_on_couple(
    config: dict[str, Any], names: tuple[str, str], seed: int, chosen: dict[str, str] | None = None
) -> dict[str, Any]:
    """All methods on this couple, and of each grid its chosen entry; a dict of numbers, strings and small tensors."""
    torch.set_num_threads(1)
    settings = CompareConfig.model_validate(config)
    room = open_theatre(settings, names, seed)
    null = measure_best_null(room.pair, room.pools, room.scorer, room.seed, room.lens)
    alone = room.scorer(room.pair.receiver)
    strange = room.scorer.count_strangers(room.pair.donor)
    rows, skipped, known = [], [], {}
    for name, text in [*((None, t) for t in settings.methods), *(chosen or {}).items()]:
        wanted = plan_method(text)
        if reason := find_misfit(wanted, room):
            skipped.append({"method": wanted.label, "reason": reason})
            continue
        if wanted.identity not in known:  # two published names may be one experiment
            done = _operate_started(wanted, room, settings)
            known[wanted.identity] = _make_row(done, null, strange, blind_outcome(wanted, room))
        same = {"setting": wanted.label, "method": name or wanted.label, "identity": str(wanted.identity)}
        rows.append(known[wanted.identity] | same)
    out: dict[str, Any] = {
        "rows": rows,
        "skipped": skipped,
        "receiver_preservation": alone.raw.preservation,
        "n_new_images": int(torch.isin(room.data.test.y, torch.tensor(room.classes.new)).sum()),
        "donor_transfer": room.scorer.accuracy_on(room.pair.donor, list(room.classes.new)),
        "donor_strangers": [[c, share] for c, share in strange.items()],
        "class_names": list(room.data.class_names),
        "confusion": {"receiver": alone.confusion, "donor": room.scorer(room.pair.donor).confusion},
    }
    if settings.ceiling:
        depths = readable_ceiling(room.pair, room.pools, room.scorer, room.lens)
        out["ceiling"] = [asdict(d) for d in depths]
    return out


def find_misfit(chosen: MethodPlan, room: Theatre) -> str:
    """Why this method cannot run on this couple; empty when it can."""
    if chosen.method.SAME_SHAPE and not has_same_shape(room.pair.receiver, room.pair.donor):
        return "needs one shape on both sides"
    return ""


def _operate_started(chosen: MethodPlan, room: Theatre, settings: CompareConfig) -> Operation:
    """The operation; a method that needs a common start gets a couple of its own, tuned from one."""
    if not chosen.method.NEEDS_START:
        return run_operation(chosen, room.pair, room.pools, room.scorer, room.seed, lens=room.lens)
    other = room.lens.compute_once(room.pair.receiver, ("start",), lambda: with_common_start(settings, room))
    return run_operation(chosen, other.pair, other.pools, other.scorer, other.seed, lens=other.lens)


def blind_outcome(wanted: MethodPlan, room: Theatre) -> GraftOutcome | None:
    """The same operation with a donor of the same recipe that never saw the new class; None for what uses no donor.

    Noise is not enough of an ablation: a real network's features help to recognize a class that it does not know.
    """
    if room.blind is None or (
        wanted.method.SAME_SHAPE and not has_same_shape(room.pair.receiver, room.blind)
    ):
        return None
    if wanted.method.NEEDS_START:
        return None
    pair = replace(room.pair, donor=room.blind)
    try:
        return run_operation(wanted, pair, room.pools, room.scorer, room.seed, ablate=False).outcome
    except UsageError:
        return None


def _make_row(
    done: Operation, null: GraftOutcome, strange: dict[int, float], blind: GraftOutcome | None
) -> Row:
    """One ledger line as plain numbers, with what the donor that never saw the class gave."""
    assert done.outcome is not None
    line = as_dict(enter_line(done, null, strange))
    line["blind_calibrated_transfer"] = (
        line["noise_calibrated_transfer"] if blind is None else blind.calibrated.transfer
    )
    line["called_new"] = [[c, share] for c, share in done.outcome.called_new.items()]
    line["confusion"] = done.outcome.confusion
    return line


@torch.no_grad()
def collect_geometry(room: Theatre, method: str, n: int = 150) -> dict[str, Tensor]:
    """Penultimate features before and after, in the two main directions of the receiver's own, by class."""
    done = run_operation(plan_method(method), room.pair, room.pools, None, room.seed, lens=room.lens)
    y = room.data.held.y
    involved = [*room.classes.old, *room.classes.donor]
    keep = torch.cat([(y == c).nonzero()[:n, 0] for c in sorted(set(involved))])
    x = room.data.held.x[keep]
    before = collect_acts(room.pair.receiver, x).last
    after = collect_acts(done.model, x).last
    if after.shape[1] != before.shape[1]:
        after = before
    old = torch.isin(y[keep], torch.tensor(room.classes.old))
    center = before[old].mean(0)
    axes = torch.linalg.svd(before[old] - center, full_matrices=False).Vh[:2]
    return {"before": (before - center) @ axes.T, "after": (after - center) @ axes.T, "y": y[keep]}


# The graft ledger: what each method was allowed, what crossed, and whether the result came from the donor.


@dataclass(frozen=True)
class LedgerEntry:
    """One line. Percentages; `gain` is calibrated transfer above the best null, `from_donor` above its own noise."""

    method: str
    budget: str
    transfer: float
    preservation: float
    foreign_as_new: float
    auc: float
    calibrated_transfer: float
    calibrated_preservation: float
    calibrated_foreign_as_new: float
    calibrated_auc: float
    noise_transfer: float
    noise_calibrated_transfer: float
    null_transfer: float
    gain: float
    from_donor: float
    collateral: float  # mean false-call rate on classes neither saw, above the donor's own
    added_parameters: int
    bytes_crossed: int
    images_read: str
    cpu_s: float
    is_void: bool  # it has read test images


class Unlisted(ValueError):
    """An operation without its ablation has no place in the ledger."""


def enter_line(
    operation: Operation, null: GraftOutcome, donor_called_new: dict[int, float] | None = None
) -> LedgerEntry:
    """The line of one operation, beside the best null at the same false-alarm rate."""
    if operation.outcome is None or operation.ablation is None:
        raise Unlisted(f"'{operation.plan.label}' was not scored together with its noise ablation.")
    raw, cal = operation.outcome.raw, operation.outcome.calibrated
    noise = operation.ablation
    strange = (donor_called_new or {}).items()
    extra = [operation.outcome.called_new[c] - share for c, share in strange]
    return LedgerEntry(
        method=operation.plan.label,
        budget=str(operation.plan.budget),
        transfer=raw.transfer,
        preservation=raw.preservation,
        foreign_as_new=raw.foreign_as_new,
        auc=raw.auc,
        calibrated_transfer=cal.transfer,
        calibrated_preservation=cal.preservation,
        calibrated_foreign_as_new=cal.foreign_as_new,
        calibrated_auc=cal.auc,
        noise_transfer=noise.raw.transfer,
        noise_calibrated_transfer=noise.calibrated.transfer,
        null_transfer=null.calibrated.transfer,
        gain=cal.transfer - null.calibrated.transfer,
        from_donor=cal.transfer - noise.calibrated.transfer,
        collateral=sum(extra) / len(extra) if extra else float("nan"),
        added_parameters=operation.added_parameters,
        bytes_crossed=operation.n_bytes,
        images_read=" ".join(f"{k}:{v}" for k, v in sorted(operation.images.items())),
        cpu_s=operation.cpu_s,
        is_void="t" in operation.images,
    )


def as_dict(line: LedgerEntry) -> dict[str, Any]:
    """A line as plain numbers and strings."""
    return asdict(line)


def say_gain(line: LedgerEntry) -> str:
    """The verdict in one sentence, whose first word is the sign of the gain over the best null."""
    compared = f"{line.calibrated_transfer:.1f} % of the new class against {line.null_transfer:.1f} % of the best null"
    if line.is_void:
        return f"Void: the method has read test images, so its gain of {line.gain:+.1f} points says nothing."
    if line.gain < 0:
        return f"Negative: the graft is {-line.gain:.1f} points below what no donor gives ({compared})."
    noise = f"{line.from_donor:+.1f} of them from what the donor knew"
    if line.gain == 0:
        return f"None: the graft gains nothing over what no donor gives ({compared})."
    return f"Gain: {line.gain:.1f} points at equal false alarms ({compared}), {noise}."
