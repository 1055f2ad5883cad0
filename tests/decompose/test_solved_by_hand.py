"""Targets whose simplest parts can be written down: the decomposition finds them exactly, where singular vectors cannot.

A random, untrained network once "kept 98.8 % of what switching all components off destroys" with nothing beside it.
What a fit is worth is seen where the answer is known before it starts.
"""

import pytest
import torch
from torch import Tensor, nn

from digsite.decompose.api import decompose_seeds

SEEDS = (0, 1, 2)
WIDTH = 6
SETTINGS = {
    "C": 12,
    "steps": 1000,
    "batch": 512,
    "lr": 6e-3,
    "losses": {
        "few": {"kind": "importance_minimality", "coeff": 1e-2, "p": 1},
        "all": {"kind": "recon"},
        "each": {"kind": "recon", "routing": "layerwise"},
    },
    "compile": "never",
    "gate": {"kind": "mlp", "hidden": [8]},
    "schedule": {"kind": "quarter_cosine"},
}


def linear_map(matrix: Tensor) -> nn.Module:
    model = nn.Sequential(nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)).eval()
    model[0].weight.data.copy_(matrix)
    return model


def rotation() -> Tensor:
    """All singular values are one, so every basis is a basis of singular vectors; only the data say which one is used."""
    return torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)))[0]


def two_blocks() -> Tensor:
    """Two rank-one blocks on separate inputs and outputs, equally strong: the singular vectors are free to mix them."""
    draw = torch.Generator().manual_seed(1)
    left, right = (
        torch.nn.functional.normalize(torch.randn(2, WIDTH // 2, generator=draw), dim=1) for _ in "lr"
    )
    return torch.block_diag(torch.outer(left[0], right[0]), torch.outer(left[1], right[1]))


def one_feature(generator: torch.Generator) -> Tensor:
    """Each row has one active input, between .5 and 1.5 in size, of either sign."""
    which = torch.randint(WIDTH, (512,), generator=generator)
    size = (torch.rand(512, generator=generator) + 0.5) * (
        torch.randint(2, (512,), generator=generator) * 2 - 1
    )
    return torch.nn.functional.one_hot(which, WIDTH) * size[:, None]


def one_block(generator: torch.Generator) -> Tensor:
    """Each row is drawn on the inputs of one block."""
    values = torch.randn(512, WIDTH, generator=generator)
    first = torch.randint(2, (512, 1), generator=generator).bool()
    return values * torch.where(torch.arange(WIDTH) < WIDTH // 2, first, ~first)


def worst_match(parts: Tensor, truth: Tensor) -> float:
    """The least, over the true matrices, of the best absolute cosine with any part; both (n, out, in)."""
    unit = lambda m: torch.nn.functional.normalize(m.flatten(1), dim=1)  # noqa: E731
    return float((unit(truth) @ unit(parts).T).abs().amax(1).min())


def singular_parts(matrix: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(matrix)
    return torch.einsum("ik,k,kj->kij", left, values, right)


CASES = {
    "rotation": (
        rotation(),
        one_feature,
        torch.stack([rotation() * (torch.arange(WIDTH) == k) for k in range(WIDTH)]),
    ),
    "two blocks": (
        two_blocks(),
        one_block,
        torch.stack(
            [
                two_blocks() * (torch.arange(WIDTH) < WIDTH // 2),
                two_blocks() * (torch.arange(WIDTH) >= WIDTH // 2),
            ]
        ),
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_parts_are_those_that_the_hand_writes_down_from_every_seed(case):
    matrix, data, truth = CASES[case]
    assert torch.allclose(truth.sum(0), matrix)
    found = decompose_seeds([linear_map(matrix)] * len(SEEDS), ["0"], data=data, seeds=SEEDS, **SETTINGS)
    for one in found:
        parts = one.components("0")
        made = torch.stack([parts.matrix(c).T for c in range(SETTINGS["C"])])
        alive = made[made.flatten(1).norm(dim=1) > 0.1]
        assert worst_match(made, truth) > 0.99
        assert len(alive) == len(truth)
        assert parts.residual.abs().max() < 0.05


def test_singular_vectors_do_not_find_a_rotation():
    """The rival on the same question: nothing in the matrix alone says which of its bases is used."""
    matrix, _, truth = CASES["rotation"]
    assert worst_match(singular_parts(matrix), truth) < 0.95
