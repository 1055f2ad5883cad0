import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.data.sparse_features import EXACTLY, SparseFeatures, batch, label_coefficients, resid_targets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from(sorted(EXACTLY)), st.integers(5, 12))
def test_exactly_so_many(word, n):
    x = batch(SparseFeatures(n_features=n, active=f"exactly_{word}_active", low=0.1), 50, generator())
    assert ((x != 0).sum(-1) == EXACTLY[word]).all()


def test_probability_range_and_shape():
    x = batch(SparseFeatures(n_features=20, probability=0.1, low=-1), 2000, generator(), lead=(3,))
    assert x.shape == (3, 2000, 20)
    on = x[x != 0]
    assert len(on) / x.numel() == pytest.approx(0.1, abs=0.005)
    assert on.min() < -0.99 and on.max() > 0.99 and abs(float(on.mean())) < 0.02


def test_every_feature_is_as_likely():
    x = batch(SparseFeatures(n_features=6, active="exactly_two_active"), 6000, generator())
    assert (x != 0).float().mean(0).tolist() == pytest.approx([1 / 3] * 6, abs=0.03)


def test_synced_groups_are_on_together():
    config = SparseFeatures(n_features=6, probability=0.3, low=0.5, synced=[[0, 1], [2, 3, 4]])
    on = batch(config, 500, generator()) != 0
    assert torch.equal(on[:, 0], on[:, 1]) and torch.equal(on[:, 2], on[:, 4])
    assert not torch.equal(on[:, 0], on[:, 2]) and 0.2 < on[:, 3].float().mean() < 0.4


def test_the_generator_decides():
    config = SparseFeatures()
    assert torch.equal(batch(config, 9, generator(1)), batch(config, 9, generator(1)))


def test_targets_of_the_residual_mlp():
    x = torch.tensor([[-1.0, 2.0]])
    c = torch.tensor([2.0, 3.0])
    assert resid_targets(x).tolist() == [[-1.0, 4.0]]
    assert resid_targets(x, coefficients=c).tolist() == [[-1.0, 8.0]]
    assert resid_targets(x, None, c).tolist() == [[2.0, 6.0]]
    drawn = label_coefficients(1000, generator())
    assert drawn.min() >= 1 and drawn.max() <= 2


def test_impossible_requests_are_named():
    with pytest.raises(UsageError, match="needs 5 features, there are 3"):
        batch(SparseFeatures(n_features=3, active="exactly_five_active"), 2, generator())
    with pytest.raises(UsageError, match="synced groups go with at_least_zero_active"):
        batch(SparseFeatures(active="exactly_one_active", synced=[[0, 1]]), 2, generator())
