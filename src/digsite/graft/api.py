"""Three calls for a notebook: Pair, graft, inspect."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.data import ImageSet, load
from digsite.graft.core.access import Access, Frame, ImagePools, LabelledImages, Lens
from digsite.graft.core.edits import copy_model
from digsite.graft.core.nets import list_layers
from digsite.graft.core.operate import MethodPlan, Operation, measure_best_null, plan_method, run_operation
from digsite.graft.core.pair import Pair
from digsite.graft.core.task import (
    Classes,
    ImageSplit,
    Scorer,
    calibrate_model,
    check_knowledge,
    make_pools,
    split_images,
)
from digsite.graft.judge.compare import Depth, LedgerEntry, enter_line, readable_ceiling, say_gain


@dataclass(frozen=True)
class Grafted:
    """The grafted model and everything that was measured; ledger and ceiling with data only."""

    model: nn.Module
    ledger: LedgerEntry | None
    operation: Operation
    ceiling: tuple[Depth, ...] = ()

    @property
    def verdict(self) -> str:
        """One sentence whose first word is the sign of the gain; without data nothing is known."""
        return say_gain(self.ledger) if self.ledger else "Unknown: no data, so the graft was not scored."


@public_method(holes=("*",))
def graft(pair: Pair | nn.Module | str, *others: Any, **named: Any) -> Grafted:
    """`graft(pair, method, data)`, or in one line `graft(donor, receiver, method, data, new=..., old=...)`.

    Donor and receiver are modules or references; `data` is an image set, its name, or a `.npz` of one's own. `old` are the
    classes of the receiver, `new` what it should learn, `shared` what both know, `foreign` what the donor alone keeps.
    A score that the data cannot tell, such as of a class without images, is NaN.

    `others` and `named` are taken as in the two calls above; wrong names are refused with the nearest one.
    """
    if isinstance(pair, Pair):
        return graft_pair(pair, *others, **named)
    if not others or not isinstance(others[0], str | nn.Module):
        raise UsageError(
            "A graft needs a donor and a receiver.", hint="graft(donor, receiver, data=..., new=(4,))"
        )
    from digsite.graft.subjects.checkpoints import open_classifier

    donor, receiver = (
        open_classifier(network) if isinstance(network, str) else network for network in (pair, others[0])
    )
    classes: dict[str, Any] = {
        key: named.pop(key) for key in ("old", "shared", "new", "foreign") if key in named
    }
    classes = {key: (value,) if isinstance(value, int) else tuple(value) for key, value in classes.items()}
    return graft_pair(Pair(donor, receiver, **classes), *others[1:], **named)


def graft_pair(
    pair: Pair,
    method: str = "union",
    data: ImageSet | ImageSplit | str | None = None,
    *,
    seed: int = 0,
    calibrate: bool = False,
    frame: Frame | None = None,
    **options: Any,
) -> Grafted:
    """Move the new classes of the donor into the receiver.

    With `data` the result is scored, beside the nulls and with noise in the donor's place, and `ledger` is filled.
    Without it only methods of budget "w" can work, and nothing is known about the result.
    """
    chosen = plan_method(method, **options)
    data = load(data) if isinstance(data, str) else data
    pair = replace(pair, receiver=_copy_own(pair.receiver), donor=_copy_own(pair.donor))
    classes = Classes(pair.old, pair.shared, pair.new, pair.foreign)
    if data is None:
        return Grafted(*_graft_blindly(chosen, pair, calibrate, frame, seed))
    parts = split_images(data, seed) if isinstance(data, ImageSet) else data
    scorer, lens, held = Scorer(parts, classes), Lens(), make_pools(parts, classes)
    check_knowledge(scorer, pair.receiver, pair.donor)
    depths = tuple(readable_ceiling(pair, held, scorer, lens)) if pair.shared else ()
    done = run_operation(chosen, pair, held, scorer, seed, lens=lens)
    best = measure_best_null(pair, held, scorer, seed, lens)
    model = done.model
    if calibrate:
        access = Access(held, chosen.budget.add_letters("a"), lens)
        model = calibrate_model(model, list(pair.new), access)
    return Grafted(model, enter_line(done, best, scorer.count_strangers(pair.donor)), done, depths)


def _copy_own(model: nn.Module) -> nn.Module:
    """A frozen copy: what comes back shares nothing with the caller's networks."""
    return copy_model(model).requires_grad_(False)


def _graft_blindly(
    chosen: MethodPlan, pair: Pair, calibrate: bool, frame: Frame | None, seed: int
) -> tuple[nn.Module, None, Operation]:
    hint = "Give data=load('mnist') or another image set."
    if chosen.budget.letters != {"w"}:
        raise UsageError(f"'{chosen.label}' has the budget '{chosen.budget}' and needs data.", hint=hint)
    if calibrate:
        raise UsageError("Calibration needs data.", hint=hint)
    empty = LabelledImages(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64), "none")
    nothing = ImagePools(empty, empty, empty, empty, empty, empty, frame or _guess_frame(pair.receiver))
    done = run_operation(chosen, pair, nothing, None, seed)
    return done.model, None, done


def _guess_frame(model: nn.Module) -> Frame:
    """A square gray image of the receiver's input size, standardized as MNIST is."""
    first = next(iter(list_layers(model).values()))
    side = round(first.in_features**0.5) if isinstance(first, nn.Linear) else 28
    return Frame((1, side, side), -0.42, 2.82)
