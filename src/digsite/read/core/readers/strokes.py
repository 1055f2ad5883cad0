"""How a network takes drawn strokes that nobody trained it on: of any shape, as long as it takes images and can be run.

A network that learned to tell images apart answers strokes in many ways, is moved by their form more than by fine noise,
and stays with its answer when they shift by a pixel. None of these numbers knows how many layers there are.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.read.core.population import Columns, NetworkGroup
from digsite.read.core.readers.probe import image_shape, run_group, square_of

INVARIANT = ("permutation", "scale", "sign")  # whatever leaves the function alone leaves its answers alone
RUNS_NETWORK = True
ANY_SHAPE = True
_STROKES, _POINTS, _WIDTH = 128, 25, 0.06
_LARGEST = 1e4  # logits beyond it say no more, and their squares would drown everything else


@torch.no_grad()
def extract_strokes(group: NetworkGroup, in_canonical_form: bool = True) -> Columns:
    """24 columns: how sure, how varied and how spread its answers are, and how far six changes of the input move them."""
    shape = _fit_shape(group)
    images = draw_strokes(shape if len(shape) > 1 else square_of(*shape))
    logits = _answer(group, images, shape)
    columns = _describe_answers(logits)
    centered = _center(logits)
    moving = (centered - centered.mean(1, keepdim=True)).square().mean((1, 2)) + 1e-12
    for name, changed in _change_images(images).items():
        other = _answer(group, changed, shape)
        moved = (_center(other) - centered).square().mean((1, 2)) + 1e-12
        columns[f"moved_{name}"] = (moved / moving).log()
        columns[f"flipped_{name}"] = (other.argmax(2) != logits.argmax(2)).double().mean(1)
    columns["fineness"] = columns["moved_fine"] - columns["moved_smooth"]
    columns["blank_sure"] = _answer(group, torch.zeros_like(images[:1]), shape).softmax(2)[:, 0].amax(1)
    return list(columns), torch.stack(list(columns.values()), 1).nan_to_num(0.0).numpy()


def _fit_shape(group: NetworkGroup) -> tuple[int, ...]:
    """A convolution takes any size, and small is quick; whatever flattens its maps takes one alone, so the usual ones are tried."""
    shape = image_shape(group)
    sides = (16, 28, 32) if group.graph.blocks_of("conv") else ()
    for tried in [*((shape[0], side, side) for side in sides), shape]:
        try:
            answer = run_group(group, torch.zeros(2, *tried), torch.tensor([0]))
        except Exception:  # somebody's code says in its own way that a shape does not fit
            continue
        if isinstance(answer, Tensor) and answer.ndim == 3 and answer.shape[:2] == (1, 2):
            return tried
    raise UsageError(
        "this network gives no row of numbers for an image: neither of 16, 28 or 32 pixels, nor of as many as its first layer takes.",
        hint="Use a reader of weights, as shape_free.",
    )


def draw_strokes(shape: tuple[int, ...], count: int = _STROKES) -> Float[Tensor, "count c h w"]:
    """Bent lines about as wide and as long as a pen's, in [0, 1]; the same ones whatever the size of the image."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(1)
    start = torch.rand(count, 2, generator=generator) * 0.6 + 0.2
    angle = torch.rand(count, generator=generator) * 2 * math.pi
    bend = torch.randn(count, generator=generator) * 0.25
    points = [start]
    for _ in range(_POINTS - 1):
        angle = angle + bend + torch.randn(count, generator=generator) * 0.1
        step = torch.stack([angle.cos(), angle.sin()], 1) * 1.4 / (_POINTS - 1)
        points.append((points[-1] + step).clamp(0.08, 0.92))
    path = torch.stack(points, 1)[..., None, None]  # (count, points, 2, 1, 1)
    rows = ((torch.arange(height) + 0.5) / height)[:, None]
    columns = (torch.arange(width) + 0.5) / width
    distance = ((path[:, :, 0] - rows).square() + (path[:, :, 1] - columns).square()).amin(1)
    return (-distance / (2 * _WIDTH**2)).exp()[:, None].expand(-1, channels, -1, -1)


def _change_images(images: Float[Tensor, "n c h w"]) -> dict[str, Tensor]:
    """Smooth and fine noise of one size, shifts by one and by a few pixels, and dimmed."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(6))
    height, width = images.shape[2:]
    away = torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()
    keep = (-2 * (math.pi * width / 8) ** 2 * away).exp()  # a blur as wide as an eighth of the image
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) * keep, s=(height, width))
    smooth = smooth / smooth.std()
    fine = noise - smooth * (noise * smooth).mean()
    return {
        "smooth": images + 0.2 * smooth,
        "fine": images + 0.2 * fine / fine.std(),
        "shift": images.roll(1, -1),
        "shift_far": images.roll((1, -1), (-1, -2)),
        "dim": images * 0.5,
    }


def _answer(
    group: NetworkGroup, images: Tensor, shape: tuple[int, ...]
) -> Float[Tensor, "members n classes"]:
    """Logits in double, of images laid out as `shape`; what a broken network gives is a number too."""
    return (
        run_group(group, images.reshape(len(images), *shape))
        .double()
        .nan_to_num(0.0)
        .clamp(-_LARGEST, _LARGEST)
    )


def _center(logits: Float[Tensor, "members n classes"]) -> Float[Tensor, "members n classes"]:
    """What softmax sees of them."""
    return logits - logits.mean(2, keepdim=True)


def _describe_answers(logits: Float[Tensor, "members n classes"]) -> dict[str, Tensor]:
    """How sure the answers are, how evenly they use the classes, and how much of them depends on the input at all."""
    log_p = logits.log_softmax(2)
    p, centered, classes = log_p.exp(), _center(logits), logits.shape[2]
    top = log_p.topk(2, 2).values
    margin = (top[..., 0] - top[..., 1]).clamp_max(50)
    said = F.one_hot(logits.argmax(2), classes).double().mean(1)
    moving = centered - centered.mean(1, keepdim=True)
    power = torch.linalg.svdvals(moving).square()
    unit = moving / (moving.std(1, keepdim=True) + 1e-9)
    return {
        "sure": p.amax(2).mean(1),
        "unsure": _entropy(p).mean(1),
        "margin": margin.mean(1),
        "log_margin": (margin + 1e-4).log().mean(1),
        "usage": _entropy(p.mean(1)),
        "said": _entropy(said),
        "said_most": said.amax(1),
        "input_share": moving.square().mean((1, 2)) / (centered.square().mean((1, 2)) + 1e-12),
        "rank": _entropy(power / (power.sum(1, keepdim=True) + 1e-12)),
        "scale": (centered.std(2).mean(1) + 1e-9).log(),
        "kurtosis": (unit.pow(4).mean((1, 2)) + 1e-9).log(),
        "skew": unit.pow(3).mean((1, 2)),
    }


def _entropy(p: Tensor) -> Tensor:
    """Over the last axis, as a share of the most that so many classes allow."""
    return -(p * p.clamp_min(1e-12).log()).sum(-1) / math.log(p.shape[-1])
