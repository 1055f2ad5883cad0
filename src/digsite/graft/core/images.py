"""Images bent, cut and pieced together: wider coverage of the input space from the images a budget allows."""

import torch
from torch import Tensor
from torch.nn import functional as F


def bend_images(
    x: Tensor, draw: torch.Generator, turn: float = 0.35, zoom: float = 0.15, shear: float = 0.3
) -> Tensor:
    """A random rotation, scaling, shear and shift of each image of `x` (n, c, h, w); what moves in is background.

    `turn` in radians, `zoom` and `shear` as shares, each drawn between minus and plus that; shifts are up to 6 %.
    """
    n = len(x)
    angle, slope = turn * _draw_between(n, draw), shear * _draw_between(n, draw)
    size = 1 + zoom * _draw_between(n, draw)
    grid = torch.stack(
        [
            torch.stack([angle.cos() * size, slope - angle.sin() * size, 0.12 * _draw_between(n, draw)], 1),
            torch.stack([angle.sin() * size, angle.cos() * size, 0.12 * _draw_between(n, draw)], 1),
        ],
        dim=1,
    ).to(x)
    ground = x.amin()
    places = F.affine_grid(grid, list(x.shape), align_corners=False)
    return F.grid_sample(x - ground, places, align_corners=False) + ground


def cut_images(x: Tensor, draw: torch.Generator, share: float = 0.7) -> Tensor:
    """A random rectangle of a `share` of the images set to background: parts of a shape say what the whole does."""
    n, _, height, width = x.shape
    rows = _draw_spans(n, height, 0.15, 0.55, draw)
    columns = _draw_spans(n, width, 0.15, 0.7, draw)
    hit = (torch.rand(n, generator=draw) < share)[:, None, None]
    mask = (rows[:, :, None] & columns[:, None, :] & hit)[:, None].expand_as(x)
    return x.masked_fill(mask, float(x.amin()))


def piece_images(x: Tensor, draw: torch.Generator) -> Tensor:
    """The top or left part of one image with the rest of another, cut at 30 to 70 % of the side."""
    n, _, height, width = x.shape
    other = x[torch.randperm(n, generator=draw)]
    at = 0.3 + 0.4 * torch.rand(n, generator=draw)
    top = (torch.arange(height)[None] < at[:, None] * height)[:, :, None].expand(n, height, width)
    left = (torch.arange(width)[None] < at[:, None] * width)[:, None, :].expand(n, height, width)
    across = (torch.rand(n, generator=draw) < 0.5)[:, None, None]
    return torch.where(torch.where(across, top, left)[:, None], x, other)


def widen_images(x: Tensor, n: int, draw: torch.Generator) -> Tensor:
    """`n` images made from x by all three, in this order; vectors come back as drawn."""
    picked = x[torch.randint(len(x), (n,), generator=draw)]
    if x.ndim != 4 or min(x.shape[2:]) < 4:
        return picked
    return cut_images(bend_images(piece_images(picked, draw), draw), draw)


def _draw_between(n: int, draw: torch.Generator) -> Tensor:
    return 2 * torch.rand(n, generator=draw) - 1


def _draw_spans(n: int, size: int, low: float, high: float, draw: torch.Generator) -> Tensor:
    """(n, size) masks of one interval each."""
    length = size * (low + (high - low) * torch.rand(n, generator=draw))
    start = (size - length) * torch.rand(n, generator=draw)
    places = torch.arange(size)[None]
    return (places >= start[:, None]) & (places < (start + length)[:, None])


# Images nobody owns: random pen strokes drawn by a program, to run two networks on when there is no data at all.

POINTS = 40  # samples along a stroke
CHUNK = 500  # images drawn at once: the distance field is (images, points, height, width)


def draw_strokes(
    n: int, shape: tuple[int, ...], draw: torch.Generator, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """One to three random cubic curves of random thickness per image, from `low` (paper) to `high` (ink)."""
    parts = [_draw_pictures(min(CHUNK, n - at), shape[1:], draw) for at in range(0, n, CHUNK)]
    ink = torch.cat(parts)[:, None].expand(n, *shape)
    return low + (high - low) * ink


def _draw_pictures(n: int, size: tuple[int, ...], draw: torch.Generator) -> Tensor:
    height, width = size
    unit = min(size) / 28  # thickness and margins are those of a pen on 28 pixels
    rows, columns = torch.arange(height).float(), torch.arange(width).float()
    thick = unit * (0.8 + 0.9 * torch.rand(n, generator=draw))[:, None, None]
    picture = torch.zeros(n, height, width)
    for chance in (1.0, 0.7, 0.4):
        drawn = (torch.rand(n, generator=draw) < chance).float()[:, None, None]
        curve = _draw_curves(n, draw) * torch.tensor([height, width])
        gap = (curve[:, :, 0, None, None] - rows[:, None]).square()
        gap = (gap + (curve[:, :, 1, None, None] - columns).square()).amin(1).sqrt()
        picture = torch.maximum(picture, drawn * torch.sigmoid(3 * (thick - gap) / unit))
    return picture


def _draw_curves(n: int, draw: torch.Generator) -> Tensor:
    """(n, points, 2) cubic Bezier curves inside the middle of the unit square."""
    t = torch.linspace(0, 1, POINTS)
    weights = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    corners = 0.14 + 0.72 * torch.rand(n, 4, 2, generator=draw)
    return torch.einsum("kt,nkd->ntd", weights, corners)
