"""The rule itself, on functions made for it; tests/attack/test_contract.py holds it against every public method."""

import errno

import numpy as np
import pytest

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import NotFound, UsageError


@public_method(holes=("spread",), table=Numbers(2, rows=2), labels=Numbers(1, whole=True, optional=True))
def describe_table(table, labels=None, how="mean"):
    """Mean by name; `spread` is NaN for one row."""
    if how == "missing":
        raise NotFound("There is no such thing.")
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if how == "own":
        raise Stop
    return {
        "mean": table.mean() if how == "mean" else float("nan"),
        "spread": float("nan"),
        "sum": {"mean": table[how]}["mean"] if how not in ("mean", "nan") else 0.0,
    }


class Stop(RuntimeError):
    """A caller's own way to leave."""


GOOD = np.ones((3, 2))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "'table' is missing"),
        ([[1]], "must be a tensor or an array, not a list"),
        (np.ones(3), "must have 2 axes, not 1"),
        (np.ones((1, 2)), "has 1 rows, but at least 2"),
        (np.ones((0, 2)), "is empty"),
        (GOOD * np.nan, "NaN or infinite"),
        (GOOD * np.inf, "NaN or infinite"),
        (GOOD.astype(str), "instead of real numbers"),
    ],
)
def test_what_is_declared_is_checked(table, said):
    with pytest.raises(UsageError, match=said):
        describe_table(table)


def test_what_is_not_declared_is_still_a_sentence_with_its_cause():
    with pytest.raises(
        UsageError, match=r"describe_table cannot work with table = ndarray of shape \[3, 2\].*how = 9"
    ) as refused:
        describe_table(GOOD, how=9)
    assert isinstance(refused.value.__cause__, IndexError)
    with pytest.raises(UsageError, match="missing a required argument"):
        describe_table()
    with pytest.raises(UsageError, match="describe_table takes no 'hwo'. Did you mean 'how'"):
        describe_table(GOOD, hwo=9)


def test_a_hole_has_a_name_and_any_other_nan_is_refused():
    assert np.isnan(describe_table(GOOD)["spread"])
    with pytest.raises(UsageError, match="no finite answer"):
        describe_table(GOOD, how="nan")
    with pytest.raises(AssertionError, match="does not say what NaN means"):
        public_method(holes=("x",))(lambda: 1)


@pytest.mark.parametrize(("how", "kind"), [("missing", NotFound), ("full", OSError), ("own", Stop)])
def test_what_was_raised_on_purpose_passes(how, kind):
    with pytest.raises(kind) as raised:
        describe_table(GOOD, how=how)
    assert type(raised.value) is kind
