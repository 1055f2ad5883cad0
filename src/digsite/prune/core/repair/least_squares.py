"""Every map for itself: the kept weights that reproduce the dense map's output on the inputs it now gets."""

from jaxtyping import Float
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.least_squares import solve_on_support
from digsite.prune.core.patterns import Pattern
from digsite.prune.core.repair import RepairSettings
from digsite.prune.core.scores import Decision

LEVEL = "map"


def repair_map(
    dense: Float[Tensor, "out in"],
    pruned: Decision,
    inputs: InputStatistics,
    pattern: Pattern,
    settings: RepairSettings,
) -> Decision:
    """The optimum that SparseGPT's one sweep only approaches: its mask fixed, all kept weights free at once."""
    gram = inputs.gram
    weight = solve_on_support(
        gram,
        dense.float() @ gram,
        pruned.keep,
        pruned.weight.float(),
        ridge=settings.ridge,
        steps=settings.solver_steps,
    ).to(dense.dtype)
    note = pruned.note
    if inputs.n_tokens < inputs.n_inputs:  # the ridge then decides what the tokens leave open
        note = "; ".join(filter(None, [note, f"under-determined: {inputs.n_tokens} tokens, ridge"]))
    return Decision(pruned.keep, weight, note)
