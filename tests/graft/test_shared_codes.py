import torch

from digsite.graft.maps import fit_quality
from digsite.graft.shared_codes import fit_shared_codes


def features():
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(600, 3, generator=draw)
    return [hidden @ torch.randn(3, n, generator=draw) + 1 for n in (8, 5, 11)]


def test_each_network_is_rebuilt_from_every_other():
    hs = features()
    shared = fit_shared_codes(hs, 16, 0.0, torch.Generator().manual_seed(1), steps=600)
    for i, h in enumerate(hs):
        for j, other in enumerate(hs):
            assert fit_quality(other, shared.features(j, shared.codes(i, h))) > 0.9


def test_a_penalty_makes_codes_smaller():
    hs = features()[:2]
    low, high = (fit_shared_codes(hs, 16, s, torch.Generator().manual_seed(1)) for s in (0.0, 2.0))
    assert high.codes(0, hs[0]).mean() < low.codes(0, hs[0]).mean()


def test_levels_make_a_prefix_do_alone():
    hs = features()[:2]
    draw = torch.Generator().manual_seed
    nested = fit_shared_codes(hs, 16, 0.0, draw(1), levels=(6,))
    flat = fit_shared_codes(hs, 16, 0.0, draw(1))

    def of_prefix(shared) -> float:
        z = shared.codes(0, hs[0])
        z[:, 6:] = 0
        return fit_quality(hs[1], shared.features(1, z))

    assert of_prefix(nested) > of_prefix(flat)
