"""Prune one matrix: scores, pattern, optional swaps, and the relative error of the layer's output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core import patterns
from digsite.prune.core.inputs import InputStatistics, collect_inputs
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import FAMILY as REPAIRS
from digsite.prune.core.repair import RepairSettings, repairs_at
from digsite.prune.core.repair.maps import refine_mask
from digsite.prune.core.scores import FAMILY, Decision, Given, mask_weight


@dataclass(frozen=True)
class PrunedMatrix:
    """`relative_error` is |X W^T - X W'^T|^2 / |X W^T|^2 on the calibration inputs; None without inputs. `moved`: whether
    weights that stay may have changed.
    """

    keep: Bool[Tensor, "out in"]
    weight: Float[Tensor, "out in"]
    relative_error: float | None
    note: str = ""
    moved: bool = True

    @property
    def sparsity(self) -> float:
        """Share of weights that went, counted and not asked for."""
        return 1.0 - int(self.keep.count_nonzero()) / self.keep.numel()


def method_named(name: str) -> str:
    """The family member's name; dashes are as good as underscores."""
    known = families.list_members(FAMILY)
    member = name.replace("-", "_")
    if member not in known:
        raise UsageError(f"There is no pruning method '{name}'. {name_nearest(member, known)}")
    return member


def settings_of(method: str) -> list[str]:
    """The names of a method's own numbers."""
    return [setting.name for setting in fields(families.scan_member(FAMILY, method_named(method)).Settings)]


def need_of(method: str) -> str:
    """What a method must know of its inputs: nothing (''), their 'norms', or the whole 'gram' matrix."""
    return families.scan_member(FAMILY, method_named(method)).NEEDS


@public_method(weight=Numbers(2), inputs=Numbers((2, 3, 4), optional=True, arrays_only=False))
def prune_matrix(
    weight: Float[Tensor, "out in"],
    inputs: Float[Tensor, "... tokens width"] | InputStatistics | None = None,
    method: str = "wanda",
    sparsity: float | None = None,
    pattern: str | SparsityPattern | None = None,
    *,
    swap: int = 0,
    settings: Given | None = None,
    repair: Sequence[str] = (),
    repair_settings: RepairSettings | None = None,
    name: str = "the matrix",
    measure: bool = True,
) -> PrunedMatrix:
    """Prune `weight` (out, in) by `sparsity`, or in an n:m `pattern`; `swap` is the most exchanges per row after it.

    `repair` names what is done to the kept weights afterwards (`least_squares`, `swaps`); repairs of blocks and of whole
    models are for `prune_model` and are passed over here.
    `measure=False` leaves out the relative error, which for a quick method costs more than the pruning.

    `inputs` are (tokens, in), with axes in front, or statistics of them; `settings` are the score's own numbers by name, such as {"damping": 0.1}; `name`
    is for messages.

    `repair_settings` are the numbers of the repairs.
    """
    chosen = pattern if isinstance(pattern, SparsityPattern) else patterns.parse_pattern(sparsity, pattern)
    score = families.scan_member(FAMILY, method_named(method))(settings)
    statistics = _check_statistics(weight, inputs, name, score.NEEDS, method, swap)
    chosen.fits(weight.shape[1], name)
    with torch.no_grad():
        decision = score.prune_weight(weight.detach(), statistics, chosen)
        if swap:
            assert statistics is not None
            decision = _swap_decision(weight.detach(), decision, statistics, chosen, swap)
        decision = _settle_decision(weight.detach(), decision, statistics, chosen)
        decision = _repair_decision(
            weight.detach(), decision, statistics, chosen, repair, repair_settings, name
        )
    error = output_error(weight.detach(), decision.weight, statistics) if measure else None
    return PrunedMatrix(decision.keep, decision.weight, error, decision.note, decision.moved)


def apply_mask(
    weight: Float[Tensor, "out in"],
    keep: Bool[Tensor, "out in"],
    inputs: InputStatistics | None = None,
    *,
    pattern: SparsityPattern | None = None,
    repair: Sequence[str] = (),
    repair_settings: RepairSettings | None = None,
) -> PrunedMatrix:
    """A mask that was made before; weights that stay are left as they are, but for the named repairs."""
    decision = mask_weight(weight, ~keep)
    kind = pattern or SparsityPattern(1.0 - float(keep.float().mean()))
    decision = _repair_decision(weight, decision, inputs, kind, repair, repair_settings, "the matrix")
    error = output_error(weight, decision.weight, inputs)
    return PrunedMatrix(decision.keep, decision.weight, error, decision.note, decision.moved)


