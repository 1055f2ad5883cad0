"""What training destroys is taken back; what it improves is kept."""

import torch

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.guarding import TOLERANCE, train_fit, worst_distance
from digsite.decompose.core.recipes import read_recipe
from digsite.decompose.subjects.compiled import load_program, rotate_program


def fit(name: str = "hist", **settings) -> Fit:
    program = rotate_program(load_program(name), 4)
    base = read_recipe("transformers") | {"compile": "never", "steps": 12} | settings
    batches = program.batches(64)
    sample = lambda g: batches[int(torch.randint(len(batches), (), generator=g))]  # noqa: E731
    return Fit(Problem([program.model], program.sites, sample), DecomposeConfig.model_validate(base), [0])


def test_a_rate_that_destroys_ends_at_the_start():
    made = fit(lr=3.0, clip=0.0)
    before = made.read_member(0)
    train_fit(made)
    after = made.read_member(0)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert worst_distance(made, 0, 0) <= TOLERANCE


def test_a_gentle_rate_is_kept():
    made = fit(lr=3e-4)
    before = made.read_member(0)
    train_fit(made)
    assert any(not torch.equal(before[key], made.read_member(0)[key]) for key in before)
    assert worst_distance(made, 0, 99) <= TOLERANCE


def test_an_answer_of_one_number_stays_near():
    """A thousandth of its variance would be off by three hundredths of its spread, where a hundredth may be wrong."""
    made = fit("frac_prevs", lr=3e-3)
    train_fit(made)
    assert worst_distance(made, 0, 99) <= 2 * TOLERANCE  # other masks are drawn here
