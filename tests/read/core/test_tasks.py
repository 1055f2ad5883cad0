import pytest

from digsite.base.errors import UsageError
from digsite.read.core.tasks import TASKS, find_task


def test_typo_is_answered():
    with pytest.raises(UsageError, match="test_accuracy"):
        find_task("test_acuracy")


def test_every_task_says_what_it_is():
    assert all(t.purpose and t.n_outputs == (1 if t.kind == "regression" else 0) for t in TASKS.values())
    assert {t.metric for t in TASKS.values()} <= {"r2", "accuracy", "auroc"}
