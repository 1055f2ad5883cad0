"""The account: work that does not fit is skipped, and other work between steps is not training."""

import time

from digsite.track.core.budget import Budget


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_no_limit_affords_all_and_a_small_share_does_not() -> None:
    assert Budget(None).can_afford("forward", "anything")
    tight = Budget(0.01)
    tight.enter_tracker()
    with tight.booked_time("forward", "work"):
        burn(0.01)
    tight.leave()
    tight.enter_tracker()
    assert not tight.can_afford("forward", "work")
    assert tight.skipped["work"] == 1
    assert tight.can_afford("decompositions", "never tried")


def test_as_many_units_as_fit_and_one_of_unknown_cost() -> None:
    budget = Budget(0.5)
    assert budget.can_afford("decompositions", "spectra", 8) == 1
    assert Budget(None).can_afford("decompositions", "spectra", 8) == 8
    with budget.booked_time("decompositions", "spectra", 4):
        burn(0.02)
    assert budget.costs["spectra"] < 0.01
    budget.training_s = 0.1  # 0.4 of the half of it: 20 ms, of which each unit takes 5
    assert 2 <= budget.can_afford("decompositions", "spectra", 8) <= 4


def test_set_up_is_counted_apart_and_resume_forgets_other_work() -> None:
    budget = Budget(0.5)
    budget.enter_tracker()
    with budget.booked_time("forward", "first"):
        burn(0.01)
    budget.leave()
    assert budget.setup_s > 0 and budget.overhead == 0
    burn(0.05)
    budget.resume_training()
    budget.enter_tracker()
    assert budget.training_s < 0.02


def test_slower_steps_after_work_are_booked_as_tracking() -> None:
    """Work leaves cold caches: two steps of 8 ms among eight of 4 ms cost 8 ms."""
    budget = Budget(0.5)
    budget.enter_tracker()
    budget.leave()
    for _ in range(10):
        step(budget, 0.002)
    budget.enter_tracker()
    plain = budget.training_s
    with budget.booked_time("forward", "work"):
        burn(0.001)
    budget.leave()
    before = budget.spent["forward"]
    for seconds in (*[0.008] * 2, *[0.004] * 7):
        step(budget, seconds)
    burn(0.004)
    budget.enter_tracker()
    assert 0.007 < budget.spent["forward"] - before < 0.009
    assert 0.038 < budget.training_s - plain < 0.042


def step(budget: Budget, seconds: float) -> None:
    burn(seconds)
    budget.pass_by()
