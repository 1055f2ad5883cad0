"""Images bent, cut and pieced together: wider coverage of the input space from the images a budget allows."""

import torch
from torch import Tensor
from torch.nn import functional as F


def bend(
    x: Tensor, draw: torch.Generator, turn: float = 0.35, zoom: float = 0.15, shear: float = 0.3
) -> Tensor:
    """A random rotation, scaling, shear and shift of each image; what moves in is background."""
    n = len(x)
    angle, slope = turn * _spread(n, draw), shear * _spread(n, draw)
    size = 1 + zoom * _spread(n, draw)
    grid = torch.stack(
        [
            torch.stack([angle.cos() * size, slope - angle.sin() * size, 0.12 * _spread(n, draw)], 1),
            torch.stack([angle.sin() * size, angle.cos() * size, 0.12 * _spread(n, draw)], 1),
        ],
        dim=1,
    ).to(x)
    ground = x.amin()
    places = F.affine_grid(grid, list(x.shape), align_corners=False)
    return F.grid_sample(x - ground, places, align_corners=False) + ground


def cut(x: Tensor, draw: torch.Generator, share: float = 0.7) -> Tensor:
    """A random rectangle of a share of the images set to background."""
    n, _, height, width = x.shape
    rows = _span(n, height, 0.15, 0.55, draw)
    columns = _span(n, width, 0.15, 0.7, draw)
    hit = (torch.rand(n, generator=draw) < share)[:, None, None]
    mask = (rows[:, :, None] & columns[:, None, :] & hit)[:, None].expand_as(x)
    return x.masked_fill(mask, float(x.amin()))


def piece(x: Tensor, draw: torch.Generator) -> Tensor:
    """The top or left part of one image with the rest of another."""
    n, _, height, width = x.shape
    other = x[torch.randperm(n, generator=draw)]
    at = 0.3 + 0.4 * torch.rand(n, generator=draw)
    top = (torch.arange(height)[None] < at[:, None] * height)[:, :, None].expand(n, height, width)
    left = (torch.arange(width)[None] < at[:, None] * width)[:, None, :].expand(n, height, width)
    across = (torch.rand(n, generator=draw) < 0.5)[:, None, None]
    return torch.where(torch.where(across, top, left)[:, None], x, other)


def widened(x: Tensor, n: int, draw: torch.Generator) -> Tensor:
    """`n` images made from x by all three, in this order; vectors come back as drawn."""
    picked = x[torch.randint(len(x), (n,), generator=draw)]
    if x.ndim != 4 or min(x.shape[2:]) < 4:
        return picked
    return cut(bend(piece(picked, draw), draw), draw)


def _spread(n: int, draw: torch.Generator) -> Tensor:
    return 2 * torch.rand(n, generator=draw) - 1


def _span(n: int, size: int, low: float, high: float, draw: torch.Generator) -> Tensor:
    """(n, size) masks of one interval each."""
    length = size * (low + (high - low) * torch.rand(n, generator=draw))
    start = (size - length) * torch.rand(n, generator=draw)
    places = torch.arange(size)[None]
    return (places >= start[:, None]) & (places < (start + length)[:, None])
