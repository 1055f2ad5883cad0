"""A code's direction is what the output moves by, for linear decoders and for others."""

import pytest
import torch

from digsite.graft.core.dictionaries import Spec, kinds, train_saes
from digsite.graft.core.directions import directions_of


@pytest.mark.parametrize("kind", kinds())
def test_directions_are_what_the_output_moves_by(kind):
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    (sae,) = train_saes(x, [Spec(kind, 8, 2.0 if "topk" in kind else 0.01)], steps=20)
    found = directions_of(sae, x)
    mean = sae.encode(x).mean(0).detach()
    step = float(mean.abs().mean().clamp_min(1e-3))
    for code in range(8):
        moved = mean.clone()
        moved[code] += step
        expected = (sae.decode(moved[None]) - sae.decode(mean[None]))[0] / step
        torch.testing.assert_close(found[code], expected.detach(), rtol=1e-2, atol=1e-2)
