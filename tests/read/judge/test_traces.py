import torch

from digsite.read.judge.traces import (
    derived_marks,
    find_pruning,
    find_rescaling,
    find_rounding,
    is_exact_origin,
    same_zeros,
)
from digsite.read.subjects.network import network_of

G = torch.Generator().manual_seed(0)
W = torch.randn(24, 40, generator=G)
PARENT = network_of("p", {"a.weight": W, "b.weight": torch.randn(10, 24, generator=G)})


def _with(function):
    return network_of("c", {k: function(t) for k, t in PARENT.weights.items()})


def test_zeros():
    child = _with(lambda t: torch.where(t.abs() < 0.7, 0.0, t))
    found = find_pruning(PARENT, child, PARENT.matrices)
    assert found.kind == "pruned" and found.alone and "sparse" in derived_marks(child)
    tuned = _with(lambda t: torch.where(t.abs() < 0.7, 0.0, t * 1.01))
    assert not find_pruning(PARENT, tuned, PARENT.matrices).alone and same_zeros(child, tuned)
    assert find_pruning(child, PARENT, PARENT.matrices) is None and not same_zeros(child, PARENT)
    assert is_exact_origin(PARENT, child) and not is_exact_origin(PARENT, tuned)


def _grid(t, bits, dim=None):
    top = t.abs().amax(dim, keepdim=True) if dim is not None else t.abs().max()
    step = top / (2 ** (bits - 1) - 1)
    return (t / step).round() * step


def test_grids_and_short_floats():
    for bits, dim in ((8, None), (4, None), (8, 1), (4, 1)):
        child = _with(lambda t, b=bits, d=dim: _grid(t, b, d))
        found = find_rounding(PARENT, child, PARENT.matrices)
        assert found.kind == "quantised" and f"{bits} bits" in found.detail, (bits, dim)
        assert "rounded" in derived_marks(child)
    half = _with(lambda t: t.to(torch.bfloat16).float())
    assert "bfloat16" in find_rounding(PARENT, half, PARENT.matrices).detail
    assert find_rounding(half, PARENT, PARENT.matrices) is None and not derived_marks(PARENT)


def test_a_sparse_network_is_not_called_rounded():
    child = _with(lambda t: torch.where(t.abs() < 1.5, 0.0, t))
    assert find_rounding(PARENT, child, PARENT.matrices) is None


def test_factors_of_rows_and_columns():
    rows = torch.rand(24, 1, generator=G) + 0.5
    child = network_of("c", {"a.weight": W * rows, "b.weight": PARENT.weights["b.weight"] / rows.T})
    assert find_rescaling(PARENT, child, PARENT.matrices).kind == "rescaled copy"
    assert find_rescaling(PARENT, _with(lambda t: t + 0.1 * t.roll(1, 0)), PARENT.matrices) is None
