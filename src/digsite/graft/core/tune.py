"""Short gradient fits used by several methods: a row among fixed logits, and a network towards targets."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.graft.core.maps import Affine
from digsite.graft.core.nets import make_plain_net, shape_images


def fit_rows(
    h: Tensor, logits: Tensor, y: Tensor, new: list[int], *, decay: float = 1e-3, share: float = 0.3
) -> Affine:
    """New rows by cross-entropy beside the receiver's fixed logits; new images weigh `share` in total.

    `h` (n, width): features; `logits` (n, outputs): the receiver's; `y` (n,): labels; `decay`: of the squared row.
    Convex, so a quasi-Newton method from torch finds the one minimum. Features are standardized for the fit, dead ones
    not blown up.
    """
    logits = pad_logits(logits, new)
    center, scale = h.mean(0), h.std(0).clamp_min(1e-4 * float(h.std()) + 1e-8)
    z = (h - center) / scale
    weight = torch.zeros(len(new), h.shape[1], requires_grad=True)
    bias = torch.zeros(len(new), requires_grad=True)
    mass = _weigh_images(torch.isin(y, torch.tensor(new)), share)
    solver = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        out = torch.index_copy(logits, 1, torch.tensor(new), z @ weight.T + bias)
        value = (mass * F.cross_entropy(out, y, reduction="none")).sum() + decay * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    w = weight.detach() / scale
    return Affine(w, bias.detach() - w @ center)


def pad_logits(logits: Tensor, new: list[int]) -> Tensor:
    """`logits` (n, outputs) with columns that never win where there is none for a `new` class."""
    missing = max(new) + 1 - logits.shape[1]
    return logits if missing <= 0 else torch.cat([logits, logits.new_full((len(logits), missing), -1e4)], 1)


def _weigh_images(is_new: Tensor, share: float) -> Tensor:
    """A weight (n,) for every image: new ones weigh `share` together, however few they are, and all weights sum to 1."""
    n_new, n_old = int(is_new.sum()), int((~is_new).sum())
    if not n_new or not n_old:
        return torch.full((len(is_new),), 1 / max(1, len(is_new)))
    return torch.where(is_new, share / n_new, (1 - share) / n_old)


def make_cycle(solver: torch.optim.Optimizer, lr: float, steps: int, rise: float = 0.2):
    """Up to `lr` within a share `rise` of the `steps` and down to nothing; torch's schedule cannot be shorter than ten steps."""
    return torch.optim.lr_scheduler.OneCycleLR(solver, lr, total_steps=max(10, steps), pct_start=rise)


Loss = Callable[[Tensor, Tensor], Tensor]


def fit_network(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    loss: Loss,
    *,
    steps: int,
    lr: float,
    batch: int,
    draw: torch.Generator,
    decay: float = 0.0,
) -> nn.Module:
    """Adam with a one-cycle rate on (x, target), in evaluation mode: dropout would blur the targets."""
    model.eval()
    for p in model.parameters():
        p.requires_grad_(True)
    # Not by the trainer: it trains in training mode, and this one is in evaluation mode.
    solver = torch.optim.Adam(model.parameters(), lr, weight_decay=decay, fused=True)  # a fifth off each step
    cycle = make_cycle(solver, lr, steps)
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(x), (batch,), generator=draw)
            solver.zero_grad(set_to_none=True)
            loss(model(shape_images(model, x[pick])), target[pick]).backward()
            solver.step()
            cycle.step()
    return model


def train_companion(
    sizes: list[int], x: Tensor, y: Tensor, draw: torch.Generator, steps: int = 200
) -> nn.Module:
    """A small ReLU network of widths `sizes`, trained on images `x` with labels `y`."""
    weights = [(2 / i) ** 0.5 * torch.randn(o, i, generator=draw) for i, o in pairwise(sizes)]
    net = make_plain_net(weights, [torch.zeros(o) for o in sizes[1:]])
    return fit_network(net, x, y, F.cross_entropy, steps=steps, lr=3e-3, batch=128, draw=draw).requires_grad_(
        False
    )


def draw_perceptron(*sizes: int, draw: torch.Generator) -> nn.Sequential:
    """Linear layers of these widths with ReLU between, at their drawn start: uniform as torch's, but from one generator."""
    parts: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layer = nn.Linear(i, o)
        bound = i**-0.5
        layer.weight.data = bound * (2 * torch.rand(o, i, generator=draw) - 1)
        layer.bias.data = bound * (2 * torch.rand(o, generator=draw) - 1)
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])
