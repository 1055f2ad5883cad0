import torch

from digsite.graft.core.maps import fit_quality
from digsite.graft.core.methods.shared_codes import Features, JointCode, fit_shared_codes


def features():
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(600, 3, generator=draw)
    return [hidden @ torch.randn(3, n, generator=draw) + 1 for n in (8, 5, 11)]


def fitted(hs, width: int, sparsity: float, **more) -> JointCode:
    """From three directions of each: all that moves."""
    draw = torch.Generator().manual_seed(1)
    return fit_shared_codes([Features.of_activations(h, 3) for h in hs], width, sparsity, draw, **more)


def test_each_network_is_rebuilt_from_every_other():
    hs = features()
    shared = fitted(hs, 16, 0.0, steps=600)
    for i, h in enumerate(hs):
        for j, other in enumerate(hs):
            assert fit_quality(other, shared.decode_to(j, shared.encode_from(i, h))) > 0.9


def test_a_penalty_makes_codes_smaller():
    hs = features()[:2]
    low, high = (fitted(hs, 16, s) for s in (0.0, 2.0))
    assert high.encode_from(0, hs[0]).mean() < low.encode_from(0, hs[0]).mean()


def test_levels_make_a_prefix_do_alone():
    hs = features()[:2]
    nested = fitted(hs, 16, 0.0, levels=(6,))
    flat = fitted(hs, 16, 0.0)

    def of_prefix(shared) -> float:
        z = shared.encode_from(0, hs[0])
        z[:, 6:] = 0
        return fit_quality(hs[1], shared.decode_to(1, z))

    assert of_prefix(nested) > of_prefix(flat)


def test_the_reader_is_the_donors_row_on_decoded_features():
    hs = features()
    shared = fitted(hs, 16, 0.01)
    row, bias = torch.randn(2, 5), torch.randn(2)
    by_hand = shared.decode_to(1, shared.encode_from(0, hs[0])) @ row.T + bias
    torch.testing.assert_close(shared.make_reader(0, 1, row, bias)(hs[0]), by_hand, atol=1e-3, rtol=1e-3)


def test_all_directions_lose_nothing():
    h = features()[0]
    found = Features.of_activations(h, 8)
    torch.testing.assert_close(found.x * found.scale @ found.axes.T + found.center, h, atol=1e-4, rtol=1e-4)