def output_error(before: Tensor, after: Tensor, inputs: InputStatistics | None) -> float | None:
    """Relative error of the layer's output: exact where X^T X is known, else on the sampled inputs; None without."""
    if inputs is not None and inputs.hessian is not None:
        return relative_error(before, after, inputs.gram)
    if inputs is None or inputs.sample is None:
        return None
    rows = inputs.sample.t()
    size, lost = (
        float((w.to(rows.dtype) @ rows).float().square_().sum(dtype=torch.float64))
        for w in (before, before - after)
    )
    return lost / size if size > 0 else 0.0


def relative_error(before: Tensor, after: Tensor, gram: Float[Tensor, "in in"]) -> float:
    """Squared error of the layer's output over its squared size, from X^T X."""
    pair = (before.float(), (before - after).float())
    size, lost = (float(((w @ gram) * w).sum(dtype=torch.float64)) for w in pair)
    if not (math.isfinite(size) and math.isfinite(lost)):
        size, lost = _scaled_energies(pair, gram)
    return lost / size if size > 0 else 0.0


def _scaled_energies(pair: tuple[Tensor, Tensor], gram: Tensor) -> tuple[float, float]:
    """The same two energies where float32 overflows: the error is a ratio, so both sides may be scaled down."""
    if not gram.isfinite().all():
        message = (
            "The inputs are too large for their squares to be added up, so the error of the layer is unknown."
        )
        raise UsageError(message, hint="Scale the calibration inputs down.")
    weight, wide = pair[0].abs().max().double(), gram.abs().max().double()
    scaled = [w.double() / weight for w in pair]
    size, lost = (float(((w @ (gram.double() / wide)) * w).sum()) for w in scaled)
    return size, lost


def _check_statistics(
    weight: Tensor, inputs: Tensor | InputStatistics | None, name: str, need: str, method: str, swap: int
) -> InputStatistics | None:
    """Statistics in the form that all methods read, or one sentence on what is missing or does not fit."""
    if weight.ndim != 2:
        raise UsageError(f"A weight is a matrix (out, in); {name} has shape {tuple(weight.shape)}.")
    # The sum of finite numbers is finite, but for an overflow; to look at each costs some times as much.
    if not weight.sum().isfinite() and not weight.isfinite().all():
        raise UsageError(f"The weight of {name} holds NaN or infinity; nothing was pruned.")
    if inputs is None:
        if need or swap:
            raise UsageError(
                f"The method '{method}'{' with swaps' if swap else ''} looks at inputs, and none were given for {name}.",
                hint="Give inputs (tokens, in), or use method='magnitude' without swaps.",
            )
        return None
    statistics = (
        inputs.checked(name) if isinstance(inputs, InputStatistics) else collect_inputs(inputs, name=name)
    )
    if statistics.n_inputs != weight.shape[1]:
        raise UsageError(
            f"{name} has {weight.shape[1]} inputs, but the given inputs have {statistics.n_inputs}."
        )
    return statistics


def _settle_decision(
    weight: Tensor, decision: Decision, inputs: InputStatistics | None, pattern: SparsityPattern
) -> Decision:
    """The mask with the very count that an allocation gave this map; a weight that comes back has its dense value."""
    if pattern.count is None or pattern.count == int((~decision.keep).sum()):
        return decision
    scores = weight.abs() if inputs is None else weight.abs() * inputs.norms
    keep = ~patterns.settle_count(scores, ~decision.keep, pattern.count)
    back = keep & ~decision.keep
    settled = torch.where(back, weight, decision.weight).masked_fill(~keep, 0)
    return Decision(keep, settled, decision.note, decision.moved)


def _repair_decision(
    weight: Tensor,
    decision: Decision,
    inputs: InputStatistics | None,
    pattern: SparsityPattern,
    repair: Sequence[str],
    settings: RepairSettings | None,
    name: str,
) -> Decision:
    """The repairs of single maps, in the order in which they are named."""
    for member in repairs_at("map", repair):
        if inputs is None or inputs.hessian is None:
            raise UsageError(
                f"The repair '{member}' fits on inputs, and none were given for {name}.",
                hint="Give inputs (tokens, in), or --calibration.",
            )
        repairer = families.scan_member(REPAIRS, member)()
        decision = repairer.repair_map(weight, decision, inputs, pattern, settings or RepairSettings())
    return decision


def _swap_decision(
    weight: Tensor, decision: Decision, inputs: InputStatistics, pattern: SparsityPattern, most: int
) -> Decision:
    """Swaps start from the mask alone: the method's own weight update, if it had one, is for another mask."""
    keep, made = refine_mask(weight, decision.keep, inputs.gram, pattern, most)
    note = "; ".join(filter(None, [decision.note, f"{made} swaps"]))
    return mask_weight(weight, ~keep, note)
