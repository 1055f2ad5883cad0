"""A network seen from outside: its layers with weights, what flows into each of them, and its head."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.errors import NotFound, UsageError, name_nearest

WIDE = 2048  # an input wider than this is averaged down before it is read: a 9216-wide map would need a 10k solve


@dataclass(frozen=True)
class Acts:
    """What flows into every layer after the first (the last one is the head's input), and the logits."""

    hidden: tuple[Tensor, ...]
    logits: Tensor

    @property
    def last(self) -> Tensor:
        """The head's input (n, width)."""
        return self.hidden[-1]

    @property
    def everything(self) -> Tensor:
        """All hidden layers side by side (n, sum of widths)."""
        return torch.cat(self.hidden, dim=1)


def list_layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Layers with a weight matrix, in the order in which the model registers them."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}


def find_head_name(model: nn.Module, name: str | None = None) -> str:
    """The path of the head: the last layer if it is linear, or the one called `name`."""
    layers = list_layers(model)
    linear = [n for n, m in layers.items() if isinstance(m, nn.Linear)]
    if name is not None:
        if name not in linear:
            raise NotFound(
                f"The model has no linear layer '{name}' to use as its head.", hint=name_nearest(name, linear)
            )
        return name
    if not linear or list(layers)[-1] != linear[-1]:
        raise NotFound(
            f"No head found: the last layer of {type(model).__name__} is not linear.",
            hint="Name the head by its path in the model: head=PATH.",
        )
    return linear[-1]


def find_head(model: nn.Module, name: str | None = None) -> nn.Linear:
    """The head itself, the one called `name` or the last layer."""
    return model.get_submodule(find_head_name(model, name))  # pyright: ignore[reportReturnType]


def reject_non_finite(model: nn.Module, role: str) -> None:
    """One sentence where a network holds NaN or infinity; `role` says whose it is."""
    bad = [name for name, p in model.state_dict().items() if p.is_floating_point() and not p.isfinite().all()]
    if bad:
        raise UsageError(
            f"The {role}'s weights are not finite in '{bad[0]}'.", hint="A graft needs a trained model."
        )


class Composite(nn.Module):
    """A network made of others: it takes images as they are and shapes them for each of its parts."""


def shape_images(model: nn.Module, x: Tensor) -> Tensor:
    """Images `x` (n, c, h, w) as the model eats them: flat for a network that starts with a linear layer of that width."""
    if isinstance(model, Composite):
        return x
    first = next(iter(list_layers(model).values()), None)
    flat = x.shape[1:].numel()
    if isinstance(first, nn.Linear) and x.ndim > 2 and first.in_features == flat:
        return x.flatten(1)
    return x


def condense_features(h: Tensor) -> Tensor:
    """One row per image from a layer's input: maps (n, c, h, w) averaged to 4x4, tokens (n, t, d) averaged away.

    What is still wider than `WIDE` is averaged down to it, since a ridge map costs the cube of the width.
    """
    if h.ndim == 4:
        h = F.adaptive_avg_pool2d(h, min(4, h.shape[-1])).flatten(1)
    elif h.ndim == 3:
        h = h.mean(1)
    return F.adaptive_avg_pool1d(h, WIDE) if h.shape[1] > WIDE else h


def record_acts(model: nn.Module, x: Tensor, head: str | None = None) -> Acts:
    """One forward pass of images `x` (n, ...) with every layer's input kept; gradients flow when they are on.

    `head` names the last layer. The first layer's input is the image itself and is left out.
    """
    layers, last = list_layers(model), find_head_name(model, head)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: seen.__setitem__(name, inputs[0])

    handles = [m.register_forward_pre_hook(keep(name)) for name, m in list(layers.items())[1:]]
    try:
        logits = model(shape_images(model, x))
    finally:
        for handle in handles:
            handle.remove()
    penultimate = seen.pop(last).flatten(1)
    return Acts((*(condense_features(h) for h in seen.values()), penultimate), logits)


@torch.no_grad()
def collect_acts(model: nn.Module, x: Tensor, head: str | None = None, batch: int = 2000) -> Acts:
    """What flows through `model` in evaluation mode, without gradients, `batch` images of `x` at a time."""
    parts = [record_acts(model.eval(), chunk, head) for chunk in x.split(batch)]
    hidden = tuple(torch.cat(columns) for columns in zip(*(p.hidden for p in parts)))
    return Acts(hidden, torch.cat([p.logits for p in parts]))


@torch.no_grad()
def predict_logits(model: nn.Module, x: Tensor, batch: int = 2000) -> Tensor:
    """Logits (n, outputs) in evaluation mode, without gradients, `batch` images of `x` at a time."""
    model.eval()
    return torch.cat([model(shape_images(model, chunk)) for chunk in x.split(batch)])


def has_same_shape(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks have layers of the same weight shapes in the same order; their classes may differ."""
    return [tuple(m.weight.shape) for m in list_layers(a).values()] == [
        tuple(m.weight.shape) for m in list_layers(b).values()
    ]


def is_plain(model: nn.Module) -> bool:
    """True when the model is a chain of linear layers with ReLU between.

    Checked on numbers, not on its class: a module of somebody's own may be such a chain, and one of ours may not.
    """
    layers = list(list_layers(model).values())
    chain = [m for m in layers if isinstance(m, nn.Linear)]
    if not chain or len(chain) < len(layers):
        return False
    if any(a.out_features != b.in_features for a, b in pairwise(chain)):
        return False
    x = torch.randn(4, chain[0].in_features, generator=torch.Generator().manual_seed(0)).to(chain[0].weight)
    with torch.no_grad():
        try:
            return torch.allclose(model.eval()(x), run_relu_chain(chain, x), atol=1e-5)
        except (RuntimeError, IndexError, ValueError):  # the model wants images, not rows
            return False


def run_relu_chain(chain: list[nn.Linear], x: Tensor) -> Tensor:
    """Outputs of linear layers with ReLU between, for rows `x` (n, in)."""
    for layer in chain[:-1]:
        x = layer(x).relu()
    return chain[-1](x)


def make_plain_net(weights: list[Tensor], biases: list[Tensor]) -> nn.Sequential:
    """A ReLU network from its `weights` (out, in) and `biases` (out,), first layer first; it flattens what it is given."""
    parts: list[nn.Module] = [nn.Flatten()]
    for i, (w, b) in enumerate(zip(weights, biases)):
        layer = nn.Linear(w.shape[1], w.shape[0], device=w.device, dtype=w.dtype)
        layer.weight.data, layer.bias.data = w.clone(), b.clone()
        parts += [layer, nn.ReLU()] if i < len(weights) - 1 else [layer]
    return nn.Sequential(*parts).eval()


def read_matrices(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of every layer (zeros for a missing bias), detached copies."""
    layers = list(list_layers(model).values())
    weights = [m.weight.detach().clone() for m in layers]
    zeros = [torch.zeros(len(w), dtype=w.dtype, device=w.device) for w in weights]
    return weights, [z if m.bias is None else m.bias.detach().clone() for m, z in zip(layers, zeros)]


def count_parameters(model: nn.Module) -> int:
    """All numbers that a model stores as parameters."""
    return sum(p.numel() for p in model.parameters())
