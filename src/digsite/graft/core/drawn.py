"""Images nobody owns: random pen strokes drawn by a program, to run two networks on when there is no data at all."""

import torch
from torch import Tensor

POINTS = 40  # samples along a stroke
CHUNK = 500  # images drawn at once: the distance field is (images, points, height, width)


def strokes(
    n: int, shape: tuple[int, ...], draw: torch.Generator, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """One to three random cubic curves of random thickness per image, from `low` (paper) to `high` (ink)."""
    parts = [_chunk(min(CHUNK, n - at), shape[1:], draw) for at in range(0, n, CHUNK)]
    ink = torch.cat(parts)[:, None].expand(n, *shape)
    return low + (high - low) * ink


def _chunk(n: int, size: tuple[int, ...], draw: torch.Generator) -> Tensor:
    height, width = size
    unit = min(size) / 28  # thickness and margins are those of a pen on 28 pixels
    rows, columns = torch.arange(height).float(), torch.arange(width).float()
    thick = unit * (0.8 + 0.9 * torch.rand(n, generator=draw))[:, None, None]
    picture = torch.zeros(n, height, width)
    for chance in (1.0, 0.7, 0.4):
        drawn = (torch.rand(n, generator=draw) < chance).float()[:, None, None]
        curve = _curves(n, draw) * torch.tensor([height, width])
        gap = (curve[:, :, 0, None, None] - rows[:, None]).square()
        gap = (gap + (curve[:, :, 1, None, None] - columns).square()).amin(1).sqrt()
        picture = torch.maximum(picture, drawn * torch.sigmoid(3 * (thick - gap) / unit))
    return picture


def _curves(n: int, draw: torch.Generator) -> Tensor:
    """(n, points, 2) cubic Bezier curves inside the middle of the unit square."""
    t = torch.linspace(0, 1, POINTS)
    weights = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    corners = 0.14 + 0.72 * torch.rand(n, 4, 2, generator=draw)
    return torch.einsum("kt,nkd->ntd", weights, corners)
