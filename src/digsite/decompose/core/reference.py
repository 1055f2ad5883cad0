"""The method in plain lines: one model, one batch after the other; no stack of members, no compiler, no shortcut.

Nothing runs it but the tests, which hold one step of the fast path (`fit.py`) to one step of this: same losses, same
slopes, same parameters afterwards. Whoever wants to know what the method is reads here, and there how it is made fast.

A matrix W (d_in, d_out) is a sum of C parts v_c u_c, and a residual. A small function of each part's inner activation
v_c . x says how important the part is here; what is not important must be free to be there in any measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.01  # slope of the squashing functions where a hard clamp has none
Params = Mapping[
    str, Tensor
]  # "SITE/V" (d_in, C), "SITE/U" (C, d_out), and the gate's "gate/SITE/w0", "b0", "out", "bias"


def decide_importance(inner: Tensor, params: Params, site: str) -> tuple[Tensor, Tensor]:
    """(rows, C) twice, from inner activations (rows, C): as masks use it, and as the pressure sees it.

    Both are the gate's number clamped to [0, 1]. The first lets slopes leak through below 0, so that a part that is off
    can come back; the second leaks above 1, so that pressure also reaches a part that is fully on.
    """
    w0, b0, out, bias = (params[f"gate/{site}/{key}"] for key in ("w0", "b0", "out", "bias"))
    hidden = F.gelu(inner[:, :, None] * w0[:, 0] + b0)  # (rows, C, hidden): one small MLP for each part
    logit = (hidden * out).sum(-1) + bias
    below = logit.clamp(max=0)
    return logit.clamp(0, 1) + LEAK * (below - below.detach()), logit.clamp(0, 1) + LEAK * (logit - 1).clamp(
        min=0
    )


def run_masked(model: nn.Module, x: Tensor, params: Params, masks: Mapping[str, Tensor]) -> Tensor:
    """The model's output where each dense layer of `masks` is its parts times their masks (rows, C + 1), the last for
    what the parts leave of the matrix; other layers are as they are."""

    def replace_layer(site: str, mask: Tensor) -> Any:
        v, u = params[f"{site}/V"], params[f"{site}/U"]

        def answer(layer: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
            (read,) = inputs
            left = read @ (layer.weight.T - v @ u)
            y = (read @ v * mask[:, :-1]) @ u + left * mask[:, -1:]
            return y if layer.bias is None else y + layer.bias

        return answer

    with ExitStack() as hooks:
        for site, mask in masks.items():
            hook = model.get_submodule(site).register_forward_hook(replace_layer(site, mask))
            hooks.callback(hook.remove)
        return model(x)


def read_layers(model: nn.Module, x: Tensor, sites: list[str]) -> dict[str, Tensor]:
    """(rows, d_in) by site: what each layer reads in the model as it is."""
    reads: dict[str, Tensor] = {}

    def record(site: str) -> Any:
        return lambda layer, inputs: reads.__setitem__(site, inputs[0])

    with ExitStack() as hooks:
        for site in sites:
            hooks.callback(model.get_submodule(site).register_forward_pre_hook(record(site)).remove)
        model(x)
    return reads


def measure_terms(
    model: nn.Module, x: Tensor, params: Params, chance: Mapping[str, Tensor], p: float
) -> list[Tensor]:
    """The three terms of the original recipe on one batch x (rows, d): few parts, the same answer with all layers
    replaced, and the same answer with one at a time. `chance` has numbers from [0, 1), (rows, C + 1), under `all/SITE`
    and `each/SITE`."""
    sites = [key.removeprefix("all/") for key in chance if key.startswith("all/")]
    reads, wanted = read_layers(model, x, sites), model(x)
    lower, few = {}, torch.zeros((), dtype=x.dtype)
    for site in sites:
        lower[site], upper = decide_importance(reads[site] @ params[f"{site}/V"], params, site)
        few = few + (upper**p).sum(-1).mean()

    def draw_masks(kind: str, site: str) -> Tensor:
        r, g = chance[f"{kind}/{site}"], lower[site]
        return torch.cat([g + (1 - g) * r[:, :-1], r[:, -1:]], 1)

    def compare(masks: dict[str, Tensor]) -> Tensor:
        return (run_masked(model, x, params, masks) - wanted).square().mean()

    together = compare({site: draw_masks("all", site) for site in sites})
    apart = [compare({site: draw_masks("each", site)}) for site in sites]
    return [few, together, torch.stack(apart).mean()]


def update_params(
    params: dict[str, Tensor], slopes: list[Tensor], memory: dict[str, Any], lr: float, beta2: float
) -> None:
    """One step of Adam, in place; `memory` starts empty."""
    memory["step"] = memory.get("step", 0) + 1
    for (name, value), slope in zip(params.items(), slopes, strict=True):
        mean, square = memory.get(name, (torch.zeros_like(value), torch.zeros_like(value)))
        mean, square = 0.9 * mean + 0.1 * slope, beta2 * square + (1 - beta2) * slope**2
        memory[name] = mean, square
        size = (square / (1 - beta2 ** memory["step"])).sqrt() + 1e-8
        value.data -= lr * mean / (1 - 0.9 ** memory["step"]) / size
