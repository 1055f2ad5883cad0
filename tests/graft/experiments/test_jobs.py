import pytest

from digsite.graft.config import TaskConfig
from digsite.graft.experiments.jobs import Ahead, list_couples, work_ahead


def test_every_pair_of_every_seed():
    config = TaskConfig.model_validate(
        {"pairs": [("simple", "simple"), ("deep", "wide")], "seed": 3, "seeds": 2}
    )
    assert list_couples(config) == [
        (("simple", "simple"), 3),
        (("simple", "simple"), 4),
        (("deep", "wide"), 3),
        (("deep", "wide"), 4),
    ]
    assert list_couples(config, 1) == [(("simple", "simple"), 3), (("deep", "wide"), 3)]


class Stored:
    """What `worked` needs of a run: things stored by name, and a record of the progress."""

    def __init__(self, **stored: int) -> None:
        self.stored, self.told = dict(stored), []

    def once(self, name, compute, *, announce):
        assert not announce
        if name not in self.stored:
            self.stored[name] = compute()
        return self.stored[name]

    def stage(self, name, total):
        self.told.append((name, total))

    def let_signals_in(self, done=None):
        if done is not None:
            self.told.append(done)


def test_what_is_stored_is_not_worked_again():
    config = TaskConfig.model_validate(
        {"pairs": [("simple", "simple"), ("deep", "wide")], "seeds": 2, "workers": 1}
    )
    run, asked = Stored(), []
    run.stored["simple-1-couples"] = 7

    def work(_config, names, seed, more):
        asked.append((names, seed, more))
        return seed + 10

    found = list(work_ahead(run, config, work, list_couples(config), more=lambda name: (f"for {name}",)))  # pyright: ignore[reportArgumentType]
    assert found == [
        ("simple", 0, 10),
        ("simple", 1, 7),
        ("deep_from_wide", 0, 10),
        ("deep_from_wide", 1, 11),
    ]
    assert asked == [
        (("simple", "simple"), 0, "for simple"),
        (("deep", "wide"), 0, "for deep_from_wide"),
        (("deep", "wide"), 1, "for deep_from_wide"),
    ]
    assert run.told == [("couples", 4), 1, 2, 3, 4]


def test_jobs_give_the_same_in_one_process_and_in_two():
    calls = [(i,) for i in range(4)]
    with Ahead(abs, calls, 1) as one, Ahead(abs, calls, 2) as two:
        assert [one.result(i) for i in range(4)] == [two.result(i) for i in range(4)] == [0, 1, 2, 3]


def test_a_resumed_run_starts_nothing_it_does_not_need():
    with Ahead(abs, [(i,) for i in range(4)], 2) as ahead:
        assert ahead.result(3) == 3 and not ahead._futures


def test_a_signal_ends_waiting_and_the_processes():
    import time

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Ahead(time.sleep, [(30,), (30,)], 2, stop) as ahead:
        ahead.result(0)
    children = list(((ahead._pool and getattr(ahead._pool, "_processes", None)) or {}).values())
    assert all(not child.is_alive() for child in children)
