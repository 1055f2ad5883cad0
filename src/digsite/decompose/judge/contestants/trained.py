"""Contestants that train: our shipped recipe, the original one, and its successor's."""

from __future__ import annotations

from digsite.decompose.judge.contestants import Contestant, train_entry
from digsite.decompose.judge.exam import Entry
from digsite.decompose.subjects.compiled import CompiledProgram

PARTS = 2  # per unit of rank, for recipes that are told how many parts to make


class Shipped(Contestant):
    """What decompose(model) does without settings."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """Nothing is set that a user would not have by default."""
        return train_entry(program, seed, {"steps": steps} if steps else {})


class Spd(Contestant):
    """The original recipe (stochastic parameter decomposition, 2025), with twice as many parts as the rank, for 500 steps."""

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """Told the true rank times two, which a user would not know."""
        settings = {"C": count_parts(program), "steps": steps or 500, "compile": "never"}
        return train_entry(program, seed, settings, recipe="spd")


class Successor(Contestant):
    """The successor project's published toy recipe: its losses and gate, with twice as many parts as the rank.

    For 500 steps: it was published for 20,000 on toys, more than the exam's budget allows.
    """

    @staticmethod
    def enter_exam(program: CompiledProgram, seed: int, steps: int) -> Entry:
        """As above, with the gate and losses of the successor."""
        gate = {"kind": "vector", "hidden": 16}
        settings = {"C": count_parts(program), "steps": steps or 500, "compile": "never", "gate": gate}
        return train_entry(program, seed, settings, recipe="successor")


def count_parts(program: CompiledProgram) -> dict[str, int]:
    """Parts by site: the true rank times PARTS, and two where the program does nothing."""
    return {site: max(PARTS * program.rank(site), 2) for site in program.sites}
