import numpy as np
import pandas as pd
import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.read import features
from digsite.read.core.population import stack_models
from digsite.read.judge.describe import describe_layers, estimate_tail


def test_features_are_a_named_row():
    row = features(read_networks.make("relu mlp"))
    weight = read_networks.make("relu mlp").layers[0].weight.detach()
    assert isinstance(row, pd.Series) and row.ndim == 1
    assert row["layer0/weight_mean"] == pytest.approx(float(weight.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "words"), [("spectrum", "spectra"), ("nwpa", "learns from a zoo"), ("pca", "learns")]
)
def test_refusals(kind, words):
    with pytest.raises(UsageError, match=words):
        features(read_networks.make("relu mlp"), kind)


def test_short_spectra_get_no_exponent():
    table = describe_layers(stack_models([read_networks.make("relu mlp")]))
    assert set(table["tail_exponent"]) == {"too few values (12)", "too few values (8)", "too few values (4)"}


def test_ranks_of_a_known_matrix():
    table = describe_layers(stack_models([{"a.weight": torch.eye(8), "b.weight": torch.ones(3, 8)}]))
    assert table["stable_rank"].tolist() == pytest.approx([8, 1], abs=1e-5)
    assert table["effective_rank"].tolist() == pytest.approx([8, 1], abs=1e-4)


def test_pareto_exponent_is_recovered():
    rng = np.random.default_rng(0)
    s = np.sqrt(rng.pareto(2.0, 4000) + 1)  # eigenvalue density falls with exponent 3
    value, error = (float(x) for x in estimate_tail(s).split(" ± "))
    assert abs(value - 3) < 4 * error + 0.1


def test_zeros_of_a_matrix_of_low_rank_are_no_tail():
    """A compiled program's matrices end in exact zeros: the estimate once divided by the last one."""
    values = np.r_[np.linspace(1, 3, 20), np.zeros(80)]
    assert estimate_tail(values) == "too few values (20)"
    assert estimate_tail(np.zeros(60)) == "too few values (0)"
