"""The account: work that does not fit is skipped, and other work between steps is not training."""

import time

from digsite.track.core.budget import Budget


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_no_limit_affords_all_and_a_small_share_does_not() -> None:
    assert Budget(None).affordable("forward", "anything")
    tight = Budget(0.01)
    tight.arrive()
    with tight.booked("forward", "work"):
        burn(0.01)
    tight.leave()
    tight.arrive()
    assert not tight.affordable("forward", "work")
    assert tight.skipped["work"] == 1
    assert tight.affordable("decompositions", "never tried")


def test_as_many_units_as_fit_and_one_of_unknown_cost() -> None:
    budget = Budget(0.5)
    assert budget.affordable("decompositions", "spectra", 8) == 1
    assert Budget(None).affordable("decompositions", "spectra", 8) == 8
    with budget.booked("decompositions", "spectra", 4):
        burn(0.02)
    assert budget.costs["spectra"] < 0.01
    budget.training_s = 0.1  # 0.4 of the half of it: 20 ms, of which each unit takes 5
    assert 2 <= budget.affordable("decompositions", "spectra", 8) <= 4


def test_set_up_is_counted_apart_and_resume_forgets_other_work() -> None:
    budget = Budget(0.5)
    budget.arrive()
    with budget.booked("forward", "first"):
        burn(0.01)
    budget.leave()
    assert budget.setup_s > 0 and budget.overhead == 0
    burn(0.05)
    budget.resume()
    budget.arrive()
    assert budget.training_s < 0.02


def test_slower_steps_after_work_are_booked_as_tracking() -> None:
    """Work leaves cold caches: two steps of 8 ms among eight of 4 ms cost 8 ms."""
    budget = Budget(0.5)
    budget.arrive()
    budget.leave()
    for _ in range(10):
        step(budget, 0.002)
    budget.arrive()
    plain = budget.training_s
    with budget.booked("forward", "work"):
        burn(0.001)
    budget.leave()
    before = budget.spent["forward"]
    for seconds in (*[0.008] * 2, *[0.004] * 7):
        step(budget, seconds)
    burn(0.004)
    budget.arrive()
    assert 0.007 < budget.spent["forward"] - before < 0.009
    assert 0.038 < budget.training_s - plain < 0.042


def step(budget: Budget, seconds: float) -> None:
    burn(seconds)
    budget.pass_by()
