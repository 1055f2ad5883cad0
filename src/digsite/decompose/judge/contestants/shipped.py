"""What decompose(model) does without settings."""

from digsite.decompose.judge.contestants import train_entry
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "the shipped recipe for transformers, without settings"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Trained for `steps`, or for the recipe's own."""
    return train_entry(program, seed, {"steps": steps} if steps else {})
