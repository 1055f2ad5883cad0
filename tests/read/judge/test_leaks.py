import numpy as np

from digsite.read.core.table import Table
from digsite.read.core.tasks import Task
from digsite.read.judge.leaks import find_leaks


def test_planted_leaks_are_found_and_honest_columns_are_not():
    rng = np.random.default_rng(0)
    y, kind = rng.normal(size=100), rng.integers(0, 2, 100).astype(float)
    tasks = [Task("number", "regression"), Task("kind", "classification", classes=("a", "b"))]
    honest = Table(
        ("noisy", "other"), np.column_stack([y + 0.3 * rng.normal(size=100), rng.normal(size=100)])
    )
    assert find_leaks(honest, {"number": y, "kind": kind}, tasks) == []
    leaky = Table(("cubed", "coded"), np.column_stack([-(y**3), 5 - kind]))
    assert {(k.task, k.column) for k in find_leaks(leaky, {"number": y, "kind": kind}, tasks)} == {
        ("number", "cubed"),
        ("kind", "coded"),
    }
