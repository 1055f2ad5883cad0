"""The successor project's published toy recipe: its losses and gate, with twice as many parts as the rank."""

from digsite.decompose.judge.contestants import train_entry
from digsite.decompose.judge.contestants.spd import PARTS
from digsite.decompose.judge.exam.entry import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

WHAT = "the successor's published recipe: smooth L0, frequency, persistent adversary"


def enter(program: CompiledProgram, seed: int, steps: int) -> Entry:
    """Trained for `steps`, or for 500: it was published for 20,000 on toys, more than the exam's budget allows."""
    counts = {site: max(PARTS * program.rank(site), 2) for site in program.sites}
    settings = {
        "C": counts,
        "steps": steps or 500,
        "compile": "never",
        "gate": {"kind": "vector", "hidden": 16},
    }
    return train_entry(program, seed, settings, recipe="successor")
