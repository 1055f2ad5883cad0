"""Masks against float64 re-implementations written from the published formulas, and the contract of the family."""

import numpy as np
import pytest
import torch

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.prune.core import kernels
from digsite.prune.core.inputs import collect_inputs
from digsite.prune.core.matrix import FAMILY, prune_matrix
from digsite.prune.core.patterns import parse_pattern
from digsite.prune.core.scores import sparsegpt

METHODS = families.list_members(FAMILY)
CASES = [
    ("50%", 0.5, None),
    ("30%", 0.3, None),
    ("70%", 0.7, None),
    ("2:4", None, "2:4"),
    ("1:4", None, "1:4"),
]


def case(seed: int, kind: str = "outliers", shape: tuple[int, int] = (24, 64)):
    g = torch.Generator().manual_seed(seed)
    out, n = shape
    weight = torch.randn(out, n, generator=g)
    inputs = torch.randn(6, 50, n, generator=g) @ (
        torch.eye(n) + 0.3 * torch.randn(n, n, generator=g) / n**0.5
    )
    if kind == "outliers":
        inputs = inputs * torch.exp(torch.randn(n, generator=g))
    if kind == "dead":
        inputs[..., ::7] = 0
    return weight, inputs


def groups_of(scores: np.ndarray, pattern: str) -> np.ndarray:
    n, m = map(int, pattern.split(":"))
    grouped = scores.reshape(len(scores), -1, m)
    pruned = np.zeros_like(grouped, bool)
    np.put_along_axis(pruned, np.argsort(grouped, axis=-1, kind="stable")[..., :n], True, axis=-1)
    return pruned.reshape(scores.shape)


def rows_of(scores: np.ndarray, ratio: float) -> np.ndarray:
    pruned = np.zeros_like(scores, bool)
    np.put_along_axis(
        pruned, np.argsort(scores, axis=1, kind="stable")[:, : int(scores.shape[1] * ratio)], True, axis=1
    )
    return pruned


def together(scores: np.ndarray, ratio: float) -> np.ndarray:
    return scores <= np.sort(scores.ravel())[int(scores.size * ratio)]


def exact_norms(inputs: torch.Tensor) -> np.ndarray:
    return np.sqrt((inputs.double().numpy().reshape(-1, inputs.shape[-1]) ** 2).sum(0) / len(inputs))


def exact_wanda(weight, inputs, ratio, pattern):
    scores = np.abs(weight.double().numpy()) * exact_norms(inputs)
    return groups_of(scores, pattern) if pattern else rows_of(scores, ratio)


def exact_magnitude(weight, inputs, ratio, pattern):
    scores = np.abs(weight.double().numpy())
    return groups_of(scores, pattern) if pattern else together(scores, ratio)


def exact_ria(weight, inputs, ratio, pattern):
    size = np.abs(weight.double().numpy())
    scores = (size / size.sum(0) + size / size.sum(1, keepdims=True)) * exact_norms(inputs) ** 0.5
    return groups_of(scores, pattern) if pattern else together(scores, ratio)


def exact_wanda_variant(weight, inputs, ratio, pattern):
    scores = np.abs(weight.double().numpy()) * exact_norms(inputs)
    if pattern:
        return groups_of(scores, pattern)
    ordered, low, high, share = np.sort(scores, axis=1), 0.0, 0.8, 0.4
    while True:
        last = (ordered.cumsum(1) <= scores.sum(1, keepdims=True) * share).sum(1) - 1
        pruned = scores <= np.take_along_axis(ordered, last[:, None], axis=1)
        if abs(pruned.mean() - ratio) <= 1e-3 or high - low < 1e-3:
            return pruned
        low, high = (low, share) if pruned.mean() > ratio else (share, high)
        share = (low + high) / 2


def exact_sparsegpt(weight, inputs, ratio, pattern, block=128):
    """The textbook algorithm: a column at a time, each later column takes up its share of the error at once."""
    w, x = weight.double().numpy().copy(), inputs.double().numpy().reshape(-1, inputs.shape[-1])
    h = 2 / len(inputs) * x.T @ x
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += 0.01 * np.diag(h).mean() * np.eye(len(h))
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    pruned = np.zeros(w.shape, bool)
    for j in range(w.shape[1]):
        if pattern and j % int(pattern[-1]) == 0:
            m = slice(j, j + int(pattern[-1]))
            pruned[:, m] = groups_of(w[:, m] ** 2 / np.diag(u)[m] ** 2, pattern)
        elif not pattern and j % block == 0:
            b = slice(j, j + block)
            pruned[:, b] = together(w[:, b] ** 2 / np.diag(u)[b] ** 2, ratio)
        error = np.where(pruned[:, j], w[:, j], 0) / u[j, j]
        w[:, j:] -= error[:, None] * u[j, j:]
        w[pruned[:, j], j] = 0
    return pruned, w


EXACT = {
    "magnitude": exact_magnitude,
    "wanda": exact_wanda,
    "wanda_variant": exact_wanda_variant,
    "ria": exact_ria,
}


