"""Rivals keep exactly as many parts as the decomposition, and all of their parts add up to the weights."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.decompose.core.decomposition import Components
from digsite.decompose.judge import baselines
from digsite.decompose.judge.answers import find_living


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 9))
def test_the_largest_are_kept(seed, n_rows, n):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.rand(n_rows, n, generator=generator)
    counts = torch.randint(0, n + 1, (n_rows,), generator=generator)
    kept = baselines.mark_largest(sizes, counts)
    assert torch.equal(kept.sum(-1).long(), counts)
    for row, mask, k in zip(sizes, kept, counts.tolist()):
        assert set(row.topk(k).indices.tolist()) == set(mask.nonzero()[:, 0].tolist())


@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 7))
def test_random_directions_are_orthogonal_and_add_up(seed, n_in, n_out):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n_in, n_out, generator=generator)
    parts = baselines.split_randomly(Components(weight, weight, weight), generator)
    torch.testing.assert_close(parts.V @ parts.U, weight, atol=1e-5, rtol=1e-4)
    side = parts.V.T @ parts.V if n_in <= n_out else parts.U @ parts.U.T
    torch.testing.assert_close(side, torch.eye(len(side)), atol=1e-5, rtol=0)


def test_rivals_keep_as_many_as_the_decomposition(exact, batch):
    scene = exact.scene(batch)
    kept = exact.draw(scene, "rounded", 0.1)
    alive = find_living(exact, [batch], 0.1)
    found = baselines.make_rivals(exact, scene, kept, alive, torch.Generator().manual_seed(0))
    assert set(found) == set(baselines.RIVALS)
    for other, masks in found.values():
        for module, mask in masks.parts.items():
            rank = mask.shape[-1]
            assert torch.equal(mask.sum(-1), kept.parts[module].sum(-1).clamp(max=rank))
            assert other.factors[module][0].shape[-1] == rank
    # Choosing by size is as good as the exact gates here: a neuron that is off has size zero.
    other, masks = found["largest"]
    torch.testing.assert_close(other.forward(masks), scene.output, atol=1e-5, rtol=1e-4)
    other, masks = found["random_masks"]
    assert not torch.allclose(other.forward(masks), scene.output, atol=1e-2)
