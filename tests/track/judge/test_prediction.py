"""Leave-one-out is scikit-learn's; a planted dependence is found; without one R2 is not above its null."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut

from digsite.track.judge.prediction import RIDGE, code_settings, leave_one_out, predict_jumps, widest_layer


def make_cells(jumps):
    rng = np.random.default_rng(3)
    n = len(jumps)
    return pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(n)],
            "depth": rng.integers(2, 15, n).astype(float),
            "log2_width": rng.integers(5, 9, n).astype(float),
            "family": rng.choice(["mlp", "cnn"], n),
            "dataset": rng.choice(["digits", "mnist", "stories"], n),
            "jumps": jumps,
        }
    )


def test_the_closed_form_leaves_one_out_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(14, 4)), rng.normal(size=14)
    theirs = np.empty(14)
    for rest, one in LeaveOneOut().split(x):
        theirs[one] = Ridge(alpha=RIDGE).fit(x[rest], y[rest]).predict(x[one])
    assert leave_one_out(x, y) == pytest.approx(theirs)
    nothing = leave_one_out(np.zeros((14, 0)), y)
    assert nothing == pytest.approx([(y.sum() - own) / 13 for own in y])


def test_a_planted_dependence_is_found():
    cells = make_cells(np.zeros(40))
    cells["jumps"] = 0.2 * cells.depth + np.random.default_rng(1).normal(0, 0.2, 40)
    found = predict_jumps(cells, np.random.default_rng(0))
    assert found is not None and found.r2 > 0.7 and found.low > found.null and found.p == 0.001


def test_without_one_nothing_is_claimed():
    hits = 0
    for seed in range(20):
        found = predict_jumps(
            make_cells(np.random.default_rng(seed).normal(size=20)), np.random.default_rng(seed)
        )
        assert found is not None and found.null < 0, "left-out cells are predicted worse than by their mean"
        hits += found.p <= 0.05
    assert hits <= 4


def test_too_little_is_not_asked():
    assert predict_jumps(make_cells(np.arange(7.0)), np.random.default_rng(0)) is None
    assert predict_jumps(make_cells(np.ones(20)), np.random.default_rng(0)) is None
    assert code_settings(make_cells(np.ones(20)).assign(family="mlp")).std(axis=0) == pytest.approx(1.0)
    assert (widest_layer("mlp_wide"), widest_layer("cnn_deep"), widest_layer("transformer_narrow")) == (
        256,
        256,
        64,
    )