@pytest.mark.parametrize("name", sorted(EXACT))
@pytest.mark.parametrize(("_", "ratio", "pattern"), CASES, ids=[c[0] for c in CASES])
def test_masks_equal_an_exact_implementation(name, _, ratio, pattern):
    for seed, kind in enumerate(("plain", "outliers", "dead")):
        weight, inputs = case(seed, kind)
        found = prune_matrix(weight, inputs, name, ratio, pattern)
        assert (~found.keep.numpy() == EXACT[name](weight, inputs, ratio, pattern)).all()
        assert torch.equal(found.weight, weight * found.keep)


@pytest.mark.parametrize(("_", "ratio", "pattern"), CASES, ids=[c[0] for c in CASES])
def test_sparsegpt_equals_an_exact_implementation(_, ratio, pattern):
    for seed, kind, shape in ((0, "plain", (24, 64)), (1, "outliers", (24, 160)), (2, "dead", (16, 176))):
        weight, inputs = case(seed, kind, shape)
        found = prune_matrix(weight, inputs, "sparsegpt", ratio, pattern)
        pruned, exact = exact_sparsegpt(weight, inputs, ratio, pattern)
        assert (~found.keep.numpy() == pruned).all()
        assert np.linalg.norm(found.weight.numpy() - exact) <= 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("pattern", [None, "2:4", "4:8"])
def test_both_engines_update_the_same_bits(monkeypatch, pattern):
    compiled = pytest.importorskip("numba") and kernels.pick_engine("compiled", 0)
    for seed, shape in ((1, (30, 200)), (2, (700, 64))):
        weight, inputs = case(seed, "outliers", shape)
        found = []
        for engine in (kernels.pick_engine("portable", 0), compiled):
            monkeypatch.setattr(sparsegpt, "pick_engine", lambda *_, engine=engine: engine)
            found.append(prune_matrix(weight, inputs, "sparsegpt", 0.6, pattern))
        assert torch.equal(found[0].weight, found[1].weight) and torch.equal(found[0].keep, found[1].keep)


def test_sparsegpt_with_uncorrelated_inputs_is_magnitude_times_norm():
    """Closed case: a diagonal Hessian leaves nothing to make up for, so kept weights stay as they were."""
    weight, _ = case(4, shape=(8, 16))
    inputs = torch.diag(torch.linspace(1, 3, 16))
    found = prune_matrix(weight, inputs, "sparsegpt", 0.5)
    torch.testing.assert_close(found.weight, weight * found.keep)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_contract_of_every_method(name, pattern):
    weight, inputs = case(9)
    before, member = weight.clone(), families.scan_family(FAMILY)[name]
    found = prune_matrix(weight, inputs, name, 0.5, pattern)
    assert torch.equal(weight, before), "the given weight was changed"
    assert found.keep.shape == weight.shape and found.keep.dtype == torch.bool
    assert not found.weight[~found.keep].any() and 0 < found.relative_error < 1
    assert abs(found.sparsity - 0.5) < 0.02
    again = prune_matrix(weight, inputs, name.replace("_", "-"), 0.5, pattern)
    assert torch.equal(found.keep, again.keep)
    scores = member().score_weights(weight, collect_inputs(inputs))
    assert scores.shape == weight.shape and (scores >= 0).all()
    assert member.NEEDS in ("", "norms", "gram") and member.__doc__


def test_a_singular_hessian_is_said_and_never_replaced():
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    inputs = torch.ones(3, 8)  # rank one
    with pytest.raises(UsageError, match=r"not positive definite with damping 0.0; nothing was pruned"):
        prune_matrix(weight, inputs, "sparsegpt", 0.5, settings={"damping": 0.0})
    assert prune_matrix(weight, inputs, "sparsegpt", 0.5).keep.any()


def test_a_group_never_straddles_two_blocks():
    weight, inputs = case(3, shape=(8, 24))
    found = prune_matrix(weight, inputs, "sparsegpt", pattern="2:6", settings={"block": 8})
    assert (found.keep.view(8, -1, 6).sum(-1) == 4).all()


def test_ria_by_rows_and_zero_rows():
    weight, inputs = case(5)
    weight[3] = 0
    found = prune_matrix(weight, inputs, "ria", 0.5, settings={"per_row": True})
    assert ((~found.keep).sum(1) == 32).all()


def test_the_variant_gives_up_the_same_share_in_every_row():
    weight, inputs = case(6)
    found = prune_matrix(weight, inputs, "wanda_variant", 0.5)
    scores = weight.abs() * collect_inputs(inputs).norms
    share = float(found.note.rsplit(" ", 1)[1])
    lost = (scores * ~found.keep).sum(1) / scores.sum(1)
    assert (lost <= share + 1e-3).all() and (lost > share - 0.05).all()
    assert len(set((~found.keep).sum(1).tolist())) > 1


def test_parse_is_the_pattern_of_the_method():
    assert parse_pattern(None, None).ratio == 0.5
