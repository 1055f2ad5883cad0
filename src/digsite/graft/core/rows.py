"""Neurons as rows: which of the donor's matter for the new class, and how they are written over the receiver's."""

import torch
from torch import Tensor, nn

from digsite.graft.core.edits import edited, set_rows
from digsite.graft.core.nets import head, layers
from digsite.graft.core.pair import Message, Side

Picks = dict[int, Tensor]  # layer -> row numbers


def rows_of(model: nn.Module, name: str, classes: list[int]) -> tuple[Tensor, Tensor]:
    """A head's rows and biases for these classes."""
    last = head(model, name)
    bias = torch.zeros(last.out_features) if last.bias is None else last.bias.detach()
    return last.weight.detach()[classes].clone(), bias[classes].clone()


def head_rows(donor: Side) -> Message:
    """The donor's head rows and biases for the new classes."""
    weight, bias = rows_of(donor.model, donor.head, donor.new)
    return Message({"head/weight": weight, "head/bias": bias})


def head_importance(donor: Side) -> Tensor:
    """How strongly the new classes read each penultimate unit."""
    return head(donor.model, donor.head).weight.detach()[donor.new].abs().amax(0)


def fan_in(layer: nn.Module, n_units: int) -> Tensor:
    """Absolute weight from each of `n_units` units (or maps) below into each row."""
    w = layer.weight.detach().abs()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    assert w.shape[1] % n_units == 0, (tuple(w.shape), n_units)
    return w.reshape(len(w), n_units, -1).sum(-1)


def below(
    model: nn.Module, layer: int, rows: Tensor, per_row: int | None, total: int | None = None
) -> Tensor:
    """Rows of `layer - 1` that feed these rows most: `per_row` for each, or `total` by summed weight."""
    chain = list(layers(model).values())
    fan = fan_in(chain[layer], len(chain[layer - 1].weight))[rows]
    if per_row is not None:
        return fan.topk(min(per_row, fan.shape[1]), dim=1).indices.unique()
    return fan.sum(0).topk(min(total or 0, fan.shape[1])).indices


def cascade(model: nn.Module, importance: Tensor, start: int, fans: list[int]) -> Picks:
    """From the head down: `start` penultimate rows, then for each row the strongest few below it."""
    top = len(layers(model)) - 2
    picks: Picks = {top: importance.topk(min(start, len(importance))).indices}
    for step, layer in enumerate(range(top, 0, -1)):
        picks[layer - 1] = below(model, layer, picks[layer], fans[min(step, len(fans) - 1)])
    return picks


def totals(model: nn.Module, importance: Tensor, counts: list[int]) -> Picks:
    """From the head down, a fixed number of rows per layer by summed incoming weight."""
    top = len(layers(model)) - 2
    picks: Picks = {top: importance.topk(min(counts[0], len(importance))).indices}
    for step, layer in enumerate(range(top, 0, -1), start=1):
        picks[layer - 1] = below(model, layer, picks[layer], None, counts[min(step, len(counts) - 1)])
    return picks


def transplant(donor: Side, picks: Picks) -> Message:
    """The picked rows of the donor, with their addresses and the head rows."""
    chain = list(layers(donor.model).values())
    tensors = dict(head_rows(donor).tensors)
    for layer, rows in picks.items():
        tensors[f"{layer}/rows"] = rows
        tensors[f"{layer}/weight"] = chain[layer].weight.detach()[rows].clone()
        bias = chain[layer].bias
        if bias is not None:
            tensors[f"{layer}/bias"] = bias.detach()[rows].clone()
    return Message(tensors)


@torch.no_grad()
def implant(receiver: Side, message: Message, mix: dict[int, Tensor] | None = None) -> nn.Module:
    """A copy of the receiver with the rows written in; `mix` gives the donor's share per row (default: all)."""
    model = edited(receiver.model)
    chain = list(layers(model).values())
    for layer in (int(k.split("/")[0]) for k in message.tensors if k.endswith("/rows")):
        rows, part = message.tensors[f"{layer}/rows"], message.under(f"{layer}/")
        share = torch.ones(len(rows)) if mix is None else mix[layer]
        weight = chain[layer].weight
        s = share.reshape(-1, *[1] * (weight.ndim - 1)).to(weight)
        weight[rows] = s * part["weight"] + (1 - s) * weight[rows]
        bias = chain[layer].bias
        if bias is not None and "bias" in part:
            bias[rows] = share.to(bias) * part["bias"] + (1 - share.to(bias)) * bias[rows]
    top = message.under("head/")
    return set_rows(model, receiver.head, receiver.new, top["weight"], top["bias"])


def strength(model: nn.Module, picks: Picks, importance: Tensor) -> dict[int, Tensor]:
    """Importance of each picked row in (0, 1]: the head's weight on top, the weight into the rows above below."""
    chain, top = list(layers(model).values()), len(layers(model)) - 2
    out = {top: importance[picks[top]]}
    for layer in range(top, 0, -1):
        fan = fan_in(chain[layer], len(chain[layer - 1].weight))[picks[layer]].sum(0)
        out[layer - 1] = fan[picks[layer - 1]]
    return {layer: v / v.max().clamp_min(1e-12) for layer, v in out.items()}
