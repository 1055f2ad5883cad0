import pytest
import torch
from torch import nn

from digsite.joint.core import parts
from digsite.joint.core.parts import (
    keep_largest,
    keep_low_rank,
    score_by_attribution,
    score_by_parts,
    score_by_sparse_parts,
)


class Chain(nn.Module):
    """Two maps over a sequence: four of six neurons are read by nobody or hear nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(5, 6, bias=False), nn.Linear(6, 3, bias=False)
        with torch.no_grad():
            self.one.weight.normal_(generator=torch.Generator().manual_seed(0))
            self.two.weight.normal_(generator=torch.Generator().manual_seed(1))
            self.two.weight[:, [2, 3]] = 0
            self.one.weight[[4, 5]] = 0

    def forward(self, x):
        return self.two(self.one(x))


@pytest.fixture
def chain():
    model = Chain()
    return (
        model,
        {"one": model.one, "two": model.two},
        torch.randn(20, 4, 5, generator=torch.Generator().manual_seed(2)),
    )


@pytest.mark.parametrize("score", [score_by_parts, score_by_attribution, score_by_sparse_parts])
def test_the_weights_are_left_as_they_are(chain, score):
    model, maps, x = chain
    before = {name: layer.weight.clone() for name, layer in maps.items()}
    score(model, maps, x)
    assert all(torch.allclose(before[name], layer.weight, atol=1e-6) for name, layer in maps.items())


@pytest.mark.parametrize("score", [score_by_parts, score_by_attribution])
def test_a_weight_that_nobody_reads_or_that_hears_nothing_comes_last(chain, score):
    model, maps, x = chain
    found = score(model, maps, x)
    assert found["one"][[0, 1]].min() > 100 * found["one"][[2, 3, 4, 5]].max()
    assert found["two"][:, [0, 1]].min() > 100 * found["two"][:, [2, 3, 4, 5]].max()


def test_masks_have_the_asked_size_and_low_rank_no_more_numbers(chain):
    model, maps, x = chain
    counts = {"one": 20, "two": 12}
    masks = keep_largest(score_by_parts(model, maps, x), counts)
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == counts
    keep_low_rank(maps, {"one": 8, "two": 0})
    assert torch.linalg.matrix_rank(maps["one"].weight) == 2
    assert torch.linalg.matrix_rank(maps["two"].weight) == 2


def test_a_part_that_nothing_hears_is_worth_nothing_and_goes_first():
    torch.manual_seed(0)
    first, second = nn.Linear(6, 5, bias=False), nn.Linear(5, 3, bias=False)
    with torch.no_grad():
        second.weight[:, 2] = 0
    inputs = torch.randn(20, 6)
    wanted = second(first(inputs)).detach()
    before = first.weight.clone()
    rows, columns = parts.price_parts(lambda: float((second(first(inputs)) - wanted).square().mean()), first)
    assert torch.equal(first.weight, before)
    assert rows[2] == 0 and (rows[[0, 1, 3, 4]] > 0).all() and (columns > 0).all()
    assert (parts.share_of_parts(first.weight.detach(), rows, columns)[2] == 0).all()
    keep = parts.keep_whole_parts(rows, columns, numbers=24)
    assert keep.sum() == 24 and not keep[2].any()


def test_bytes_of_a_mask_are_its_numbers_and_a_bit_a_weight():
    assert parts.share_of_bytes(0.5) == 0.5 + 1 / 16
