import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.core.components import compare
from digsite.decompose.core.decomposition import Decomposition


def reordered(found, order):
    params = {k: v[:, order] if k.endswith("/V") else v[order] for k, v in found.params.items()}
    return changed(found, params)


def changed(found, params):
    return Decomposition(found.plan, params, found.config, found.origin)


def test_a_reordered_decomposition_is_the_same(exact):
    order = [3, 1, 4, 0, 2]
    for match in compare(exact, reordered(exact, order)).values():
        assert match.stability == pytest.approx(1)
        assert all(order[b] == a for a, b in match.pairs)
        assert (match.n_a, match.n_b) == (4, 4)
        assert match.chance < 0.8


def test_a_missing_partner_lowers_stability(exact):
    less = dict(exact.params)
    less["0/U"] = less["0/U"].clone()
    less["0/U"][0] = 0
    assert compare(exact, changed(exact, less))["0"].stability == pytest.approx(0.75)


def test_other_modules_cannot_be_compared(exact):
    from digsite.decompose import decompose
    from digsite.decompose.subjects import targets

    other = decompose(targets.build_pairs(), ["0"], data=torch.rand(8, 8), C=2, steps=1, batch=4)
    with pytest.raises(UsageError, match="different modules"):
        compare(exact, other)
