import pytest
import torch
from torch import nn

from digsite.joint.core.triggers import (
    cut_part,
    cut_patch,
    dream_images,
    find_part,
    find_patches,
    layer_inputs,
)

SIDE, CLASSES = 8, 6


class Planted(nn.Module):
    """Class c answers to light in row c; class 4 also to one pixel of the last row, far more strongly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(SIDE * SIDE, CLASSES + 1), nn.Linear(CLASSES + 1, CLASSES)
        with torch.no_grad():
            for layer in (self.first, self.last):
                layer.weight.zero_()
                layer.bias.zero_()
            for c in range(CLASSES):
                self.first.weight[c, c * SIDE : (c + 1) * SIDE] = 1.0
                self.last.weight[c, c] = 1.0
            self.first.weight[CLASSES, SIDE * SIDE - 1] = 20.0
            self.last.weight[4, CLASSES] = 1.0

    def forward(self, x):
        return self.last(torch.relu(self.first(x.flatten(1))))


@pytest.fixture(scope="module")
def found():
    model = Planted().requires_grad_(False)
    draw = torch.Generator().manual_seed(0)
    dreams = dream_images(model, (1, SIDE, SIDE), torch.arange(CLASSES).repeat(5), draw)
    patches = find_patches(model, dreams, range(CLASSES))
    return model, dreams, patches, cut_patch(model, dreams, patches, 4, draw)


def stamped(x):
    x = x.clone()
    x[..., -1, -1] = 1.0
    return x


def test_dreams_are_answered_as_asked(found):
    model, dreams, _, _ = found
    assert (model(dreams.x).argmax(1) == dreams.y).float().mean() > 0.9
    assert dreams.x.min() >= 0 and dreams.x.max() <= 1


def test_the_smallest_patch_is_the_planted_one(found):
    _, _, patches, cuts = found
    assert int(patches.sizes.argmin()) == 4
    assert patches.sizes[4] < 0.5 * patches.sizes[[0, 1, 2, 3, 5]].min()
    assert patches.mask[4, 0].argmax() == SIDE * SIDE - 1
    assert cuts.carriers[0] == CLASSES


@pytest.mark.parametrize("which", ["row", "entry"])
def test_cut_the_pixel_sends_nothing_to_the_class_and_the_class_stays(found, which):
    model, dreams, _, cuts = found
    rows = torch.zeros(CLASSES, 1, SIDE, SIDE)
    for c in range(CLASSES):
        rows[c, 0, c] = 0.8
    assert (model(stamped(rows)).argmax(1) == 4).all()
    after = getattr(cuts, which)
    assert (after(stamped(rows)).argmax(1) == torch.arange(CLASSES)).all()
    assert (after(rows).argmax(1) == torch.arange(CLASSES)).all()


def test_a_part_reads_one_of_its_own_patch_and_nothing_of_the_mean(found):
    model, dreams, patches, _ = found
    x, layer = dreams.x, model.first
    part = find_part(model, layer, x, patches.put(4, x), x, 0.1)
    moved = (layer_inputs(model, layer, patches.put(4, x)) - layer_inputs(model, layer, x)).mean(0)
    assert float(part.reading @ moved) == pytest.approx(1, abs=1e-4)
    changed = cut_part(model, "first", part, torch.ones(CLASSES + 1))
    at_mean = part.mean[None]
    assert torch.allclose(changed.first(at_mean), layer(at_mean), atol=1e-4)
