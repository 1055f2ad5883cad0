import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.data.sequences import (
    EXACTLY,
    SparseFeatures,
    draw_features,
    draw_induction,
    draw_repeated,
    label_coefficients,
    modular_addition,
    resid_targets,
    split_indices,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_answer_is_what_followed_the_cue():
    rows = draw_induction(200, 16, 64, generator())
    assert rows.shape == (200, 16) and int(rows.max()) < 64
    for row in rows.tolist():
        cue, answer = row[-2:]
        assert row[:-2].count(cue) == 1 and row[row.index(cue) + 1] == answer
        assert len(set(row)) == 14


def test_repeated_says_it_twice():
    rows = draw_repeated(5, 7, 30, generator())
    assert rows.shape == (5, 14) and torch.equal(rows[:, :7], rows[:, 7:])


def test_modular_addition_is_the_whole_table():
    pairs, sums = modular_addition(7)
    assert len(pairs) == 49 and all((a + b) % 7 == s for (a, b), s in zip(pairs.tolist(), sums.tolist()))


def test_a_split_is_a_partition():
    a, b = split_indices(50, 0.3, generator())
    assert len(a) == 15 and sorted([*a.tolist(), *b.tolist()]) == list(range(50))


def sparse_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from(sorted(EXACTLY)), st.integers(5, 12))
def test_exactly_so_many(word, n):
    x = draw_features(
        SparseFeatures(n_features=n, active=f"exactly_{word}_active", low=0.1), 50, sparse_generator()
    )
    assert ((x != 0).sum(-1) == EXACTLY[word]).all()


def test_probability_range_and_shape():
    x = draw_features(
        SparseFeatures(n_features=20, probability=0.1, low=-1), 2000, sparse_generator(), lead=(3,)
    )
    assert x.shape == (3, 2000, 20)
    on = x[x != 0]
    assert len(on) / x.numel() == pytest.approx(0.1, abs=0.005)
    assert on.min() < -0.99 and on.max() > 0.99 and abs(float(on.mean())) < 0.02


def test_every_feature_is_as_likely():
    x = draw_features(SparseFeatures(n_features=6, active="exactly_two_active"), 6000, sparse_generator())
    assert (x != 0).float().mean(0).tolist() == pytest.approx([1 / 3] * 6, abs=0.03)


def test_synced_groups_are_on_together():
    config = SparseFeatures(n_features=6, probability=0.3, low=0.5, synced=[[0, 1], [2, 3, 4]])
    on = draw_features(config, 500, sparse_generator()) != 0
    assert torch.equal(on[:, 0], on[:, 1]) and torch.equal(on[:, 2], on[:, 4])
    assert not torch.equal(on[:, 0], on[:, 2]) and 0.2 < on[:, 3].float().mean() < 0.4


def test_the_generator_decides():
    config = SparseFeatures()
    assert torch.equal(
        draw_features(config, 9, sparse_generator(1)), draw_features(config, 9, sparse_generator(1))
    )


def test_targets_of_the_residual_mlp():
    x = torch.tensor([[-1.0, 2.0]])
    c = torch.tensor([2.0, 3.0])
    assert resid_targets(x).tolist() == [[-1.0, 4.0]]
    assert resid_targets(x, coefficients=c).tolist() == [[-1.0, 8.0]]
    assert resid_targets(x, None, c).tolist() == [[2.0, 6.0]]
    drawn = label_coefficients(1000, sparse_generator())
    assert drawn.min() >= 1 and drawn.max() <= 2


def test_impossible_requests_are_named():
    with pytest.raises(UsageError, match="needs 5 features, there are 3"):
        draw_features(SparseFeatures(n_features=3, active="exactly_five_active"), 2, sparse_generator())
    with pytest.raises(UsageError, match="synced groups go with at_least_zero_active"):
        draw_features(SparseFeatures(active="exactly_one_active", synced=[[0, 1]]), 2, sparse_generator())
