"""Faults planted into a clean series of prints, one kind at a time, and whether the audit names them and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from digsite.track.judge.series_audit import audit_series
from digsite.track.subjects.checkpoint_prints import CheckpointPrint

Prints = list[CheckpointPrint]
Plant = Callable[[Prints, Prints, np.random.Generator], tuple[Prints, set[int]]]


@dataclass(frozen=True)
class PlantedScore:
    """Over several plantings of one kind: how often all planted steps were named, and how many others were."""

    kind: str
    found: int
    planted: int
    others: int


def exchange_neighbors(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """Two checkpoints side by side carry each other's names."""
    i = int(rng.integers(1, len(prints) - 2))
    return _exchange_prints(prints, i, i + 1)


def exchange_distant(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """Two checkpoints anywhere carry each other's names."""
    i, j = sorted(rng.choice(np.arange(1, len(prints) - 1), 2, replace=False).tolist())
    return _exchange_prints(prints, i, j)


def copy_anywhere(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """One checkpoint holds the weights of another."""
    i, j = rng.choice(np.arange(1, len(prints) - 1), 2, replace=False).tolist()
    return _hold_contents(prints, {i: prints[j]})


def copy_last(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """Three checkpoints hold the final weights."""
    chosen = rng.choice(np.arange(1, len(prints) - 2), 3, replace=False).tolist()
    return _hold_contents(prints, dict.fromkeys(chosen, prints[-1]))


def copy_last_to_most(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """The pattern of EleutherAI/pythia#205: 86 of 154 branches, step 0 included, hold the final weights."""
    count = round(len(prints) * 86 / 154) - 1
    chosen = [0, *rng.choice(np.arange(1, len(prints) - 2), count - 1, replace=False).tolist()]
    return _hold_contents(prints, dict.fromkeys(chosen, prints[-1]))


def exchange_pair(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """The pattern of EleutherAI/pythia#206: two branches of one suite, a little apart, hold one content of the later one."""
    i = int(rng.integers(len(prints) // 3, len(prints) - 8))
    return _hold_contents(prints, {i: prints[i + 5]})


def copy_rounded(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """One checkpoint holds a half-precision copy of another, so that no hash agrees."""
    i, j = rng.choice(np.arange(1, len(prints) - 1), 2, replace=False).tolist()
    if abs(i - j) == 1:
        i, j = (1, len(prints) - 2)
    cast = {name: v.astype(np.float16).astype(np.float32) for name, v in prints[j].values.items()}
    return _hold_contents(prints, {i: replace(prints[j], values=cast)})


def copy_partly(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """The first half of the tensors (a shard) comes from a later checkpoint."""
    i = int(rng.integers(1, len(prints) - 8))
    names = list(prints[i].values)[: max(len(prints[i].values) // 2, 1)]
    mixed = prints[i].values | {name: prints[i + 6].values[name] for name in names}
    return _hold_contents(prints, {i: replace(prints[i], values=mixed)})


def insert_stranger(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """One checkpoint is the same step of a run with another seed."""
    i = int(rng.integers(1, len(prints) - 1))
    return _hold_contents(prints, {i: stranger[i]})


def start_stranger(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """Step 0 holds a trained network of another run."""
    return _hold_contents(prints, {0: stranger[-1]})


def insert_run(prints: Prints, stranger: Prints, rng: np.random.Generator) -> tuple[Prints, set[int]]:
    """Two runs in one folder: a third of the steps are another seed's."""
    start = int(rng.integers(1, len(prints) - len(prints) // 3))
    return _hold_contents(prints, {i: stranger[i] for i in range(start, start + len(prints) // 3)})


PLANTS: dict[str, Plant] = {
    "neighbors exchanged": exchange_neighbors,
    "distant exchanged": exchange_distant,
    "one copied": copy_anywhere,
    "three copies of the last": copy_last,
    "pythia#205": copy_last_to_most,
    "pythia#206": exchange_pair,
    "rounded copy": copy_rounded,
    "half a copy": copy_partly,
    "stranger": insert_stranger,
    "strange start": start_stranger,
    "two runs": insert_run,
}


def score_plants(
    prints: Sequence[CheckpointPrint],
    stranger: Sequence[CheckpointPrint],
    kind: str,
    draws: int,
    rng: np.random.Generator,
) -> PlantedScore:
    """Plants one kind of fault `draws` times and audits each.

    prints, stranger: of the series and of another run of the same architecture. A planting counts as found when every
    planted step is left out; other steps that are left out with it are counted apart.
    """
    hits = others = 0
    for _ in range(draws):
        faulty, planted = PLANTS[kind](list(prints), list(stranger), rng)
        left_out = set(audit_series(faulty).left_out)
        hits += planted <= left_out
        others += len(left_out - planted)
    return PlantedScore(kind, hits, draws, others)


def _exchange_prints(prints: Prints, i: int, j: int) -> tuple[Prints, set[int]]:
    """Two checkpoints under each other's names."""
    return _hold_contents(prints, {i: prints[j], j: prints[i]})


def _hold_contents(prints: Prints, contents: dict[int, CheckpointPrint]) -> tuple[Prints, set[int]]:
    """The series with other contents under some of its names."""
    named = [replace(contents.get(i, own), step=own.step, name=own.name) for i, own in enumerate(prints)]
    return named, {prints[i].step for i in contents}
