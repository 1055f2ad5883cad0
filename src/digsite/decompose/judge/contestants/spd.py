"""The original recipe (stochastic parameter decomposition, 2025), with twice as many parts as the rank."""

from digsite.decompose.judge.contestants import train_entry
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "the original recipe: random start, learned faithfulness"
PARTS = 2  # per unit of rank


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Trained for `steps`, or for 500."""
    counts = {site: max(PARTS * program.rank(site), 2) for site in program.sites}
    return train_entry(program, seed, {"C": counts, "steps": steps or 500, "compile": "never"}, recipe="spd")
