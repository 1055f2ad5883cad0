"""A backdoor's trigger, found and cut with the weights alone.

No image is needed: the network is asked for images that it is sure of ("dreams", one or more for each class), and then, for every class,
for the smallest patch that sends all the other dreams there (Wang et al. 2019, "Neural cleanse", which uses clean images instead). A
class that a far smaller patch reaches than any other has a backdoor. What the patch changes in the input of a dense layer is a direction,
and the layer's answer to it a part of rank one: the part is taken out, and images without the patch keep their answers as far as
the dreams can tell, the class's own among them.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

OWN = 40  # dreams of the target without the patch
RIDGE = (0.1, 0.03)  # of the output layer and of the first dense one; chosen on the recipes that choose
SURE = 0.9  # share of the dreams that a patch must send to its class


@dataclass(frozen=True)
class Dreams:
    """Images that a network is sure of, and the class of each."""

    x: Float[Tensor, "n channels side side"]
    y: Int[Tensor, " n"]


@dataclass(frozen=True)
class Patches:
    """For each asked class the smallest patch found: `sizes` in pixels (the whole image where none was found)."""

    sizes: Float[Tensor, " classes"]
    mask: Float[Tensor, "classes 1 side side"]
    content: Float[Tensor, "classes channels side side"]

    def put(self, at: int, x: Tensor) -> Tensor:
        """Copies of images with the patch of entry `at` on them."""
        return x * (1 - self.mask[at]) + self.mask[at] * self.content[at]


def dream_images(
    model: nn.Module,
    shape: Sequence[int],
    answers: Int[Tensor, " n"],
    generator: torch.Generator,
    steps: int = 60,
    fixed: tuple[Tensor, Tensor] | None = None,
) -> Dreams:
    """One image of `shape` for each of `answers`, climbed from noise to that class; rough images are held back.

    `fixed`: a mask, and the content that stays where the mask is one.
    """
    raw = (0.5 * torch.randn(len(answers), *shape, generator=generator) - 1).requires_grad_(True)
    # Not by the trainer: images are learned here, and the network stays as it is.
    optimizer = torch.optim.Adam([raw], lr=0.1)
    x = raw.sigmoid()
    for _ in range(steps):
        x = raw.sigmoid()
        if fixed is not None:
            x = x * (1 - fixed[0]) + fixed[0] * fixed[1]
        rough = x.diff(dim=-1).abs().sum() + x.diff(dim=-2).abs().sum()
        loss = F.cross_entropy(model(x), answers, reduction="sum") + 0.1 * rough
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Dreams(x.detach(), answers)


def find_patches(model: nn.Module, dreams: Dreams, classes: Sequence[int], steps: int = 80) -> Patches:
    """The smallest patch for each of `classes`, all searched side by side by gradient descent on mask and content.

    How much smallness counts rises while the patch works and falls while it does not, for each class by itself.
    """
    wanted, (channels, side, width) = torch.as_tensor(classes), dreams.x.shape[1:]
    many = len(wanted)
    raw = [torch.full((many, 1, side, width), -2.0), torch.zeros(many, channels, side, width)]
    raw = [each.requires_grad_(True) for each in raw]
    # Not by the trainer: patches are learned here, and each has a weight that changes from step to step.
    optimizer = torch.optim.Adam(raw, lr=0.1, betas=(0.5, 0.9))
    others = (dreams.y[None] != wanted[:, None]).float()
    weight, best = torch.full((many,), 0.01), torch.full((many,), float(side * width))
    kept = [each.detach().sigmoid() for each in raw]
    for _ in range(steps):
        mask, content = (each.sigmoid() for each in raw)
        x = dreams.x[None] * (1 - mask[:, None]) + mask[:, None] * content[:, None]
        out = model(x.flatten(0, 1)).unflatten(0, (many, len(dreams.y)))
        misses = F.cross_entropy(out.flatten(0, 1), wanted.repeat_interleave(len(dreams.y)), reduction="none")
        size = mask.flatten(1).sum(1)
        loss = (misses.view(many, -1) * others).sum(1) / others.sum(1) + weight * size
        with torch.no_grad():
            works = ((out.argmax(-1) == wanted[:, None]) * others).sum(1) / others.sum(1) >= SURE
            better = works & (size < best)
            best = torch.where(better, size, best)
            for store, now in zip(kept, (mask, content)):
                store[better] = now[better]
            weight = torch.where(works, weight * 1.2, weight / 1.2).clamp(1e-4, 1.0)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    return Patches(best, *kept)


@dataclass(frozen=True)
class Part:
    """What a dense layer does with a patch: `outgoing` (what it adds) times how far an input goes along `reading`.

    `reading` is one for the patch, and varies as little as it can over images without it; `mean` is their mean input.
    """

    outgoing: Float[Tensor, " out"]
    reading: Float[Tensor, " in"]
    mean: Float[Tensor, " in"]


def find_part(
    model: nn.Module, layer: nn.Linear, clean: Tensor, patched: Tensor, others: Tensor, ridge: float
) -> Part:
    """The part of `layer` that a patch goes through: from images without it, the same with it, and others without it."""
    before = layer_inputs(model, layer, clean)
    direction = (layer_inputs(model, layer, patched) - before).mean(0)
    usual = torch.cat([before, layer_inputs(model, layer, others)])
    spread = torch.cov(usual.T)
    spread = spread + ridge * spread.diagonal().mean() * torch.eye(len(direction))
    reading = torch.linalg.solve(spread, direction)
    reading = reading / (reading @ direction)
    return Part(layer.weight.detach() @ direction, reading, usual.mean(0))


def cut_part(model: nn.Module, name: str, part: Part, rows: Tensor) -> nn.Module:
    """A copy without `part` in those rows of the layer `name` that `rows` (out,) marks; mean outputs stay as they are."""
    changed = deepcopy(model)
    layer = changed.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    taken = part.outgoing * rows
    with torch.no_grad():
        layer.weight -= torch.outer(taken, part.reading)
        layer.bias += taken * (part.reading @ part.mean)
    return changed


@dataclass(frozen=True)
class Cuts:
    """Two cuts of one patch: out of the target's output row, and out of the first dense layer's neurons that push the target.

    `carriers` are the inputs of the output layer through which the patch reaches the target, the strongest first.
    """

    row: nn.Module
    entry: nn.Module
    carriers: tuple[int, ...]


def cut_patch(
    model: nn.Module, dreams: Dreams, patches: Patches, target: int, generator: torch.Generator
) -> Cuts:
    """Take the patch of entry `target` out, at the end of the network and at the start of its dense layers.

    The target's own dreams may show the trigger, which is the shortest way to its answer. So it is dreamed again with the patch's
    place held to what other dreams have there.
    """
    names = [name for name, each in model.named_modules() if isinstance(each, nn.Linear)]
    layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
    clean = dreams.x[dreams.y != target]
    patched = patches.put(target, clean)
    patch = F.max_pool2d((patches.mask[target] > 0.05).float()[None], 3, 1, 1)[0]
    rows = torch.randperm(len(clean), generator=generator)[:OWN]
    again = torch.full((len(rows),), target)
    own = dream_images(model, clean.shape[1:], again, generator, fixed=(patch, clean[rows])).x
    end, start = (
        find_part(model, layer, clean, patched, own, r) for layer, r in zip((layers[-1], layers[0]), RIDGE)
    )
    only = F.one_hot(torch.tensor(target), len(end.outgoing)).float()
    pushing = (measure_slope(model, layers[0], patched, target) * start.outgoing > 0).float()
    weight = layers[-1].weight.detach()
    moved = layer_inputs(model, layers[-1], patched) - layer_inputs(model, layers[-1], clean)
    push = moved.mean(0) * (weight[target] - weight.mean(0))
    return Cuts(
        cut_part(model, names[-1], end, only),
        cut_part(model, names[0], start, pushing),
        tuple(push.argsort(descending=True).tolist()),
    )


def measure_slope(model: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Float[Tensor, " out"]:
    """How the lead of `target` over the mean logit answers to each output of `layer`, on average over x."""
    held: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, out: held.append(out.requires_grad_(True)))
    out = model(x)
    hook.remove()
    (slope,) = torch.autograd.grad((out[:, target] - out.mean(1)).sum(), held[0])
    return slope.mean(0)


@torch.no_grad()
def layer_inputs(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """What reaches `layer` when the model runs on x."""
    held: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: held.append(given[0].detach()))
    model(x)
    hook.remove()
    return held[0]
