"""The shipped default on compiled programs with a hidden basis: what issue and docs promise of it, program by program.

Slow: minutes of CPU. Settings were chosen on hist, neighbours, balance_ab, detect_pattern and random_15 at rotation 0.
"""

import logging

import pytest

from digsite.decompose.judge.contestants import enter_contestant
from digsite.decompose.judge.exam.marks import share_right
from digsite.decompose.judge.exam.parts import score_parts
from digsite.decompose.subjects.compiled import NAMED, known_programs, load_program, rotate_program

HERE = [name for name in NAMED if name in known_programs()]


@pytest.mark.slow
@pytest.mark.parametrize("rotation", [1, 2, 3], ids=lambda k: f"rotation{k}")
@pytest.mark.parametrize("name", HERE)
def test_the_default_is_right_silent_and_pure(name, rotation):
    program = rotate_program(load_program(name), rotation)
    entry = enter_contestant("shipped", program, seed=rotation, steps=0)
    rival = enter_contestant("singular", program, seed=rotation, steps=0)
    right, parts = share_right(entry), score_parts(entry, entry.find_alive())
    bar = score_parts(rival, rival.find_alive()).purity
    shares = " ".join(f"{key} {value:.4f}" for key, value in right.items())
    logging.getLogger("digsite").info(
        f"{name} {rotation} {shares} alive {parts.alive} rank {parts.rank} dead {parts.dead_alive}/{parts.dead_sites} "
        f"purity {parts.purity:.3f} singular {bar:.3f} coverage {parts.coverage:.2f} error {parts.error:.1e}"
    )
    assert right["unmasked"] >= 0.99 and right["rounded"] >= 0.99
    assert parts.dead_alive == 0
    assert parts.purity >= bar - 0.005
